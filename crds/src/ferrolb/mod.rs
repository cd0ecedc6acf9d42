// SPDX-License-Identifier: Apache-2.0
//! The kinds of the API group `ferrolb.io`, one per file: what the programs tell one another through the API. Nobody writes them by
//! hand, and without them all addresses are given and announced as with them.

mod speaker_report;

pub use speaker_report::{
    Connections, Draining, MOST_DRAINING, SpeakerReport, SpeakerReportSpec, Word,
};

/// The API group of every kind here.
pub const GROUP: &str = "ferrolb.io";
