// SPDX-License-Identifier: Apache-2.0
//! The program `speaker`, and the parts of it that `ferrolb run` uses as well.

pub mod args;
mod bgp;
pub mod capabilities;
mod clock;
mod companions;
mod conflict;
mod discovery;
mod exclusion;
mod extras;
mod frr_configuration;
mod frr_metrics;
mod host_routes;
mod keys;
mod layer2;
mod membership;
mod needed;
mod report;
mod ring;
mod run;
mod service_status;
mod session_events;
mod session_state;
mod shell;

pub use bgp::{
    BgpCollector, BgpDriver, BgpOptions, SessionNotice, Signal, Signals, Style, bfd_choice,
};
pub use clock::until;
pub use companions::Companion;
pub use conflict::{Claim, ConflictReport, ConflictReporter};
pub use exclusion::{EXCLUSION_FILE, ExclusionError, read_exclusion};
pub use host_routes::{HostRoutes, HostRoutesError, Refusal, RouteAction};
pub use keys::{KeyError, Keys, SHORT};
pub use layer2::Layer2Driver;
pub use members::quorum::Fencing;
pub use membership::Membership;
pub use ring::{MembershipOptions, RingDriver, RingEvent, RingSignals};
pub use run::run;
