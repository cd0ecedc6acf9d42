// SPDX-License-Identifier: Apache-2.0
//! What the speaker's one task does with each thing that comes in. Not the waiting, which is in `run`.

mod log;
mod notices;
mod words;

pub(super) use notices::tell_conflict;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use cluster::net::rounds;
use cluster::net::sink::kubernetes::{ConfigurationStateSink, EventSink, ObjectEvent, Regarding};
use cluster::net::source::kubernetes::slices_of;
use cluster::net::source::{Journal, Update};
use cluster::{Dirty, Object, ObjectKey, Snapshot};
use daemon::endpoints::Readiness;
use daemon::metrics::ClientMetrics;
use kube::Client;
use l2::LinkReport;
use tokio::sync::{mpsc, oneshot, watch};

use super::bgp::{BgpDriver, Signal};
use super::clock::until;
use super::conflict::ConflictReporter;
use super::extras;
use super::host_routes::HostRoutes;
use super::keys::Keys;
use super::layer2::Layer2Driver;
use super::membership::Membership;
use super::needed::has_read;
use super::report::ReportSink;
use super::ring::{RingEvent, RingSignals};
use super::service_status::{StatusSink, interfaces};
use super::session_events::SessionEvents;
use super::session_state::SessionStateSink;
use crate::herald::Herald;
use crate::metrics::SpeakerMetrics;
use crate::routes::RouteOutput;
use crate::speaker::Output;
use crate::subject;

/// Everything that the task has.
pub(super) struct Shell {
    pub(super) client: Client,
    pub(super) node: String,
    pub(super) snapshot: Snapshot,
    pub(super) driver: Arc<Mutex<Layer2Driver>>,
    pub(super) journal: Journal,
    pub(super) events: EventSink,
    pub(super) l2_statuses: StatusSink,
    pub(super) bgp_statuses: StatusSink,
    pub(super) session_states: SessionStateSink,
    pub(super) bgp: BgpDriver,
    pub(super) discard: Option<HostRoutes>,
    pub(super) routes_changed: bool,
    pub(super) session_events: SessionEvents,
    pub(super) metrics: Arc<Mutex<SpeakerMetrics>>,
    pub(super) client_metrics: ClientMetrics,
    pub(super) readiness: Readiness,
    /// Whether something was decided: the first time, all that BGP has to say was said.
    pub(super) synced: bool,
    /// The same of L2, which waits for the ring.
    pub(super) layer2_synced: bool,
    pub(super) asked: mpsc::Sender<Vec<Update>>,
    pub(super) configuration: ConfigurationStateSink,
    /// What is wrong with the memberlist's keys.
    pub(super) key_problems: Vec<String>,
    /// Whether there is configuration of FRR's, which is ignored.
    pub(super) herald: Herald,
    pub(super) reports: ReportSink,
    pub(super) extras: watch::Receiver<bool>,
    /// No session is opened before this is answered: another speaker's are being closed.
    pub(super) sessions_after: Option<oneshot::Receiver<()>>,
    pub(super) membership: Membership,
    pub(super) conflicts: ConflictReporter<notices::Users>,
}

impl Shell {
    pub(super) fn handle_update(&mut self, update: Update) {
        self.journal.note(&update);
        self.client_metrics.updates.inc();
        self.snapshot.handle(update);
    }

    pub(super) fn handle_answer(&mut self, slices: Vec<Update>) {
        for update in slices {
            self.snapshot.handle(update);
        }
    }

    pub(super) fn decide(&mut self) {
        if !self.synced && !has_read(&self.snapshot) {
            return;
        }
        self.ask_for_slices();
        let mut dirty = self.snapshot.take_dirty();
        self.journal.note_rejections(self.snapshot.rejections());
        self.tell_configuration();
        let outputs = match self.driver.lock() {
            Ok(mut driver) => {
                let outputs = self.membership.decide(&self.snapshot, &mut driver, &mut dirty);
                // Not while L2 waits: a rolling update would go on, and take the next speaker away, before this one can take over.
                self.readiness.set(outputs.is_some() && can_work(&driver.layer2().links()));
                outputs
            }
            Err(_) => return,
        };
        let layer2_decides = outputs.is_some();
        for output in outputs.into_iter().flatten() {
            self.carry_out(output);
        }
        self.consider_words(&dirty);
        self.reconcile_routes(&dirty);
        rounds::note_end(&dirty);
        self.count_withheld();
        if dirty.all {
            self.session_states.publish(self.bgp.session_states());
        }
        if !std::mem::replace(&mut self.synced, true) {
            self.bgp_statuses.settled();
        }
        if layer2_decides && !std::mem::replace(&mut self.layer2_synced, true) {
            self.l2_statuses.settled();
        }
    }

    fn count_withheld(&self) {
        if let (Ok(driver), Ok(metrics)) = (self.driver.lock(), self.metrics.lock()) {
            metrics.set_withheld("layer2", driver.speaker().tally());
            metrics.set_withheld("bgp", self.bgp.books().tally());
        }
    }

    /// The routes that discard are those of the aggregates; what fails is tried with the next change.
    pub(super) async fn discard_aggregates(&mut self) {
        let Some(routes) = &mut self.discard else { return };
        if !std::mem::take(&mut self.routes_changed) {
            return;
        }
        if let Err(error) = routes.set(&self.bgp.books().aggregates()).await {
            tracing::error!(event = "discardRoute", %error, "a route that discards could not be changed");
        }
    }

    fn ask_for_slices(&mut self) {
        for service in self.snapshot.take_wanted_slices() {
            let (client, asked) = (self.client.clone(), self.asked.clone());
            let version = self.snapshot.slice_version().clone();
            tokio::spawn(async move {
                let mut pause = std::time::Duration::from_millis(500);
                loop {
                    match slices_of(&client, &service, &version).await {
                        Ok(slices) => {
                            let slices = slices
                                .into_iter()
                                .map(|slice| Update::Apply(Object::EndpointSlice(Box::new(slice))));
                            // Nobody listens any more only when the program ends.
                            let _ = asked.send(slices.collect()).await;
                            return;
                        }
                        Err(error) => {
                            tracing::warn!(%service, %error, "failed to list EndpointSlices; tried again");
                            tokio::time::sleep(pause).await;
                            pause = (pause * 2).min(std::time::Duration::from_secs(30));
                        }
                    }
                }
            });
        }
    }

    pub(super) fn handle_ring(&mut self, event: RingEvent) {
        if let Ok(mut driver) = self.driver.lock() {
            self.membership.handle(event, &mut driver);
        }
    }

    /// The memberlist's keys are others.
    pub(super) fn set_keys(&mut self, keys: &Keys) {
        tracing::info!(event = "memberlistKeys", "the memberlist's keys were read anew");
        keys.tell();
        self.key_problems.clone_from(&keys.problems);
        self.membership.ring.set_keys(keys.ring.clone());
    }

    pub(super) fn membership_deadline(&self) -> Option<Instant> {
        self.driver.lock().ok().and_then(|driver| self.membership.deadline(&driver))
    }

    pub(super) fn expire(&mut self) {
        if let Ok(mut driver) = self.driver.lock() {
            self.membership.expire(&self.snapshot, &mut driver);
        }
    }

    /// Before the end: what is announced here passes to others, who say so; then the ring hears that this speaker leaves.
    pub(super) async fn hand_over(
        &mut self,
        signals: &mut Option<RingSignals>,
        noticed: &mut mpsc::UnboundedReceiver<l2::Event>,
    ) {
        if signals.is_none() || !self.membership.begin_to_leave().await {
            return;
        }
        self.decide();
        while self.driver.lock().is_ok_and(|driver| !driver.is_settled()) {
            let deadline = self.membership_deadline();
            tokio::select! {
                event = RingSignals::next(signals) => self.handle_ring(event),
                Some(event) = noticed.recv() => self.handle_notice(event),
                () = until(deadline) => self.expire(),
            }
        }
        self.membership.leave().await;
    }

    pub(super) fn handle_signal(&mut self, signal: Signal) {
        for notice in self.bgp.handle(signal) {
            self.tell_session(notice);
        }
        self.session_states.publish(self.bgp.session_states());
        if self.bgp.wants_reconcile() && self.synced {
            self.reconcile_routes(&Dirty::default());
        }
    }

    /// What is wrong with the configuration, in the metric and in ConfigurationState.
    fn tell_configuration(&mut self) {
        let mut errors: Vec<String> =
            self.snapshot.rejections().iter().map(|rejection| rejection.message.clone()).collect();
        if *self.extras.borrow_and_update() {
            errors.push(extras::MESSAGE.to_owned());
        }
        errors.extend(self.key_problems.iter().cloned());
        self.client_metrics.set_config(errors.len());
        self.configuration.publish(errors);
    }

    /// The sessions of another speaker of this node are closed: now ours may be opened.
    pub(super) fn open_sessions(&mut self) {
        self.sessions_after = None;
        if self.synced {
            self.reconcile_routes(&Dirty { all: true, ..Dirty::default() });
        }
    }

    fn reconcile_routes(&mut self, dirty: &Dirty) {
        if self.sessions_after.is_some() {
            return;
        }
        for output in self.bgp.reconcile(&self.snapshot, dirty) {
            self.routes_changed = true;
            self.carry_out_route(output);
        }
    }

    /// The pool that holds these addresses of a Service, for the log.
    fn pool_of(&self, service: &ObjectKey, addresses: &[IpAddr]) -> Option<Arc<str>> {
        let service = self.snapshot.service(service)?;
        Some(subject::pool(service, addresses, self.snapshot.config()).ok()?.name)
    }

    fn assigned(&self, service: ObjectKey, uid: Box<str>, protocol: &str) -> ObjectEvent {
        ObjectEvent {
            regarding: Regarding::service(service, uid),
            warning: false,
            reason: "nodeAssigned",
            message: format!("announcing from node {:?} with protocol {protocol:?}", self.node),
        }
    }

    fn carry_out_route(&self, output: RouteOutput) {
        let Ok(mut metrics) = self.metrics.lock() else { return };
        match &output {
            RouteOutput::Advertised { service, addresses, .. }
            | RouteOutput::Withdrawn { service, addresses, .. } => {
                let paths = self.bgp.books().advertised().get(service);
                let count = paths.map_or(0, |advertised| advertised.paths.len());
                log::note_route(&output, self.pool_of(service, addresses).as_deref(), count);
            }
            RouteOutput::Conflict { .. }
            | RouteOutput::Peers { .. }
            | RouteOutput::LocalPrefDiffers { .. } => log::note_route(&output, None, 0),
        }
        match output {
            RouteOutput::Advertised { service, uid, addresses, .. } => {
                metrics.set_advertised(&service, &addresses);
                self.events.publish(self.assigned(service, uid, "bgp"));
            }
            RouteOutput::Withdrawn { service, .. } => metrics.set_withdrawn(&service),
            RouteOutput::Peers { service, peers } => {
                let wish = peers.iter().map(|peer| (**peer).into()).collect();
                self.bgp_statuses.publish(service, (!peers.is_empty()).then_some(wish));
            }
            RouteOutput::Conflict { .. } | RouteOutput::LocalPrefDiffers { .. } => {}
        }
    }

    fn carry_out(&self, output: Output) {
        match &output {
            Output::Announced { service, announcement, .. }
            | Output::Withdrawn { service, announcement, .. } => {
                let pool = self.pool_of(service, &announcement.addresses);
                log::note(&output, pool.as_deref());
            }
            Output::NoInterface { .. } => {}
        }
        match output {
            Output::Announced { service, uid, announcement, .. } => {
                self.l2_statuses.publish(service.clone(), Some(interfaces(&announcement.scope)));
                self.events.publish(self.assigned(service, uid, "layer2"));
            }
            Output::Withdrawn { service, .. } => self.l2_statuses.publish(service, None),
            Output::NoInterface { service, uid, addresses } => {
                for address in addresses {
                    let message = format!(
                        "the interfaces specified by LB IP \"{address}\" doesn't exist in assigned node {:?} with protocol \"layer2\"",
                        self.node
                    );
                    tracing::warn!(event = "announceFailed", %service, ip = %address, "{message}");
                    self.events.publish(ObjectEvent {
                        regarding: Regarding::service(service.clone(), uid.clone()),
                        warning: true,
                        reason: "announceFailed",
                        message,
                    });
                }
            }
        }
    }
}

/// Whether the links are known, and something answers by L2, unless none of them could: a node may have nothing but links that are
/// excluded, in a VRF or without ARP, and announce by BGP.
fn can_work(links: &[LinkReport]) -> bool {
    let answers = links.iter().any(|link| link.arp || link.ndp);
    let could = links.iter().any(|link| link.arp_reason.is_none() || link.ndp_reason.is_none());
    answers || (!links.is_empty() && !could)
}

#[cfg(test)]
mod tests {
    use l2::NoResponder;

    use super::*;

    #[test]
    fn a_node_is_ready_once_a_link_answers_or_none_could() {
        let link = |answers, reason: Option<NoResponder>| LinkReport {
            name: "eth0".into(),
            index: 1,
            hardware_address: None,
            up: true,
            carrier: true,
            addresses: [].into(),
            arp: answers,
            ndp: false,
            arp_reason: reason,
            ndp_reason: Some(NoResponder::NoLinkLocal),
        };
        assert!(!can_work(&[]), "no link is known yet");
        assert!(can_work(&[link(true, None), link(false, None)]));
        assert!(!can_work(&[link(false, None)]), "its socket could not be opened");
        assert!(can_work(&[link(false, Some(NoResponder::Excluded))]));
    }
}
