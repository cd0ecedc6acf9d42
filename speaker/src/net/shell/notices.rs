// SPDX-License-Identifier: Apache-2.0
//! What the network notices by itself, told in the log and as events: by L2 that others answer too or that an interface fails, by
//! BGP what becomes of the sessions.

use std::sync::Arc;

use cluster::ObjectKey;
use cluster::net::sink::kubernetes::{ObjectEvent, Regarding};

use super::{Shell, log};
use crate::net::bgp::SessionNotice;
use crate::net::conflict::{describe, stations};
use crate::net::session_events::SessionEvent;

/// How long another station's claim to an address may be ahead of the news that explain it.
const UNTOLD: std::time::Duration = std::time::Duration::from_millis(300);

impl Shell {
    pub(in crate::net) fn handle_notice(&mut self, event: l2::Event) {
        match event {
            l2::Event::Claimed(address) => {
                if let Ok(mut driver) = self.driver.lock() {
                    driver.heard(address);
                }
            }
            l2::Event::Conflict { address, interface, hardware_address, .. } => {
                if let Ok(mut driver) = self.driver.lock() {
                    driver.heard(address);
                }
                let moving = self.driver.lock().is_ok_and(|driver| driver.is_moving(address));
                if moving || self.membership.just_changed() {
                    // An address that moves is announced by two for a moment.
                    return;
                }
                let users: Vec<(ObjectKey, Box<str>)> = self
                    .driver
                    .lock()
                    .map(|driver| driver.speaker().users(address).cloned().collect::<Vec<_>>())
                    .unwrap_or_default()
                    .into_iter()
                    .map(|key| {
                        let uid = self.snapshot.service(&key).map(|service| service.uid.clone());
                        (key, uid.unwrap_or_default())
                    })
                    .collect();
                let nodes = self.snapshot.nodes().clone();
                let (events, driver) = (self.events.clone(), Arc::clone(&self.driver));
                tokio::spawn(async move {
                    // The next owner's frame may be here before its word that the address moves.
                    tokio::time::sleep(UNTOLD).await;
                    if driver.lock().is_ok_and(|driver| driver.is_moving(address)) {
                        return;
                    }
                    let node = stations(&nodes, hardware_address).await;
                    let message = describe(address, &interface, hardware_address, node.as_deref());
                    tracing::warn!(event = "addressConflict", ip = %address, %interface,
                        mac = %hardware_address, node = node.as_deref().unwrap_or_default(), "{message}");
                    for (service, uid) in users {
                        events.publish(ObjectEvent {
                            regarding: Regarding::service(service, uid),
                            warning: true,
                            reason: "addressConflict",
                            message: message.clone(),
                        });
                    }
                });
            }
            l2::Event::LinksChanged => self.membership.note_links(),
            l2::Event::Done(number) => {
                if let Ok(mut driver) = self.driver.lock() {
                    self.membership.claim(number, &mut driver);
                }
            }
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

    /// The log, and an event on the BGPPeer.
    pub(super) fn tell_session(&self, notice: SessionNotice) {
        log::note_session(&notice, &self.bgp.in_log(notice.peer()));
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
