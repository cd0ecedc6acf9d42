// SPDX-License-Identifier: Apache-2.0
//! What the webhooks answer (contract 6.4): pure functions from a request and the objects that are known.
//!
//! ```text
//! octets ── Review::parse ──> alone(review) ──> among(review, objects, nodes) ──> Answer ──> octets
//! octets ── converted ──> octets
//! ```
//! [`alone`] finds what is wrong with the object itself, [`among`] what it breaks together with others. The
//! object under review always counts as the youngest: it is turned away, not one that is there.

mod check;
mod conversion;
mod measure;
mod review;

pub use check::{Nodes, alone, among, kinds};
pub use conversion::{ConversionError, converted};
pub use measure::TooIntricate;
pub use review::{Answer, Operation, Review, ReviewError};

#[cfg(test)]
mod tests;
