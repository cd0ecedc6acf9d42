// SPDX-License-Identifier: Apache-2.0
//! The word of this speaker on the connections that it keeps (`--keep-connections`): to the metrics, and in the SpeakerReport
//! `NODE.connections`, which `ferrolb status` and `ferrolb drain --wait` read. A speaker without the flag has no such object.
//!
//! ```text
//! tables thread ── trouble ───────┐
//! draining thread ── counts ──────┴──> KeptConnections ── changed, every 10 s at most ──> apply one object
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use cluster::net::pod::Owner;
use cluster::net::request::apply;
use cluster::net::writer::{Failure, Kind, Sink};
use cluster::writer::{Limits, Trouble};
use crds::ferrolb::{Connections, Draining, GROUP, MOST_DRAINING};
use kube::Client;
use serde_json::json;
use steer::net::conntrack::Open;
use tokio::sync::watch;

use super::report::{MANAGER, label};

/// The least time between two writes: a number may change all the time.
const REST: Duration = Duration::from_secs(10);
/// The pauses after failures. A CustomResourceDefinition without the field fails every write.
const RETRY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(10));
/// The longest message, in octets.
const MESSAGE: usize = 2048;

/// The connections of addresses that this node has, or has had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptConnections {
    /// The reason why connections are not kept, if they are not.
    pub unkept: Option<String>,
    /// The reason why connections are not counted, if they are not.
    pub uncounted: Option<String>,
    /// The open connections of each address that drains, once they were counted after its move.
    pub left: BTreeMap<IpAddr, Open>,
}

impl KeptConnections {
    /// No connection is kept, for this reason.
    #[must_use]
    pub fn off(reason: String) -> Self {
        Self { unkept: Some(reason), ..Self::default() }
    }

    /// The state of the kernel's tables. True if it has changed.
    pub(super) fn set_unkept(&mut self, reason: Option<&str>) -> bool {
        let changed = self.unkept.as_deref() != reason;
        if changed {
            self.unkept = reason.map(str::to_owned);
        }
        changed
    }

    /// Only these addresses drain. True if others did.
    pub(super) fn retain(&mut self, addresses: &BTreeSet<IpAddr>) -> bool {
        let before = self.left.len();
        self.left.retain(|address, _| addresses.contains(address));
        // Nothing is left to count.
        let uncounted = addresses.is_empty() && self.uncounted.take().is_some();
        self.left.len() != before || uncounted
    }

    /// A count has ended, or failed for this reason. True if anything has changed.
    pub(super) fn counted(
        &mut self,
        left: Option<BTreeMap<IpAddr, Open>>,
        reason: Option<String>,
    ) -> bool {
        let mut changed = self.uncounted != reason;
        self.uncounted = reason;
        if let Some(left) = left {
            changed |= self.left != left;
            self.left = left;
        }
        changed
    }

    /// The words for the SpeakerReport.
    #[must_use]
    pub fn words(&self) -> Connections {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let uncounted =
            || Some(format!("open connections are not counted: {}", self.uncounted.as_ref()?));
        let mut message = self.unkept.clone().or_else(uncounted).unwrap_or_default();
        message.truncate(message.floor_char_boundary(MESSAGE));
        let mut draining: Vec<(&IpAddr, &Open)> = self.left.iter().collect();
        if draining.len() > MOST_DRAINING {
            draining.sort_by_key(|(_, open)| Reverse(open.tcp.saturating_add(open.udp)));
            draining.truncate(MOST_DRAINING);
            draining.sort_by_key(|(address, _)| *address);
        }
        let draining = draining.into_iter().map(|(address, open)| Draining {
            ip: address.to_string(),
            tcp: number(open.tcp),
            udp: number(open.udp),
        });
        Connections {
            kept: self.unkept.is_none(),
            message,
            addresses: i64::try_from(self.left.len()).unwrap_or(i64::MAX),
            tcp: number(self.left.values().map(|open| open.tcp).sum()),
            udp: number(self.left.values().map(|open| open.udp).sum()),
            draining: draining.collect(),
        }
    }
}

/// Writes the object whenever the words change, on a task of the current runtime, which ends with the sender of `connections`.
pub(super) fn report(
    client: Client,
    namespace: String,
    node: String,
    owner: Owner,
    mut connections: watch::Receiver<KeptConnections>,
) {
    let limits = Limits { rest: REST, retry: RETRY, ..Limits::default() };
    let object = Sink::start(Object { client, namespace, node, owner }, limits);
    tokio::spawn(async move {
        loop {
            let words = connections.borrow_and_update().words();
            object.set((), Some(words));
            if connections.changed().await.is_err() {
                // The last words stay: the object goes with the Pod.
                return std::future::pending().await;
            }
        }
    });
}

/// The name of the object of a node. Its last label is no share's, so that no object of words has this name.
#[must_use]
pub fn object_name(node: &str) -> String {
    format!("{node}.connections")
}

/// How the object is written.
struct Object {
    client: Client,
    namespace: String,
    node: String,
    owner: Owner,
}

impl Kind for Object {
    type Key = ();
    type Value = Connections;

    async fn write(&self, (): &(), words: Option<&Connections>) -> Result<(), Failure> {
        let (namespace, name) = (&self.namespace, object_name(&self.node));
        let path = format!("/apis/{GROUP}/v1alpha1/namespaces/{namespace}/speakerreports/{name}");
        let mut metadata = json!({
            "name": name, "namespace": namespace, "labels": { "ferrolb.io/node": label(&self.node) },
        });
        self.owner.own(&mut metadata).await;
        let object = json!({
            "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "SpeakerReport",
            "metadata": metadata, "spec": { "connections": words },
        });
        Ok(apply(&self.client, path, MANAGER, &object).await?)
    }

    fn tell(&self, _: Option<&()>, trouble: Trouble, error: &kube::Error) {
        match trouble {
            Trouble::Refused => tracing::info!(event = "connectionsReportOff", %error,
                "`ferrolb drain --wait` shows no connections of this node: SpeakerReports or the permission are absent here; the metric says the same"),
            Trouble::Failed => tracing::warn!(event = "connectionsReportFailed", %error,
                "failed to write the SpeakerReport about open connections; it is tried again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(tcp: u64, udp: u64) -> Open {
        Open { tcp, udp }
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + number).into())
    }

    #[test]
    fn the_words_say_what_is_left_and_what_is_wrong() {
        let mut said = KeptConnections::default();
        assert_eq!(said.words(), Connections { kept: true, ..Connections::default() });
        let left = BTreeMap::from([(address(1), open(3, 1)), (address(2), open(0, 0))]);
        assert!(said.counted(Some(left.clone()), None));
        assert!(!said.counted(Some(left), None), "nothing has changed");
        let words = said.words();
        assert_eq!((words.addresses, words.tcp, words.udp), (2, 3, 1));
        let none = Draining { ip: "10.0.0.2".to_owned(), tcp: 0, udp: 0 };
        assert_eq!(words.draining[1], none, "an address with nothing left has been counted");

        assert!(said.counted(None, Some("no list".to_owned())));
        let words = said.words();
        assert!(words.kept && words.tcp == 3, "{words:?}");
        assert_eq!(words.message, "open connections are not counted: no list");
        assert!(said.set_unkept(Some("no permission")) && !said.set_unkept(Some("no permission")));
        assert_eq!((said.words().kept, &*said.words().message), (false, "no permission"));
        assert!(said.set_unkept(None));
        assert!(said.retain(&BTreeSet::from([address(2)])));
        assert!(!said.retain(&BTreeSet::from([address(2)])));
        assert_eq!(said.words().addresses, 1);
        assert!(said.retain(&BTreeSet::new()));
        assert_eq!(said.words(), Connections { kept: true, ..Connections::default() });
    }

    #[test]
    fn of_too_many_addresses_those_with_connections_are_named_and_all_are_counted() {
        let left =
            (0..3_000).map(|number| (address(number), open(u64::from(number % 300 == 7), 0)));
        let said = KeptConnections { left: left.collect(), ..KeptConnections::default() };
        let words = said.words();
        assert_eq!((words.addresses, words.tcp, words.draining.len()), (3_000, 10, MOST_DRAINING));
        assert_eq!(words.draining.iter().map(|it| it.tcp).sum::<i64>(), 10);
        let long = KeptConnections::off("ü".repeat(MESSAGE)).words().message;
        assert!(long.len() <= MESSAGE && long.len() > MESSAGE - 2);
    }
}
