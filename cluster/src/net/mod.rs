//! Sources and sinks: everything of this crate that does I/O.

pub mod client;
pub mod sink;
pub mod source;
