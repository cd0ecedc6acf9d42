// SPDX-License-Identifier: Apache-2.0
//! Who is alive: the memberlist protocol as HashiCorp's library speaks it (SWIM with Lifeguard), so that our speakers and
//! MetalLB's share one ring.

mod key;
mod random;
mod settings;
mod wire;

pub use key::Key;
pub use settings::{Settings, SettingsError};
pub use wire::META;
pub use wire::envelope::{Envelope, LabelTooLong};
pub use wire::error::DecodeError;
pub use wire::message::Versions;
pub use wire::push_pull::State;
