// SPDX-License-Identifier: Apache-2.0
//! The Services that L2 has not decided yet, since the ring has not been met. Other decisions, such as routes by BGP, need no ring and do not
//! wait for it.

use cluster::Dirty;

/// The Services that became dirty while L2 had to wait.
#[derive(Debug, Default)]
pub(crate) struct Postponed(Dirty);

impl Postponed {
    /// Returns true if L2 is to decide now. While the ring is `starting` it is not, and `dirty` is remembered; the first time after that
    /// everything remembered is added to `dirty`.
    pub(crate) fn admit(&mut self, starting: bool, dirty: &mut Dirty) -> bool {
        if starting {
            self.0.all |= dirty.all;
            self.0.services.extend(dirty.services.iter().cloned());
            return false;
        }
        let remembered = std::mem::take(&mut self.0);
        dirty.all |= remembered.all;
        dirty.services.extend(remembered.services);
        true
    }
}

#[cfg(test)]
mod tests {
    use cluster::ObjectKey;

    use super::*;

    fn dirty(all: bool, services: &[&str]) -> Dirty {
        let services = services.iter().map(|name| ObjectKey::new("here", name)).collect();
        Dirty { all, services }
    }

    #[test]
    fn what_was_dirty_while_the_ring_started_is_decided_once_it_has() {
        let mut postponed = Postponed::default();
        let mut first = dirty(false, &["a", "b"]);
        assert!(!postponed.admit(true, &mut first));
        assert_eq!(first.services.len(), 2, "BGP decides it now");
        assert!(!postponed.admit(true, &mut dirty(true, &[])));
        let mut now = dirty(false, &["c"]);
        assert!(postponed.admit(false, &mut now));
        assert!(now.all);
        assert_eq!(now.services, dirty(false, &["a", "b", "c"]).services);
        let mut later = Dirty::default();
        assert!(postponed.admit(false, &mut later) && later.is_empty(), "it is decided once");
    }
}
