// SPDX-License-Identifier: Apache-2.0
//! Whether leases are permitted, by what the API server said. A synchronous value: it reads no clock.

use std::time::{Duration, Instant};

/// Where leases were permitted, refusals have to last for so long until they are believed: an API server that starts refuses
/// everything for a moment, and two controllers that both believed it would both decide.
const DOUBT: Duration = Duration::from_secs(60);

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Permission {
    /// Whether there was permission once.
    worked: bool,
    /// Since when all has been refused.
    refused: Option<Instant>,
    /// Whether the refusal is believed.
    absent: bool,
}

impl Permission {
    /// A request was carried out. Whether that is news after a refusal that was believed.
    pub(super) fn granted(&mut self) -> bool {
        self.worked = true;
        self.refused = None;
        std::mem::take(&mut self.absent)
    }

    /// A request was refused. Whether that is to be believed.
    pub(super) fn refused(&mut self, now: Instant) -> bool {
        let since = *self.refused.get_or_insert(now);
        self.absent |= !self.worked || now >= since + DOUBT;
        self.absent
    }

    /// Whether this controller goes without.
    pub(super) fn is_absent(&self) -> bool {
        self.absent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_believed_at_once_only_where_nothing_was_permitted_before() {
        #[allow(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
        let now = Instant::now();
        let mut permission = Permission::default();
        assert!(permission.refused(now) && permission.is_absent());
        assert!(permission.granted(), "it is news that there is permission");
        assert!(!permission.granted());
        assert!(!permission.refused(now));
        assert!(!permission.refused(now + DOUBT / 2) && !permission.is_absent());
        permission.granted();
        assert!(!permission.refused(now + DOUBT), "it was permitted meanwhile");
        assert!(permission.refused(now + DOUBT * 2) && permission.is_absent());
    }
}
