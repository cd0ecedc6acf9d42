// SPDX-License-Identifier: Apache-2.0
//! The program `speaker`, and the parts of it that `ferrolb run` uses as well.

mod agent;
pub mod args;
mod bgp;
pub mod capabilities;
mod clock_reading;
mod companions;
mod conflict;
mod connections;
mod discovery;
mod draining;
mod driver;
mod exclusion;
mod extras;
mod flows;
mod frr_configuration;
mod frr_metrics;
mod host_routes;
mod kernel_tables;
mod keys;
mod last_owned;
mod membership_log;
mod needed;
mod report;
mod run;
mod service_status;
mod session_events;
mod session_state;
mod shell;
mod start;

pub use agent::{AgentDriver, AgentSignals, MembershipOptions};
pub use bgp::{
    BgpCollector, BgpDriver, BgpOptions, SessionNotice, Signal, Signals, Style, bfd_choice,
};
pub use clock_reading::clock_reading;
pub use companions::Companion;
pub use conflict::{ConflictReport, ConflictReporter};
pub use connections::{KeptConnections, object_name};
pub use driver::Driver;
pub use exclusion::{EXCLUSION_FILE, ExclusionError, read_exclusion};
pub use host_routes::{HostRoutes, HostRoutesError, Refusal, RouteAction};
pub use kernel_tables::{KernelNotice, next_kept};
pub use keys::{KeyError, Keys, SHORT};
pub use run::run;
