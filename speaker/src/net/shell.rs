// SPDX-License-Identifier: Apache-2.0
//! The handling of each input of the speaker's one task. The waiting is in `run`.

mod ending;
mod log;
mod notices;
mod words;

pub(super) use notices::tell_conflict;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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

use super::bgp::Signal;
use super::conflict::ConflictReporter;
use super::driver::Driver;
use super::extras;
use super::host_routes::HostRoutes;
use super::keys::Keys;
use super::last_owned::LastOwned;
use super::needed::has_read;
use super::report::ReportSink;
use super::service_status::{StatusSink, interfaces};
use super::session_events::SessionEvents;
use super::session_state::SessionStateSink;
use crate::core::Fact;
use crate::metrics::SpeakerMetrics;
use crate::routes::RouteOutput;
use crate::service_view;
use crate::speaker::Output;

/// The time that changes of the owned addresses are gathered before the file is written.
const RECORD_INTERVAL: Duration = Duration::from_secs(1);

/// The state of the task.
pub(super) struct Shell {
    pub(super) client: Client,
    pub(super) node: String,
    pub(super) snapshot: Snapshot,
    pub(super) driver: Driver,
    pub(super) journal: Journal,
    pub(super) events: EventSink,
    pub(super) l2_statuses: StatusSink,
    pub(super) bgp_statuses: StatusSink,
    pub(super) session_states: SessionStateSink,
    pub(super) discard: Option<HostRoutes>,
    pub(super) routes_changed: bool,
    pub(super) session_events: SessionEvents,
    pub(super) metrics: Arc<Mutex<SpeakerMetrics>>,
    pub(super) client_metrics: ClientMetrics,
    pub(super) readiness: Readiness,
    /// True once something was decided: after the first decision, all words of BGP have been told.
    pub(super) synced: bool,
    /// The same for L2, which waits for the ring.
    pub(super) layer2_synced: bool,
    pub(super) asked: mpsc::Sender<Vec<Update>>,
    pub(super) configuration: ConfigurationStateSink,
    /// The faults of the memberlist's keys.
    pub(super) key_problems: Vec<String>,
    pub(super) reports: ReportSink,
    /// True if there is configuration for FRR, which is ignored.
    pub(super) extras: watch::Receiver<bool>,
    /// No session is opened before this is answered: the sessions of another speaker are being closed.
    pub(super) sessions_after: Option<oneshot::Receiver<()>>,
    pub(super) conflicts: ConflictReporter<notices::Users>,
    /// The file of the owned addresses, if there is one.
    pub(super) last_owned: Option<LastOwned>,
    /// The version of what was written to the file last, and the time at which a change is due.
    pub(super) recorded: u64,
    pub(super) record_due: Option<Instant>,
}

impl Shell {
    pub(super) fn handle_update(&mut self, update: Update) {
        self.journal.note(&update);
        self.client_metrics.count_update();
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
        let layer2_decides = self.driver.decide(&self.snapshot, &mut dirty);
        // The speaker is not ready while L2 waits: a rolling update would go on, and take the next speaker away, before this one can take
        // over.
        self.readiness.set(layer2_decides && can_work(&self.driver.links()));
        self.tell();
        self.reconcile_routes(&dirty);
        rounds::note_end(&dirty);
        self.count_withheld();
        if dirty.all {
            self.session_states.publish(self.driver.bgp().session_states());
        }
        if !std::mem::replace(&mut self.synced, true) {
            self.bgp_statuses.settled();
        }
        if layer2_decides && !std::mem::replace(&mut self.layer2_synced, true) {
            self.l2_statuses.settled();
        }
    }

    /// Goes by the record of an earlier run, since the cluster's objects cannot be read.
    pub(super) fn remember(&mut self) {
        if self.synced || has_read(&self.snapshot) {
            return;
        }
        let Some(last_owned) = &self.last_owned else {
            tracing::warn!(
                event = "apiUnread",
                "the API cannot be read: this node announces nothing by layer2 until it can (no --state-path)"
            );
            return;
        };
        match last_owned.read(&self.node) {
            Ok(Some(record)) => {
                tracing::warn!(
                    event = "remembered",
                    addresses = record.addresses.len(),
                    "the API cannot be read: this node asks its links for the addresses that it owned last, and announces those that no other station answers for"
                );
                self.driver.remember(&record);
            }
            Ok(None) => tracing::warn!(
                event = "apiUnread",
                "the API cannot be read: this node announces nothing by layer2 until it can (there is no record in --state-path)"
            ),
            Err(error) => tracing::error!(event = "apiUnread", %error,
                "the API cannot be read: this node announces nothing by layer2 until it can"),
        }
    }

    /// Notes that the file of the owned addresses has to be written, a moment from now.
    pub(super) fn note_owned(&mut self) {
        let version = self.driver.core().announced_version();
        if self.last_owned.is_some() && self.synced && version != self.recorded {
            self.recorded = version;
            self.record_due.get_or_insert_with(|| clock::now() + RECORD_INTERVAL);
        }
    }

    /// Writes the file of the owned addresses.
    pub(super) fn write_owned(&mut self) {
        self.record_due = None;
        if let Some(last_owned) = &self.last_owned {
            last_owned.publish(self.driver.record(&self.snapshot));
        }
    }

    fn count_withheld(&self) {
        // As a scrape does it: first the core, then the metrics.
        let core = self.driver.core();
        if let Ok(metrics) = self.metrics.lock() {
            metrics.set_withheld("layer2", core.speaker().reason_counts());
            metrics.set_withheld("bgp", core.routes().reason_counts());
        }
    }

    /// Passes decisions and notices to the log, to events, statuses and reports.
    pub(super) fn tell(&mut self) {
        while let Some(notice) = self.driver.poll() {
            match notice {
                Fact::Layer2(output) => self.tell_layer2(output),
                Fact::Route(output) => {
                    self.routes_changed = true;
                    self.tell_route(output);
                }
                Fact::Conflict { claim, users } => self.tell_conflict(claim, users),
                Fact::Link { address, word, users } => self.tell_link(address, &word, users),
                Fact::Word { service, word } => self.tell_word(service, word),
                // The driver has logged these.
                Fact::Standing(_) | Fact::Trouble(_) => {}
            }
        }
    }

    /// Sets the routes that discard to the aggregates; a failed change is tried again with the next one.
    pub(super) async fn discard_aggregates(&mut self) {
        let Some(routes) = &mut self.discard else { return };
        if !std::mem::take(&mut self.routes_changed) {
            return;
        }
        let aggregates = self.driver.core().routes().aggregates();
        if let Err(error) = routes.set(&aggregates).await {
            tracing::error!(event = "discardRoute", %error, "a route that discards could not be changed");
        }
    }

    fn ask_for_slices(&mut self) {
        for service in self.snapshot.take_wanted_slices() {
            let (client, asked) = (self.client.clone(), self.asked.clone());
            let version = self.snapshot.slice_version().clone();
            tokio::spawn(async move {
                let mut pause = Duration::from_millis(500);
                loop {
                    match slices_of(&client, &service, &version).await {
                        Ok(slices) => {
                            let slices = slices
                                .into_iter()
                                .map(|slice| Update::Apply(Object::EndpointSlice(Box::new(slice))));
                            // The receiver is gone only when the program ends.
                            let _ = asked.send(slices.collect()).await;
                            return;
                        }
                        Err(error) => {
                            tracing::warn!(%service, %error, "failed to list EndpointSlices; tried again");
                            tokio::time::sleep(pause).await;
                            pause = (pause * 2).min(Duration::from_secs(30));
                        }
                    }
                }
            });
        }
    }

    /// The memberlist's keys have changed.
    pub(super) fn set_keys(&mut self, keys: &Keys) {
        tracing::info!(event = "memberlistKeys", "the memberlist's keys were read anew");
        keys.tell();
        self.key_problems.clone_from(&keys.problems);
        self.driver.set_keys(keys.ring.clone());
    }

    pub(super) fn handle_signal(&mut self, signal: Signal) {
        for notice in self.driver.handle_signal(signal) {
            self.tell_session(notice);
        }
        self.session_states.publish(self.driver.bgp().session_states());
        if self.driver.bgp().wants_reconcile() && self.synced {
            self.reconcile_routes(&Dirty::default());
        }
    }

    /// Tells the faults of the configuration, in the metric and in ConfigurationState.
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
        self.driver.decide_routes(&self.snapshot, dirty);
        self.tell();
    }

    /// The pool that contains these addresses of a Service, for the log.
    fn pool_of(&self, service: &ObjectKey, addresses: &[IpAddr]) -> Option<Arc<str>> {
        let service = self.snapshot.service(service)?;
        Some(service_view::pool(service, addresses, self.snapshot.config()).ok()?.name)
    }

    fn assigned(&self, service: ObjectKey, uid: Box<str>, protocol: &str) -> ObjectEvent {
        ObjectEvent {
            regarding: Regarding::service(service, uid),
            warning: false,
            reason: "nodeAssigned",
            message: format!("announcing from node {:?} with protocol {protocol:?}", self.node),
        }
    }

    fn tell_route(&self, output: RouteOutput) {
        match &output {
            RouteOutput::Advertised { service, addresses, .. }
            | RouteOutput::Withdrawn { service, addresses, .. } => {
                let core = self.driver.core();
                let paths = core.routes().advertised().get(service);
                let count = paths.map_or(0, |advertised| advertised.paths.len());
                log::note_route(&output, self.pool_of(service, addresses).as_deref(), count);
            }
            RouteOutput::Conflict { .. }
            | RouteOutput::Peers { .. }
            | RouteOutput::LocalPrefDiffers { .. } => log::note_route(&output, None, 0),
        }
        let Ok(mut metrics) = self.metrics.lock() else { return };
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

    fn tell_layer2(&self, output: Output) {
        match &output {
            Output::Announced { service, announcement, .. }
            | Output::Withdrawn { service, announcement, .. } => {
                let pool = self.pool_of(service, &announcement.addresses);
                log::note(&output, pool.as_deref());
            }
            Output::Remarked { .. } => log::note(&output, None),
            Output::NoInterface { .. } => {}
        }
        match output {
            Output::Remarked { .. } => {}
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

/// True if the links are known, and this node answers by L2 on one of them, or could on none: a node may have only links that are excluded,
/// in a VRF or without ARP, and announce by BGP.
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
