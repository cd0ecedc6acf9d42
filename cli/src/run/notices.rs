// SPDX-License-Identifier: Apache-2.0
//! The lines that are printed about decisions, sessions, links and other stations.

use speaker::net::{SessionNotice, Signal};
use speaker::{Fact, Output, RouteOutput};

use super::Runner;

impl Runner {
    /// Prints a decision or a notice.
    pub(super) fn tell(&mut self) {
        while let Some(notice) = self.driver.poll() {
            match notice {
                Fact::Layer2(output) => Self::note(&output),
                Fact::Route(output) => self.note_route(&output),
                Fact::Conflict { claim, .. } => {
                    self.conflicts.claim(claim, self.world.snapshot.nodes(), ());
                }
                // The table shows the announcers, and the driver logs the rest.
                Fact::Link { .. } | Fact::Word { .. } | Fact::Standing(_) | Fact::Trouble(_) => {}
            }
        }
    }

    fn note(output: &Output) {
        match output {
            Output::Announced { .. } => {}
            Output::Withdrawn { service, reason, .. } => {
                tracing::info!(event = "serviceWithdrawn", %service, reason = reason.name(), "{reason}");
            }
            Output::Remarked { service, remarks } => {
                for remark in remarks {
                    println!("{service}: {remark}");
                }
            }
            Output::NoInterface { service, addresses, .. } => {
                println!("{service}: the interfaces named for {addresses:?} do not exist here");
            }
        }
    }

    fn note_route(&self, output: &RouteOutput) {
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
        for notice in self.driver.handle_signal(signal) {
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

    /// Prints an event of the l2 engine.
    pub(super) fn handle_layer2(&mut self, event: &l2::Event) {
        self.driver.handle_layer2(event);
        match event {
            l2::Event::Claimed(_)
            | l2::Event::Answered { .. }
            | l2::Event::Conflict { .. }
            | l2::Event::Done(_)
            | l2::Event::LinksChanged => {}
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
