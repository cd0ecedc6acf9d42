// SPDX-License-Identifier: Apache-2.0
//! Decides from the API server's answers whether leases are permitted. A synchronous value: it reads no clock.

use std::time::{Duration, Instant};

/// The time for which refusals must last to be believed where leases were permitted. An API server that starts refuses
/// everything for a moment, and two controllers that both believed it would both decide.
const DOUBT: Duration = Duration::from_secs(60);

/// The permission to use leases, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Permission {
    /// True if a request was ever carried out.
    worked: bool,
    /// The moment since which every request was refused.
    refused: Option<Instant>,
    /// True if the refusal is believed.
    absent: bool,
}

impl Permission {
    /// Notes that a request was carried out. True if a refusal was believed until now.
    pub(super) fn granted(&mut self) -> bool {
        self.worked = true;
        self.refused = None;
        std::mem::take(&mut self.absent)
    }

    /// Notes that a request was refused. True if the refusal is believed.
    pub(super) fn refused(&mut self, now: Instant) -> bool {
        let since = *self.refused.get_or_insert(now);
        self.absent |= !self.worked || now >= since + DOUBT;
        self.absent
    }

    /// True if this controller goes on without a Lease.
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
