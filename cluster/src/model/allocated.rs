// SPDX-License-Identifier: Apache-2.0
//! The condition `ferrolb.io/Allocated` of a Service: whether it has the addresses that it asks for, and why not. The
//! controller alone writes it.

/// The condition's type.
pub const ALLOCATED_CONDITION: &str = "ferrolb.io/Allocated";

/// What the condition says, apart from when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocated {
    /// Its status: `True` or `False`.
    pub given: bool,
    /// Its reason: one word in CamelCase.
    pub reason: String,
    /// Its message, for people.
    pub message: String,
}

impl Allocated {
    /// The condition's `status`.
    #[must_use]
    pub fn status(&self) -> &'static str {
        if self.given { "True" } else { "False" }
    }

    /// A number that stands for it, so that a snapshot need not keep the text of every Service's.
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
    use super::Allocated;

    #[test]
    fn every_part_counts() {
        let one = Allocated { given: true, reason: "a".into(), message: "bc".into() };
        let fingerprints = [
            one.fingerprint(),
            Allocated { given: false, ..one.clone() }.fingerprint(),
            Allocated { reason: "ab".into(), message: "c".into(), ..one.clone() }.fingerprint(),
            Allocated { message: String::new(), ..one.clone() }.fingerprint(),
        ];
        let distinct: std::collections::BTreeSet<u64> = fingerprints.into();
        assert_eq!(distinct.len(), 4);
    }
}
