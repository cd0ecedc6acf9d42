// SPDX-License-Identifier: Apache-2.0
//! What a decision is: the outcome, what users are told of it, and why addresses were lost. The same in both worlds.

use std::net::IpAddr;

use cluster::ObjectKey;
use cluster::model::ServiceCondition;

use crate::allocations::Assigned;
use crate::notice::{Notice, NoticeKind};
use crate::reason::{Change, Reason};
use crate::request::quoted;

/// The outcome for one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has these addresses.
    Assigned(Assigned),
    /// Its pool is present but invalid: what it has is left as it is.
    Held(Assigned),
    /// It has none, and why.
    Pending(Reason),
}

impl Outcome {
    /// The addresses, if any.
    #[must_use]
    pub fn assigned(&self) -> Option<&Assigned> {
        match self {
            Self::Assigned(assigned) | Self::Held(assigned) => Some(assigned),
            Self::Pending(_) => None,
        }
    }

    /// What the condition `ferrolb.io/Allocated` says of it.
    #[must_use]
    pub fn condition(&self) -> ServiceCondition {
        match self {
            Self::Assigned(Assigned { pool, addresses })
            | Self::Held(Assigned { pool, addresses }) => ServiceCondition {
                met: true,
                reason: "Assigned".into(),
                message: format!("Assigned IP {} from pool {:?}", quoted(addresses), pool.name),
            },
            Self::Pending(reason) => ServiceCondition {
                met: false,
                reason: reason.condition(),
                message: reason.to_string(),
            },
        }
    }
}

/// An outcome and the events that tell about it, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What the Service has from now on.
    pub outcome: Outcome,
    /// What users are told.
    pub notices: Vec<Notice>,
    /// What took its addresses back, where no notice says so.
    pub cleared: Option<Change>,
}

impl Decision {
    pub(crate) fn pending(key: &ObjectKey, reason: Reason) -> Self {
        let notices = reason.notice(key).into_iter().collect();
        Self { outcome: Outcome::Pending(reason), notices, cleared: None }
    }

    /// It goes on with what it has.
    pub(crate) fn kept(outcome: Outcome, notices: Vec<Notice>) -> Self {
        Self { outcome, notices, cleared: None }
    }

    /// It has no longer what it had, and gets what was found, if anything was; `more` is told with that.
    pub(crate) fn anew<N: IntoIterator<Item = Notice>>(
        key: &ObjectKey,
        loss: Loss,
        found: Result<Assigned, Reason>,
        more: impl FnOnce(&Assigned) -> N,
    ) -> Self {
        let mut notices = Vec::new();
        let cleared = loss.divide(&mut notices);
        let outcome = match found {
            Ok(assigned) => {
                let message = format!("Assigned IP {}", quoted(&assigned.addresses));
                notices.push(Notice::new(NoticeKind::Allocated, message));
                notices.extend(more(&assigned));
                Outcome::Assigned(assigned)
            }
            Err(reason) => {
                notices.extend(reason.notice(key));
                Outcome::Pending(reason)
            }
        };
        Self { outcome, notices, cleared }
    }
}

/// Why current addresses cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// There were none.
    Nothing,
    /// Without an event: the Service asks for something else now.
    Changed(Change),
    /// With an event.
    Told(Notice),
}

impl Loss {
    /// An event for `notices`, or what changed.
    pub(crate) fn divide(self, notices: &mut Vec<Notice>) -> Option<Change> {
        match self {
            Self::Nothing => None,
            Self::Changed(change) => Some(change),
            Self::Told(notice) => {
                notices.push(notice);
                None
            }
        }
    }
}

/// One address more, and the event that tells of it.
pub(crate) fn assigned_too(assigned: &mut Assigned, address: IpAddr) -> Notice {
    assigned.addresses.push(address);
    assigned.addresses.sort();
    Notice::new(NoticeKind::Allocated, format!("Assigned additional IP \"{address}\""))
}
