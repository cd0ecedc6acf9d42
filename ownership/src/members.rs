// SPDX-License-Identifier: Apache-2.0
//! The nodes that run a speaker, and the metadata of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::wire::links::{Links, NodeLinks};
use crate::wire::metadata::{NodeMetadata, PoolOrder};

/// The nodes that run a speaker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RingSpeakers {
    /// There is no ring: every known node counts (contract 3.4).
    #[default]
    Disabled,
    /// Exactly these nodes.
    Alive(BTreeMap<Arc<str>, RingSpeaker>),
}

/// One speaker of the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RingSpeaker {
    /// One of ours.
    Ferrolb(NodeMetadata),
    /// One of MetalLB's, which has no metadata and elects as it always did, or one of ours of another version.
    MetalLb,
}

impl RingSpeakers {
    /// True if this node runs a speaker that may answer and is not about to end.
    #[must_use]
    pub fn contains(&self, node: &str) -> bool {
        match self {
            Self::Disabled => true,
            Self::Alive(members) => members.get(node).is_some_and(|member| match member {
                RingSpeaker::Ferrolb(metadata) => !metadata.leaving && !metadata.silent,
                RingSpeaker::MetalLb => true,
            }),
        }
    }

    /// True if this node runs MetalLB's speaker.
    #[must_use]
    pub fn is_metallb(&self, node: &str) -> bool {
        matches!(self, Self::Alive(members) if matches!(members.get(node), Some(RingSpeaker::MetalLb)))
    }

    /// True if this node's speaker has said that it is about to end.
    #[must_use]
    pub fn is_leaving(&self, node: &str) -> bool {
        matches!(self, Self::Alive(members)
            if matches!(members.get(node), Some(RingSpeaker::Ferrolb(metadata)) if metadata.leaving))
    }

    /// True if this node's speaker says that it may not answer at the moment.
    #[must_use]
    pub fn is_silent(&self, node: &str) -> bool {
        matches!(self, Self::Alive(members)
            if matches!(members.get(node), Some(RingSpeaker::Ferrolb(metadata)) if metadata.silent))
    }

    /// True if this node's speaker says that it is unsynchronised: it does not know the addresses of all others.
    #[must_use]
    pub fn is_unsynchronised(&self, node: &str) -> bool {
        matches!(self, Self::Alive(members)
            if matches!(members.get(node), Some(RingSpeaker::Ferrolb(metadata)) if metadata.unsynchronised))
    }

    /// Whether this node's speaker says that its node is being drained; none if the speaker does not tell.
    #[must_use]
    pub fn is_drained(&self, node: &str) -> Option<bool> {
        match self {
            Self::Disabled => None,
            Self::Alive(members) => match members.get(node)? {
                RingSpeaker::Ferrolb(metadata) => Some(metadata.drained),
                RingSpeaker::MetalLb => None,
            },
        }
    }

    /// True if a speaker of MetalLB or of another version takes part: then the election is exactly MetalLB's, which is the only one that both
    /// know.
    #[must_use]
    pub fn is_mixed(&self) -> bool {
        match self {
            Self::Disabled => false,
            Self::Alive(members) => {
                members.values().any(|member| matches!(member, RingSpeaker::MetalLb))
            }
        }
    }

    /// True if an address that Services share has one election. False while a build takes part that does not know this rule, since all must
    /// elect alike.
    #[must_use]
    pub fn elect_addresses(&self) -> bool {
        match self {
            Self::Disabled => true,
            Self::Alive(members) => members.values().all(|member| match member {
                RingSpeaker::Ferrolb(metadata) => !metadata.elects_services,
                RingSpeaker::MetalLb => false,
            }),
        }
    }

    /// True if the node has a link for the pool, or if that cannot be known. `pools` gives the place of the pool in the node's metadata.
    #[must_use]
    pub fn has_link(&self, node: &str, pools: &PoolOrder, pool: &str) -> bool {
        match self {
            Self::Disabled => true,
            Self::Alive(members) => match members.get(node) {
                Some(RingSpeaker::Ferrolb(metadata)) => metadata.links.covers(pools, pool),
                Some(RingSpeaker::MetalLb) | None => true,
            },
        }
    }

    /// True if all of our speakers are of builds that publish their links.
    #[must_use]
    pub fn say_links(&self) -> bool {
        match self {
            Self::Disabled => false,
            Self::Alive(members) => members.values().all(|member| match member {
                RingSpeaker::Ferrolb(metadata) => metadata.node_links != NodeLinks::Unknown,
                RingSpeaker::MetalLb => true,
            }),
        }
    }

    /// The links that this node's speaker says it has, if it tells them.
    #[must_use]
    pub fn links(&self, node: &str) -> Option<&Links> {
        let Self::Alive(members) = self else { return None };
        match members.get(node)? {
            RingSpeaker::Ferrolb(NodeMetadata { node_links: NodeLinks::Said(links), .. }) => {
                Some(links)
            }
            RingSpeaker::Ferrolb(_) | RingSpeaker::MetalLb => None,
        }
    }

    /// True if any other of our speakers takes part.
    #[must_use]
    pub fn has_others(&self) -> bool {
        matches!(self, Self::Alive(members)
            if members.values().filter(|member| matches!(member, RingSpeaker::Ferrolb(_))).count() > 1)
    }

    /// True if this node runs one of our speakers.
    #[must_use]
    pub fn is_ferrolb(&self, node: &str) -> bool {
        matches!(self, Self::Alive(members) if matches!(members.get(node), Some(RingSpeaker::Ferrolb(_))))
    }
}

impl RingSpeaker {
    /// Reads the metadata of a member. A member without our magic or version counts as MetalLB's.
    #[must_use]
    pub fn parse(metadata: &[u8]) -> Self {
        NodeMetadata::decode(metadata).map_or(Self::MetalLb, Self::Ferrolb)
    }
}
