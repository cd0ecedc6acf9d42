// SPDX-License-Identifier: Apache-2.0
//! The log's lines about the memberlist: the standing of this node, and the reachability of the other speakers.

use std::net::IpAddr;

use members::Standing;
use ownership::{LinkWord, Station};

use crate::core::Trouble;

/// The reachability of the memberlist has changed.
pub(super) fn trouble(trouble: &Trouble) {
    match trouble {
        Trouble::OtherKey(speakers) if speakers.is_empty() => {
            tracing::info!(
                event = "memberlistKeyAgrees",
                "what the listed speakers send can be opened"
            );
        }
        Trouble::OtherKey(speakers) => {
            tracing::error!(
                event = "memberlistKeyDiffers",
                ?speakers,
                "what these speakers send is not sealed by a key of this node: they have another memberlist key, and are not in one ring with it"
            );
        }
        Trouble::Blocked { speakers, other_key, by_link } => {
            let cause = match other_key {
                true => {
                    "no other speaker answers that has this node's memberlist key, although there should be some"
                }
                false => {
                    "no other speaker answers, although there should be some: is the memberlist's port (7946 over UDP and TCP) blocked?"
                }
            };
            let consequence = match by_link {
                true => "This node asks its links for each address before it announces",
                false => "This node announces as if it were alone",
            };
            let stop = if *other_key { "." } else { "" };
            tracing::error!(event = "memberlistBlocked", ?speakers, "{cause}{stop} {consequence}");
        }
        Trouble::OverTcpOnly(nodes) if nodes.is_empty() => {
            tracing::info!(
                event = "memberlistOpen",
                "all speakers that answer over TCP answer over UDP as well"
            );
        }
        Trouble::OverTcpOnly(nodes) => {
            tracing::error!(
                event = "memberlistBlocked",
                ?nodes,
                "these nodes' speakers answer over TCP only: is the memberlist's port blocked over UDP (7946)? Whether they live is judged by the memberlist alone, which takes seconds"
            );
        }
        Trouble::Open => {
            tracing::info!(event = "memberlistOpen", "other speakers answer");
        }
    }
}

/// The standing of this node has changed.
pub(super) fn standing(standing: Standing) {
    match standing {
        Standing::Confirmed => {
            tracing::info!(
                event = "standing",
                standing = "confirmed",
                "this node may announce by L2"
            );
        }
        Standing::Starting => {}
        Standing::Doubtful => {
            tracing::warn!(
                event = "standing",
                standing = "doubtful",
                "this node is silent until the other speakers confirm that they see it alive"
            );
        }
        Standing::Minority { present, known } => {
            tracing::error!(
                event = "standing",
                standing = "minority",
                present,
                known,
                "this node is silent: it sees fewer than half of the speakers"
            );
        }
        Standing::ByLink { present, known, met: _ } => {
            tracing::error!(
                event = "standing",
                standing = "link",
                present,
                known,
                "this node sees too few of the speakers: it asks its links, and announces the addresses for which no other station answers"
            );
        }
    }
}

/// Logs what the link says about an address, while the count does not let this node answer.
pub(super) fn link(address: IpAddr, word: &LinkWord) {
    match word {
        LinkWord::Unanswered => {
            tracing::warn!(event = "announcedByLink", ip = %address,
                "this node sees too few speakers, and announces this address: no other station of the link answers for it");
        }
        LinkWord::AnsweredBy(Station { interface, hardware_address }) => {
            tracing::warn!(event = "answeredElsewhere", ip = %address, %interface, mac = %hardware_address,
                "this node sees too few speakers, and is silent for this address: another station answers for it");
        }
    }
}
