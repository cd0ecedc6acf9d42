// SPDX-License-Identifier: Apache-2.0
//! The program `speaker`, and the parts of it that `ferrolb run` uses as well.

pub mod args;
mod conflict;
mod exclusion;
mod l2_status;
mod layer2;
mod run;

pub use conflict::{describe, stations};
pub use exclusion::{EXCLUSION_FILE, ExclusionError, read_exclusion};
pub use layer2::Layer2Driver;
pub use run::run;
