// SPDX-License-Identifier: Apache-2.0
//! Who is alive: the memberlist protocol as HashiCorp's library speaks it (SWIM with Lifeguard), compatible on the wire, so that our
//! speakers and MetalLB's share one ring; beside it a [`heartbeat`] between our own, by which a dead one is found within half a
//! second, and by which each knows whether it is with the majority ([`quorum`]). What follows from a death is somebody
//! else's business.
//!
//! It has no messages of an application on the memberlist (those of others are ignored), and finds nobody by
//! itself: whom to join is for the caller to say.
//!
//! ```text
//!   caller ──Command──> ┐                ┌── UDP socket (Envelope, Seal: label and encryption)
//!   caller <─Event, ────┤    1 thread    ├── TCP listener, a task per stream
//!            Snapshot   │   (net::run)   │
//!                       └───── Agent ────┘   (the core: Input, Output, no clock, no sockets)
//!                                ├── Ring: the memberlist
//!                                └── FailureDetector: heartbeats, the majority
//! ```

mod agent;
mod detection;
mod event;
mod failure_detector;
pub mod heartbeat;
mod key;
pub mod quorum;
mod random;
mod ring;
pub mod robustness;
mod settings;
mod wire;

#[cfg(feature = "net")]
pub mod net;

pub use agent::{Agent, AgentConfig, Command, Input, Lease, Moment};
pub use detection::Detection;
pub use event::{Event, Member, Output, Standing};
pub use key::{Key, Keyring};
pub use ring::{Config, ConfigError, MEMBERS, Ring};
pub use settings::{Settings, SettingsError};
pub use wire::META;
pub use wire::envelope::{Envelope, LabelTooLong};
pub use wire::error::DecodeError;
pub use wire::message::Versions;
pub use wire::push_pull::State;
pub use wire::stream::{Incoming, refusal};
