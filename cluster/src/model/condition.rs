// SPDX-License-Identifier: Apache-2.0
//! The conditions that ferrolb puts into the status of Services.

/// Says whether the Service has the addresses that it asks for, and why not. The controller alone writes this
/// condition.
pub const ALLOCATED_CONDITION: &str = "ferrolb.io/Allocated";

/// Says whether the Service's addresses are announced, and by which node or why not. The speakers' reports hold the
/// word, and the controller copies it.
pub const ANNOUNCED_CONDITION: &str = "ferrolb.io/Announced";

/// The content of a condition, without its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCondition {
    /// The condition's status: `True` or `False`.
    pub met: bool,
    /// The condition's reason: one word in CamelCase.
    pub reason: String,
    /// The condition's message, for people.
    pub message: String,
}

/// The fingerprint for a condition where no API server keeps one: the Service has its address.
#[must_use]
pub(crate) fn given() -> u64 {
    ServiceCondition { met: true, reason: String::new(), message: String::new() }.fingerprint()
}

impl ServiceCondition {
    /// The condition's `status`.
    #[must_use]
    pub fn status(&self) -> &'static str {
        if self.met { "True" } else { "False" }
    }

    /// A number that stands for the condition, so that a snapshot need not keep the text of every Service's.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        // FNV-1a, with an end mark for each part.
        let parts = [self.status(), &self.reason, &self.message];
        let bytes = parts.into_iter().flat_map(|part| part.bytes().chain([0xff]));
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ServiceCondition as Condition;

    #[test]
    fn every_part_counts() {
        let one = Condition { met: true, reason: "a".into(), message: "bc".into() };
        let fingerprints = [
            one.fingerprint(),
            Condition { met: false, ..one.clone() }.fingerprint(),
            Condition { reason: "ab".into(), message: "c".into(), ..one.clone() }.fingerprint(),
            Condition { message: String::new(), ..one.clone() }.fingerprint(),
        ];
        let distinct: std::collections::BTreeSet<u64> = fingerprints.into();
        assert_eq!(distinct.len(), 4);
    }
}
