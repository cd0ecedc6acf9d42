// SPDX-License-Identifier: Apache-2.0
//! The questions that the drivers ask a [`Core`].

use std::net::IpAddr;

use l2::LinkReport;
use ownership::MembershipView;

use super::{ClockReading, Core, Leaving};
use crate::announced_condition::AnnouncedCondition;
use crate::routes::RouteBooks;
use crate::speaker::Speaker;

impl Core {
    /// The nodes that take part, and the standing of this one.
    #[must_use]
    pub fn view(&self) -> &MembershipView {
        self.membership.view()
    }

    /// The announcements by L2.
    #[must_use]
    pub fn speaker(&self) -> &Speaker {
        &self.speaker
    }

    /// The routes that are advertised by BGP.
    #[must_use]
    pub fn routes(&self) -> &RouteBooks {
        &self.routes
    }

    /// The last words about Services that nobody announces.
    #[must_use]
    pub fn announced_condition(&self) -> &AnnouncedCondition {
        &self.announced_condition
    }

    /// The links of this node.
    #[must_use]
    pub fn links(&self) -> &[LinkReport] {
        &self.layer2.links
    }

    /// True if a list of the speakers' pods would decide which nodes count.
    #[must_use]
    pub fn wants_list(&self, now: ClockReading) -> bool {
        self.membership.wants_list(now.monotonic)
    }

    /// True if the memberlist's port seems to be blocked.
    #[must_use]
    pub fn is_port_blocked(&self) -> bool {
        self.port.is_blocked()
    }

    /// The addresses that are answered for here: the ones that are announced, and the ones that pass to other nodes.
    pub fn answered(&self) -> impl Iterator<Item = IpAddr> {
        self.announced.iter().copied().chain(self.handovers.passing())
    }

    /// True if a planned stop is over: others have the addresses that were announced here, and know that this speaker is gone.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.leaving == Leaving::Gone
    }
}
