// SPDX-License-Identifier: Apache-2.0
//! The body of the fuzz target `netfilter`, also run as a property test: arbitrary octets as answers of the kernel. Not used by
//! the programs.

use super::conntrack::read_any;
use super::found::Found;
use super::message::Messages;
use super::ruleset::{Family, TABLE};

/// Octets as messages of nf_tables and of conntrack.
pub fn netfilter(data: &[u8]) {
    let mut found = Found::default();
    for message in Messages(data) {
        let _ = message.errno();
        if let Some(table) = Found::table(message) {
            found.format = table.format;
        }
        for family in [Family::V4, Family::Netdev] {
            found.add(family, TABLE, message);
        }
    }
    read_any(data);
}
