// SPDX-License-Identifier: Apache-2.0
//! The tables as the kernel lists them. All of it is taken for hostile: what cannot be read is strange, and is repaired.

use std::collections::BTreeMap;

use super::attribute::Attributes;
use super::expression::{Expression, Verdict, decode_all, decode_value};
use super::message::{Message, nftables};
use super::operation::{
    ACCEPT, CHAIN_KIND, MARK, NEW_CHAIN, NEW_ELEMENT, NEW_RULE, NEW_SET, NEW_TABLE, RULE_MARK,
    SET_IS_ANONYMOUS,
};
use super::ruleset::{Family, Hook};

/// A table of one family, as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The format that its mark tells; None where there is no mark of ours.
    pub(super) format: Option<u32>,
    /// The table's own flags: a table that sleeps has one.
    pub(super) flags: u32,
    /// All that the table holds, by the kernel's count: chains, sets and further things.
    pub(super) uses: u32,
    pub(super) chains: BTreeMap<String, FoundChain>,
    pub(super) sets: BTreeMap<String, FoundSet>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FoundChain {
    /// None for a hook that no chain of ours has, and for a chain of which only rules are known.
    pub(super) hook: Option<Hook>,
    /// The fingerprints of the rules in their order; None for rules without one.
    pub(super) rules: Vec<Option<u64>>,
    /// Packets that the counters of its rules have counted.
    pub(super) packets: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FoundSet {
    pub(super) flags: u32,
    pub(super) key_kind: u32,
    pub(super) key_length: u32,
    pub(super) data_kind: u32,
    pub(super) elements: BTreeMap<Vec<u8>, FoundElement>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FoundElement {
    pub(super) verdict: Option<Verdict>,
    /// Milliseconds.
    pub(super) timeout: Option<u64>,
    /// It has more than a key, a verdict and a time-out.
    pub(super) strange: bool,
}

impl Found {
    /// The table that a message of the kernel describes.
    pub(super) fn table(message: Message<'_>) -> Option<Self> {
        if message.kind != nftables(NEW_TABLE) {
            return None;
        }
        let table = message.attributes();
        let format =
            comment(table.octets(6)).and_then(|text| text.strip_prefix(MARK)?.parse().ok());
        let flags = table.be32(2).unwrap_or(0);
        Some(Self { format, flags, uses: table.be32(3)?, ..Self::default() })
    }

    /// Adds the chain, set, rule or elements that a message describes, if it is of the table of this name
    /// and family.
    pub(super) fn add(&mut self, family: Family, name: &str, message: Message<'_>) {
        let attributes = message.attributes();
        if message.family() != Some(family.number()) || attributes.text(1) != Some(name) {
            return;
        }
        // Each part without a name is left out; then the count of what the table holds is another one.
        let _ = match message.kind {
            kind if kind == nftables(NEW_CHAIN) => self.add_chain(family, attributes),
            kind if kind == nftables(NEW_RULE) => self.add_rule(attributes),
            kind if kind == nftables(NEW_SET) => self.add_set(attributes),
            kind if kind == nftables(NEW_ELEMENT) => self.add_elements(attributes),
            _ => None,
        };
    }

    fn add_chain(&mut self, family: Family, chain: Attributes<'_>) -> Option<()> {
        let found = self.chains.entry(chain.text(3)?.to_owned()).or_default();
        found.hook = match chain.nested(4) {
            None => Some(Hook::None),
            Some(hook) if chain.be32(5) == Some(ACCEPT) && chain.text(7) == Some(CHAIN_KIND) => {
                Hook::decode(family, hook)
            }
            Some(_) => None,
        };
        Some(())
    }

    fn add_rule(&mut self, rule: Attributes<'_>) -> Option<()> {
        let chain = self.chains.entry(rule.text(2)?.to_owned()).or_default();
        let digits = comment(rule.octets(7)).and_then(|text| text.strip_prefix(RULE_MARK));
        let is_digit = |octet: u8| octet.is_ascii_hexdigit();
        let digits = digits.filter(|digits| digits.len() == 16 && digits.bytes().all(is_digit));
        chain.rules.push(digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()));
        for expression in decode_all(rule.nested(4)?) {
            if let Some(Expression::Counter { packets, .. }) = expression {
                chain.packets = chain.packets.saturating_add(packets);
            }
        }
        Some(())
    }

    fn add_set(&mut self, set: Attributes<'_>) -> Option<()> {
        let found = self.sets.entry(set.text(2)?.to_owned()).or_default();
        found.flags = set.be32(3).unwrap_or(0);
        found.key_kind = set.be32(4)?;
        found.key_length = set.be32(5)?;
        found.data_kind = set.be32(6).unwrap_or(0);
        Some(())
    }

    fn add_elements(&mut self, list: Attributes<'_>) -> Option<()> {
        let set = self.sets.entry(list.text(2)?.to_owned()).or_default();
        for (_, element) in list.nested(3)? {
            let element = Attributes(element);
            let known = |kind: u16| matches!(kind, 1 | 2 | 4 | 5 | 8);
            let data = element.nested(2);
            let verdict = data.and_then(Verdict::decode);
            let key = element.nested(1).and_then(decode_value);
            let strange = element.into_iter().any(|(kind, _)| !known(kind))
                || key.is_none()
                || data.is_some() != verdict.is_some();
            let found = FoundElement { verdict, timeout: element.be64(4), strange };
            set.elements.insert(key.unwrap_or_default().to_vec(), found);
        }
        Some(())
    }
}

impl FoundSet {
    /// A set that belongs to one rule, and comes and goes with it.
    pub(super) fn is_anonymous(&self) -> bool {
        self.flags & SET_IS_ANONYMOUS != 0
    }
}

/// The text that the kernel keeps for nft beside a thing: a kind, a length, and the text with a zero at its end.
fn comment(octets: Option<&[u8]>) -> Option<&str> {
    let (0, rest) = octets?.split_first().map(|(kind, rest)| (*kind, rest))? else { return None };
    let (length, text) = rest.split_first()?;
    let text = text.get(..usize::from(*length).checked_sub(1)?)?;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests;
