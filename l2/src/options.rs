// SPDX-License-Identifier: Apache-2.0
//! What a start is given once. Not the owned addresses, which come and go.

use std::time::Duration;

/// How to behave; fixed for the life of the engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// Links whose name matches anywhere in it are left alone.
    pub exclude: Option<regex::Regex>,
    /// Every owned address is announced again, and asked for, once in this time. Zero switches it off.
    pub announce_interval: Duration,
    /// Source of the jitter of the periodic announcement.
    pub seed: u64,
    /// Whether and how long this node may speak.
    pub permit: crate::Permit,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            exclude: None,
            announce_interval: Duration::from_secs(60),
            seed: 0,
            permit: crate::Permit::unlimited(),
        }
    }
}
