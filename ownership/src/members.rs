// SPDX-License-Identifier: Apache-2.0
//! Which nodes run a speaker, and what each says of itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::wire::links::{Links, NodeLinks};
use crate::wire::metadata::{NodeMetadata, PoolOrder};

/// Which nodes run a speaker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Members {
    /// Membership is off: every known node counts (contract 3.4).
    #[default]
    Disabled,
    /// Exactly these.
    Alive(BTreeMap<Arc<str>, Member>),
}

/// One speaker of the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// One of ours.
    Ferrolb(NodeMetadata),
    /// MetalLB's, which says nothing of itself and elects as it always did, or one of ours of another version.
    MetalLb,
}

impl Members {
    /// Whether this node runs a speaker that goes on.
    #[must_use]
    pub fn contains(&self, node: &str) -> bool {
        match self {
            Self::Disabled => true,
            Self::Alive(members) => members.get(node).is_some_and(|member| match member {
                Member::Ferrolb(metadata) => !metadata.leaving && !metadata.silent,
                Member::MetalLb => true,
            }),
        }
    }

    /// Whether this node runs MetalLB's speaker.
    #[must_use]
    pub fn is_metallb(&self, node: &str) -> bool {
        matches!(self, Self::Alive(members) if matches!(members.get(node), Some(Member::MetalLb)))
    }

    /// Whether this node's speaker has said that it is about to end.
    #[must_use]
    pub fn is_leaving(&self, node: &str) -> bool {
        matches!(self, Self::Alive(members)
            if matches!(members.get(node), Some(Member::Ferrolb(metadata)) if metadata.leaving))
    }

    /// Whether this node's speaker says that it does not speak at the moment.
    #[must_use]
    pub fn is_silent(&self, node: &str) -> bool {
        matches!(self, Self::Alive(members)
            if matches!(members.get(node), Some(Member::Ferrolb(metadata)) if metadata.silent))
    }

    /// Whether this node's speaker says that it does not know what all others hold.
    #[must_use]
    pub fn is_behind(&self, node: &str) -> bool {
        matches!(self, Self::Alive(members)
            if matches!(members.get(node), Some(Member::Ferrolb(metadata)) if metadata.behind))
    }

    /// Whether this node's speaker says that its node is being emptied; none if it says nothing.
    #[must_use]
    pub fn is_drained(&self, node: &str) -> Option<bool> {
        match self {
            Self::Disabled => None,
            Self::Alive(members) => match members.get(node)? {
                Member::Ferrolb(metadata) => Some(metadata.drained),
                Member::MetalLb => None,
            },
        }
    }

    /// Whether a speaker of MetalLB takes part, or one of another version: then the election is exactly MetalLB's, since that is all that
    /// both know.
    #[must_use]
    pub fn is_mixed(&self) -> bool {
        match self {
            Self::Disabled => false,
            Self::Alive(members) => {
                members.values().any(|member| matches!(member, Member::MetalLb))
            }
        }
    }

    /// Whether an address that Services share is elected for once: not while a build takes part that knows nothing of that, since all
    /// must have one election.
    #[must_use]
    pub fn elect_addresses(&self) -> bool {
        match self {
            Self::Disabled => true,
            Self::Alive(members) => members.values().all(|member| match member {
                Member::Ferrolb(metadata) => !metadata.elects_services,
                Member::MetalLb => false,
            }),
        }
    }

    /// Whether the node has a link for the pool with this place in the order of names; so it is assumed where it can't be known.
    #[must_use]
    pub fn has_link(&self, node: &str, pools: &PoolOrder, pool: &str) -> bool {
        match self {
            Self::Disabled => true,
            Self::Alive(members) => match members.get(node) {
                Some(Member::Ferrolb(metadata)) => metadata.links.covers(pools, pool),
                Some(Member::MetalLb) | None => true,
            },
        }
    }

    /// Whether all of our speakers are of builds that say which links they have.
    #[must_use]
    pub fn say_links(&self) -> bool {
        match self {
            Self::Disabled => false,
            Self::Alive(members) => members.values().all(|member| match member {
                Member::Ferrolb(metadata) => metadata.node_links != NodeLinks::Unknown,
                Member::MetalLb => true,
            }),
        }
    }

    /// Which links this node's speaker says it has, if it does.
    #[must_use]
    pub fn links(&self, node: &str) -> Option<&Links> {
        let Self::Alive(members) = self else { return None };
        match members.get(node)? {
            Member::Ferrolb(NodeMetadata { node_links: NodeLinks::Said(links), .. }) => Some(links),
            Member::Ferrolb(_) | Member::MetalLb => None,
        }
    }

    /// Whether any other of our speakers takes part.
    #[must_use]
    pub fn has_others(&self) -> bool {
        matches!(self, Self::Alive(members)
            if members.values().filter(|member| matches!(member, Member::Ferrolb(_))).count() > 1)
    }

    /// Whether it is one of ours that takes part.
    #[must_use]
    pub fn is_ferrolb(&self, node: &str) -> bool {
        matches!(self, Self::Alive(members) if matches!(members.get(node), Some(Member::Ferrolb(_))))
    }
}

impl Member {
    /// Reads the metadata of a member: without our mark and version it is MetalLB's.
    #[must_use]
    pub fn parse(metadata: &[u8]) -> Self {
        NodeMetadata::decode(metadata).map_or(Self::MetalLb, Self::Ferrolb)
    }
}
