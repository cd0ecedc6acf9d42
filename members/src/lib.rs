// SPDX-License-Identifier: Apache-2.0
//! Who is alive: the memberlist protocol as HashiCorp's library speaks it (SWIM with Lifeguard), so that our speakers and
//! MetalLB's share one ring; beside it a heartbeat between our own, by which a dead one is found within half a second, and by
//! which each knows whether it is with the majority.
//!
//! What the others own, and what follows from a death, is not known here.

pub mod heartbeat;
mod key;
pub mod quorum;
mod random;
mod ring;
pub mod robustness;
mod settings;
pub mod watch;
mod wire;

#[cfg(feature = "net")]
pub mod net;

pub use key::Key;
pub use ring::{Config, ConfigError, Event, Input, MEMBERS, Member, Output, Ring};
pub use settings::{Settings, SettingsError};
pub use wire::META;
pub use wire::envelope::{Envelope, LabelTooLong};
pub use wire::error::DecodeError;
pub use wire::message::Versions;
pub use wire::push_pull::State;
pub use wire::stream::{Incoming, refusal};
