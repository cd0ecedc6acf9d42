// SPDX-License-Identifier: Apache-2.0
//! The lines that are printed about decisions, sessions, links and other stations.

use cluster::Dirty;
use speaker::net::{SessionNotice, Signal};
use speaker::{Output, RouteOutput};

use super::Runner;

impl Runner {
    pub(super) fn note(output: &Output) {
        match output {
            Output::Announced { .. } => {}
            Output::Withdrawn { service, reason, .. } => {
                tracing::info!(event = "serviceWithdrawn", %service, reason = reason.name(), "{reason}");
            }
            Output::NoInterface { service, addresses, .. } => {
                println!("{service}: the interfaces named for {addresses:?} do not exist here");
            }
        }
    }

    pub(super) fn note_route(&self, output: &RouteOutput) {
        let Ok(mut metrics) = self.metrics.speaker.lock() else { return };
        match output {
            RouteOutput::Advertised { service, addresses, .. } => {
                metrics.set_advertised(service, addresses);
            }
            RouteOutput::Withdrawn { service, reason, .. } => {
                tracing::info!(event = "serviceWithdrawn", %service, reason = reason.name_by_bgp(), protocol = "bgp", "{reason}");
                metrics.set_withdrawn(service);
            }
            RouteOutput::LocalPrefDiffers { prefix } => {
                println!("{prefix}: Services want different localPref for it; the highest is sent");
            }
            RouteOutput::Conflict { service, reason } => {
                println!("{service}: not advertised by BGP, {reason}");
            }
            RouteOutput::Peers { .. } => {}
        }
    }

    pub(super) fn handle_signal(&mut self, signal: Signal) {
        for notice in self.bgp.handle(signal) {
            match notice {
                SessionNotice::Up { peer, detail } => {
                    println!("peer {peer}: established, {detail}")
                }
                SessionNotice::Down { peer, reason, .. } => println!("peer {peer}: down, {reason}"),
                SessionNotice::SharedSeries { peer, older: Some(older) } => {
                    println!(
                        "peer {peer}: its metrics have the labels of the older peer {older}, whose are shown"
                    );
                }
                SessionNotice::SharedSeries { peer, older: None } => {
                    println!("peer {peer}: its metrics are its own again");
                }
                SessionNotice::Problem { peer, problem: Some(problem) } => {
                    println!("peer {peer}: {problem}");
                }
                SessionNotice::Problem { peer, problem: None } => {
                    println!("peer {peer}: that is over");
                }
            }
        }
    }

    pub(super) async fn handle_notice(&mut self, event: l2::Event) {
        match event {
            // All hosts of a folder run this program, and say themselves what they claim.
            l2::Event::Claimed(_) => {}
            // An address that moves is announced by two for a moment.
            l2::Event::Conflict { address, .. } if self.is_moving(address) => {}
            l2::Event::Conflict { address, interface, hardware_address, .. } => {
                let claim = (address, interface, hardware_address);
                self.conflicts.claim(claim, self.world.snapshot.nodes(), || ());
            }
            l2::Event::Done(number) => {
                if let Ok(mut driver) = self.driver.lock() {
                    self.membership.claim(number, &mut driver);
                }
            }
            l2::Event::LinksChanged => {
                self.membership.note_links();
                self.carry_out(Dirty::default()).await;
            }
            l2::Event::SocketFailed { interface, error } => {
                println!("interface {interface} cannot be used: {error}; it is tried again");
            }
            l2::Event::SocketRecovered { interface } => {
                println!("interface {interface} works again")
            }
            l2::Event::ResponderCreated { interface, protocol } => {
                tracing::info!(%interface, "answering {protocol}");
            }
            l2::Event::ResponderClosed { interface, protocol } => {
                tracing::info!(%interface, "no longer answering {protocol}");
            }
        }
    }
}
