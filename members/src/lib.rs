// SPDX-License-Identifier: Apache-2.0
//! Who is alive: the memberlist protocol as HashiCorp's library speaks it (SWIM with Lifeguard), compatible on the wire, so that our
//! speakers and MetalLB's share one ring; beside it a [`heartbeat`] between our own, by which a dead one is found within half a
//! second, and by which each knows whether it is with the majority ([`quorum`], [`watch`]). What follows from a death is somebody
//! else's business.
//!
//! It has no messages of an application (those of others are ignored), and finds nobody by
//! itself: whom to join is for the caller to say.
//!
//! ```text
//!   caller ──join, set_meta, leave──> commands ──┐               ┌── UDP socket ──> Companion: Heartbeat (watch)
//!   caller <─events, snapshots───────────────────┤    1 thread   ├── TCP listener, a task per stream
//!                                                │   (net::run)  │   (Envelope: label and encryption)
//!                                                └──── Ring ─────┘   (ring: the core, no clock, no sockets)
//! ```

pub mod guard;
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

pub use key::{Key, Keyring};
pub use ring::{Config, ConfigError, Event, Input, MEMBERS, Member, Output, Ring};
pub use settings::{Settings, SettingsError};
pub use wire::META;
pub use wire::envelope::{Envelope, LabelTooLong};
pub use wire::error::DecodeError;
pub use wire::message::Versions;
pub use wire::push_pull::State;
pub use wire::stream::{Incoming, refusal};
