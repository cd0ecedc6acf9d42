// SPDX-License-Identifier: Apache-2.0
//! News from the network, told in the log and as events: by L2 that other stations answer too or that an interface fails, by BGP the changes
//! of sessions.

use std::net::IpAddr;

use cluster::ObjectKey;
use cluster::net::sink::kubernetes::{EventSink, ObjectEvent, Regarding};

use ownership::{LinkWord, Station};

use super::{Shell, log};
use crate::core::RivalClaim;
use crate::net::bgp::SessionNotice;
use crate::net::conflict::ConflictReport;
use crate::net::session_events::SessionEvent;

/// The Services that a conflict concerns, with the uid of each.
pub(in crate::net) type Users = Vec<(ObjectKey, Box<str>)>;

/// Logs a conflict, and makes it an event on each Service that it concerns.
pub(in crate::net) fn tell_conflict(events: &EventSink, report: ConflictReport<Users>) {
    let ConflictReport { claim, payload, node, message } = report;
    tracing::warn!(event = "addressConflict", ip = %claim.address, interface = %claim.interface,
        mac = %claim.hardware_address, node = node.as_deref().unwrap_or_default(), "{message}");
    for (service, uid) in payload {
        events.publish(ObjectEvent {
            regarding: Regarding::service(service, uid),
            warning: true,
            reason: "addressConflict",
            message: message.clone(),
        });
    }
}

impl Shell {
    /// Passes on a claim of another station, with the Services that announce the address.
    pub(super) fn tell_conflict(&self, claim: RivalClaim, users: Vec<ObjectKey>) {
        let of = |key: ObjectKey| {
            let uid = self.snapshot.service(&key).map(|service| service.uid.clone());
            (key, uid.unwrap_or_default())
        };
        let users = users.into_iter().map(of).collect();
        self.conflicts.claim(claim, self.snapshot.nodes(), users);
    }

    /// Makes an event of what the link says about an address, on each Service that has the address.
    pub(super) fn tell_link(&self, address: IpAddr, word: &LinkWord, users: Vec<ObjectKey>) {
        let node = &self.node;
        let (reason, message) = match word {
            LinkWord::Unanswered => (
                "announcedByLink",
                format!(
                    "node {node:?} sees too few speakers and announces {address}: no other station of the link answers for it"
                ),
            ),
            LinkWord::AnsweredBy(Station { interface, hardware_address }) => (
                "answeredElsewhere",
                format!(
                    "node {node:?} sees too few speakers and is silent for {address}: {hardware_address} on {interface} answers for it"
                ),
            ),
        };
        for service in users {
            let uid = self.snapshot.service(&service).map(|service| service.uid.clone());
            self.events.publish(ObjectEvent {
                regarding: Regarding::service(service, uid.unwrap_or_default()),
                warning: true,
                reason,
                message: message.clone(),
            });
        }
    }

    /// The l2 engine has an event.
    pub(in crate::net) fn handle_layer2(&mut self, event: &l2::Event) {
        self.driver.handle_layer2(event);
        match event {
            l2::Event::Claimed(_)
            | l2::Event::Answered { .. }
            | l2::Event::Conflict { .. }
            | l2::Event::LinksChanged
            | l2::Event::Done(_) => {}
            l2::Event::ResponderCreated { interface, protocol } => {
                tracing::info!(event = format!("create{protocol}Responder"), %interface,
                    "created {protocol} responder for interface");
            }
            l2::Event::ResponderClosed { interface, protocol } => {
                tracing::info!(event = format!("delete{protocol}Responder"), %interface,
                    "deleted {protocol} responder for interface");
            }
            l2::Event::SocketFailed { interface, error } => {
                tracing::error!(event = "socketFailed", %interface, %error,
                    "this interface cannot be used; it is tried again, the others go on");
            }
            l2::Event::SocketRecovered { interface } => {
                tracing::info!(event = "socketRecovered", %interface, "this interface works again");
            }
        }
    }

    /// Logs a change of a session, and makes it an event on the BGPPeer.
    pub(super) fn tell_session(&self, notice: SessionNotice) {
        log::note_session(&notice, &self.driver.bgp().in_log(notice.peer()));
        let node = &self.node;
        let (peer, warning, reason, message) = match notice {
            SessionNotice::Up { peer, detail } => {
                let message = format!("session from node {node:?} is established: {detail}");
                (peer, false, "sessionUp", message)
            }
            SessionNotice::Down { peer, reason, .. } => {
                let message = format!("session from node {node:?} is down: {reason}");
                (peer, true, "sessionDown", message)
            }
            SessionNotice::SharedSeries { peer, older: Some(older) } => {
                let message = format!(
                    "node {node:?}: the metrics of this peer have the labels of the older BGPPeer {older:?}, whose are shown"
                );
                (peer, true, "metricsShared", message)
            }
            SessionNotice::Problem { peer, problem: Some(problem) } => {
                (peer, true, "sessionProblem", format!("node {node:?}: {problem}"))
            }
            SessionNotice::SharedSeries { older: None, .. }
            | SessionNotice::Problem { problem: None, .. } => return,
        };
        self.session_events.publish(SessionEvent { peer, warning, reason, message });
    }
}
