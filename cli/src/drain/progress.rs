// SPDX-License-Identifier: Apache-2.0
//! How far a drain has come, from what the API shows at one moment after the other. A synchronous value.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crds::ferrolb::{Connections, Draining};

/// The time after the last move in which the speaker's first count of each address should be in the API: it counts 2 s after the move,
/// and writes every 10 s at most.
const FIRST_COUNT: Duration = Duration::from_secs(20);
/// The most addresses that a line names.
const NAMED: usize = 8;

/// A node, as the API shows it.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// The addresses that the node announces by layer 2.
    pub(super) owned: BTreeSet<IpAddr>,
    /// The word of the node's speaker on open connections; none without `--keep-connections`.
    pub(super) connections: Option<Connections>,
    /// The reason why nobody can tell what the speaker says, if there is one.
    pub(super) unreadable: Option<String>,
}

/// The consequence of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The drain is not over; the line says how far it is.
    Wait(String),
    /// Nothing is left.
    Done(String),
    /// Something is left that waiting does not change.
    Failed(String),
}

/// The open connections of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    tcp: i64,
    udp: i64,
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    node: &'a str,
    view: View,
    /// The addresses that the node has had since the command began, and that have not been counted since.
    uncounted: BTreeSet<IpAddr>,
    /// The time since which the node announces nothing.
    silent: Option<Instant>,
    /// The connections that were left when they were counted last, of each address that drains.
    left: BTreeMap<IpAddr, Left>,
    /// Those of addresses that do not seem to drain any more, with the time since when.
    given_up: BTreeMap<IpAddr, (Left, Instant)>,
    /// True once the speaker has said that it keeps connections.
    keeps: bool,
    /// The time since which the speaker says nothing.
    mute: Option<Instant>,
    /// The time of the first look.
    began: Option<Instant>,
    /// True once the node was seen to announce something, or its speaker to count.
    known: bool,
}

impl<'a> Progress<'a> {
    pub(super) fn new(node: &'a str) -> Self {
        let (view, silent) = (View::default(), None);
        let (uncounted, left, given_up) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        let (keeps, mute) = (false, None);
        let (began, known) = (None, false);
        Self { node, view, uncounted, silent, left, given_up, keeps, mute, began, known }
    }

    /// Takes in what the API shows now.
    pub(super) fn look(&mut self, now: Instant, view: View) -> Step {
        self.view = view;
        self.count(now);
        let node = self.node;
        let began = *self.began.get_or_insert(now);
        if !self.view.owned.is_empty() {
            self.known = true;
            self.silent = None;
            return Step::Wait(self.left());
        }
        let silent = *self.silent.get_or_insert(now);
        let Some(said) = &self.view.connections else {
            // The object goes with the speaker's Pod, and the next Pod may be about to write it.
            if self.keeps && now < *self.mute.get_or_insert(now) + FIRST_COUNT {
                return Step::Wait(format!(
                    "node {node}: its speaker has not told of connections yet"
                ));
            }
            if let Some(why) = &self.view.unreadable {
                return Step::Failed(format!(
                    "node {node}: announces nothing; what is left there cannot be told: {why}; the speaker's metric ferrolb_speaker_draining_connections says so"
                ));
            }
            return Step::Done(format!(
                "node {node}: announces nothing; its speaker tells of no kept connections (it has no --keep-connections, or may not write SpeakerReports), so none is waited for"
            ));
        };
        self.mute = None;
        self.known |= !said.draining.is_empty();
        self.keeps |= said.kept;
        if !said.kept {
            return Step::Done(format!(
                "node {node}: announces nothing; connections were not kept there ({}), so none is waited for",
                said.message
            ));
        }
        if said.tcp > 0 || said.udp > 0 || !said.message.is_empty() {
            return Step::Wait(self.left());
        }
        if !self.uncounted.is_empty() && now < silent + FIRST_COUNT {
            let addresses = list(self.uncounted.iter().map(ToString::to_string));
            return Step::Wait(format!("node {node}: counts the connections of {addresses}"));
        }
        // The API may not show yet what the node announced just before the drain.
        if !self.known && now < began + FIRST_COUNT {
            return Step::Wait(format!("node {node}: waits for a first count of connections"));
        }
        if let Some(since) = self.given_up.values().map(|(_, since)| *since).max() {
            let left = counts(self.given_up.iter().map(|(address, (left, _))| (address, left)));
            // A speaker that has just begun does not know yet what drains.
            return if now < since + FIRST_COUNT {
                Step::Wait(format!("node {node}: its speaker tells nothing of {left} yet"))
            } else {
                Step::Failed(format!(
                    "node {node}: the time of --linger is over, and connections were left that break when they are used: {left}"
                ))
            };
        }
        Step::Done(match self.uncounted.iter().map(ToString::to_string) {
            uncounted if uncounted.len() > 0 => format!(
                "node {node}: no connection is left, but those of {}, which are not kept, were not counted",
                list(uncounted)
            ),
            _ => format!("node {node}: no connection is left"),
        })
    }

    /// The connections that are left, in one line.
    pub(super) fn left(&self) -> String {
        let node = self.node;
        if !self.view.owned.is_empty() {
            let owned = list(self.view.owned.iter().map(ToString::to_string));
            return format!("node {node}: still announces {owned}");
        }
        match &self.view.connections {
            Some(said) if !said.message.is_empty() => format!("node {node}: {}", said.message),
            Some(said) if said.tcp > 0 || said.udp > 0 => format!(
                "node {node}: {} left, which may be idle: {}",
                sum(Left { tcp: said.tcp, udp: said.udp }),
                counts(self.left.iter())
            ),
            _ => format!("node {node}: nothing is known to be left"),
        }
    }

    /// Compares the counts with the ones before.
    fn count(&mut self, now: Instant) {
        let View { owned, connections, .. } = &self.view;
        self.uncounted.extend(owned);
        let Some(said) = connections else { return };
        let read = |Draining { ip, tcp, udp }: &Draining| {
            Some((ip.parse().ok()?, Left { tcp: *tcp, udp: *udp }))
        };
        let left: BTreeMap<IpAddr, Left> = said.draining.iter().filter_map(read).collect();
        // Of very many addresses not all are named.
        let is_whole = usize::try_from(said.addresses).is_ok_and(|all| all <= left.len());
        let before = std::mem::take(&mut self.left);
        if is_whole {
            let gone = before.into_iter().filter(|(address, before)| {
                let had = before.tcp > 0 || before.udp > 0;
                had && !left.contains_key(address) && !owned.contains(address)
            });
            self.given_up.extend(gone.map(|(address, before)| (address, (before, now))));
            self.uncounted.retain(|address| owned.contains(address) || !left.contains_key(address));
        } else {
            self.uncounted.clone_from(owned);
        }
        self.given_up.retain(|address, _| !owned.contains(address) && !left.contains_key(address));
        self.left = left;
    }
}

fn sum(left: Left) -> String {
    let word = |count: i64, one, many| format!("{count} {}", if count == 1 { one } else { many });
    let tcp = word(left.tcp, "TCP connection", "TCP connections");
    format!("{tcp} and {} of UDP", word(left.udp, "flow", "flows"))
}

fn counts<'a>(left: impl Iterator<Item = (&'a IpAddr, &'a Left)>) -> String {
    let open = left.filter(|(_, left)| left.tcp > 0 || left.udp > 0);
    list(open.map(|(address, Left { tcp, udp })| format!("{address} (TCP {tcp}, UDP {udp})")))
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    let named = items.get(..NAMED).unwrap_or(&items).join(", ");
    match items.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
