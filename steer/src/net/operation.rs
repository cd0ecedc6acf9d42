// SPDX-License-Identifier: Apache-2.0
//! The steps of a transaction, and their messages.

use std::fmt;
use std::time::Duration;

use super::attribute::{Attributes, Writer};
use super::expression::{Verdict, encode_all, encode_value};
use super::message::{ACKNOWLEDGE, APPEND, BATCH_BEGIN, BATCH_END, CREATE, EXCLUSIVE, Request};
use super::ruleset::{Chain, Family, Hook, Key, Rule, Set, Table};

/// The format of the tables. A table of another one is made anew.
pub(super) const FORMAT: u32 = 1;
/// The begin of the text that marks a table as ours; the number of the format follows.
pub(super) const MARK: &str = "made by ferrolb, format ";
/// The begin of the text by which a rule is known; 16 digits follow.
pub(super) const RULE_MARK: &str = "ferrolb ";

/// Messages of nf_tables.
pub(super) const NEW_TABLE: u16 = 0;
pub(super) const GET_TABLE: u16 = 1;
pub(super) const DELETE_TABLE: u16 = 2;
pub(super) const NEW_CHAIN: u16 = 3;
pub(super) const GET_CHAIN: u16 = 4;
pub(super) const DELETE_CHAIN: u16 = 5;
pub(super) const NEW_RULE: u16 = 6;
pub(super) const GET_RULE: u16 = 7;
pub(super) const DELETE_RULE: u16 = 8;
pub(super) const NEW_SET: u16 = 9;
pub(super) const GET_SET: u16 = 10;
pub(super) const DELETE_SET: u16 = 11;
pub(super) const NEW_ELEMENT: u16 = 12;
pub(super) const GET_ELEMENT: u16 = 13;
pub(super) const DELETE_ELEMENT: u16 = 14;
pub(super) const NEW_GENERATION: u16 = 15;
pub(super) const GET_GENERATION: u16 = 16;

/// The number of the hooks prerouting (ip, ip6) and ingress (netdev).
const HOOK: u32 = 0;
pub(super) const CHAIN_KIND: &str = "filter";
pub(super) const ACCEPT: u32 = 1;

pub(super) const SET_IS_MAP: u32 = 8;
pub(super) const SET_HAS_TIMEOUT: u32 = 0x10;
const SET_IS_DYNAMIC: u32 = 0x20;
pub(super) const SET_IS_ANONYMOUS: u32 = 1;
pub(super) const VERDICTS: u32 = 0xffff_ff00;
/// Octets of elements in one message at most: an attribute has at most 65,535.
const MOST_ELEMENTS: usize = 32_000;

/// A step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) table: String,
    pub(super) family: Family,
    pub(super) what: Step,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    NewTable,
    DeleteTable,
    NewChain {
        name: String,
        hook: Hook,
    },
    DeleteChain(String),
    NewRule {
        chain: String,
        rule: Rule,
    },
    /// Takes away all rules of a chain.
    FlushChain(String),
    NewSet {
        name: String,
        id: u32,
        set: Set,
    },
    DeleteSet(String),
    /// Adds elements, each with this time-out if there is one.
    NewElements {
        set: String,
        elements: Elements,
        timeout: Option<Duration>,
    },
    DeleteElements {
        set: String,
        keys: Vec<Vec<u8>>,
    },
    /// Takes away all elements of a set.
    FlushSet(String),
}

pub(super) type Elements = Vec<(Vec<u8>, Option<Verdict>)>;

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = format_args!("{} {}", self.family, self.table);
        match &self.what {
            Step::NewTable => write!(f, "new table {place}"),
            Step::DeleteTable => write!(f, "removal of table {place}"),
            Step::NewChain { name, .. } => write!(f, "new chain {place} {name}"),
            Step::DeleteChain(name) => write!(f, "removal of chain {place} {name}"),
            Step::NewRule { chain, rule } => {
                write!(f, "new rule of chain {place} {chain} (")?;
                for (index, expression) in rule.0.iter().enumerate() {
                    write!(f, "{}{}", if index == 0 { "" } else { " " }, expression.name())?;
                }
                f.write_str(")")
            }
            Step::FlushChain(name) => write!(f, "removal of the rules of chain {place} {name}"),
            Step::NewSet { name, .. } => write!(f, "new set {place} {name}"),
            Step::DeleteSet(name) => write!(f, "removal of set {place} {name}"),
            Step::NewElements { set, .. } => write!(f, "new elements of set {place} {set}"),
            Step::DeleteElements { set, .. } => {
                write!(f, "removal of elements of set {place} {set}")
            }
            Step::FlushSet(set) => write!(f, "removal of all elements of set {place} {set}"),
        }
    }
}

impl Operation {
    /// Its messages: one, or several where elements do not fit into one.
    pub(super) fn requests(&self) -> Vec<Request> {
        let table = &self.table;
        let begin = |message, flags| Request::nftables(message, flags, self.family.number());
        let of_table = |message, name: &str| {
            let kind = if message == DELETE_CHAIN { 3 } else { 2 };
            let mut request = begin(message, 0);
            request.attributes.text(1, table).text(kind, name);
            request
        };
        let request = match &self.what {
            Step::NewElements { set, elements, timeout } => {
                let encoded =
                    elements.iter().map(|(key, verdict)| element(key, verdict.as_ref(), *timeout));
                return self.element_requests(NEW_ELEMENT, CREATE, set, encoded);
            }
            Step::DeleteElements { set, keys } => {
                let encoded = keys.iter().map(|key| element(key, None, None));
                return self.element_requests(DELETE_ELEMENT, 0, set, encoded);
            }
            Step::NewTable => {
                let mut request = begin(NEW_TABLE, CREATE | EXCLUSIVE);
                let mark = comment(&format!("{MARK}{FORMAT}"));
                request.attributes.text(1, table).be32(2, 0).octets(6, &mark);
                request
            }
            Step::DeleteTable => {
                let mut request = begin(DELETE_TABLE, 0);
                request.attributes.text(1, table);
                request
            }
            Step::NewChain { name, hook } => {
                let mut request = begin(NEW_CHAIN, CREATE | EXCLUSIVE);
                request.attributes.text(1, table).text(3, name);
                if let Some(priority) = hook.priority() {
                    request.attributes.nested(4, |attributes| {
                        attributes.be32(1, HOOK).octets(2, &priority.to_be_bytes());
                        if let Hook::Ingress(device) = hook {
                            attributes.text(3, device);
                        }
                    });
                    request.attributes.be32(5, ACCEPT).text(7, CHAIN_KIND);
                }
                request
            }
            Step::NewRule { chain, rule } => {
                let mut request = begin(NEW_RULE, CREATE | APPEND);
                request.attributes.text(1, table).text(2, chain);
                request.attributes.nested(4, |list| encode_all(list, &rule.0));
                let mark = comment(&format!("{RULE_MARK}{:016x}", rule.fingerprint()));
                request.attributes.octets(7, &mark);
                request
            }
            Step::NewSet { name, id, set } => {
                let mut request = begin(NEW_SET, CREATE | EXCLUSIVE);
                let attributes = request.attributes.text(1, table).text(2, name);
                attributes.be32(3, flags(set)).be32(4, set.key.kind()).be32(5, set.key.length());
                if set.verdicts {
                    attributes.be32(6, VERDICTS);
                }
                attributes.be32(10, *id);
                if set.key == Key::Bucket {
                    // For nft, which else shows the number with its octets the other way round.
                    attributes.octets(13, &[&[0, 4], &1_u32.to_ne_bytes()[..]].concat());
                }
                request
            }
            Step::DeleteChain(name) => of_table(DELETE_CHAIN, name),
            Step::FlushChain(name) => of_table(DELETE_RULE, name),
            Step::DeleteSet(name) => of_table(DELETE_SET, name),
            Step::FlushSet(set) => of_table(DELETE_ELEMENT, set),
        };
        vec![request]
    }

    fn element_requests(
        &self,
        message: u16,
        flags: u16,
        set: &str,
        elements: impl Iterator<Item = Writer>,
    ) -> Vec<Request> {
        let mut requests = Vec::new();
        let mut elements = elements.peekable();
        while elements.peek().is_some() {
            let mut list = Writer::default();
            while list.as_octets().len() < MOST_ELEMENTS {
                let Some(element) = elements.next() else { break };
                list.append(&element);
            }
            let mut request = Request::nftables(message, flags, self.family.number());
            request.attributes.text(1, &self.table).text(2, set);
            request.attributes.nested(3, |elements| {
                elements.append(&list);
            });
            requests.push(request);
        }
        requests
    }
}

impl Hook {
    /// The hook of a chain that the kernel lists with these attributes, for a table of this family. None for one that no
    /// chain of ours has.
    pub(super) fn decode(family: Family, hook: Attributes<'_>) -> Option<Self> {
        let own = match family {
            Family::V4 | Family::V6 => Self::Prerouting,
            Family::Netdev => Self::Ingress(hook.text(3)?.to_owned()),
        };
        let priority = own.priority()?.to_be_bytes();
        (hook.be32(1) == Some(HOOK) && hook.octets(2) == Some(&priority)).then_some(own)
    }

    fn priority(&self) -> Option<i32> {
        match self {
            Self::None => None,
            Self::Prerouting => Some(-150),
            Self::Ingress(_) => Some(-500),
        }
    }
}

/// The steps that make a table from nothing. The time-out is for the elements of sets whose elements run out.
pub(super) fn create(table: &Table, name: &str, timeout: Duration) -> Vec<Operation> {
    let mut steps = vec![Step::NewTable];
    for (id, (name, set)) in (1..).zip(&table.sets) {
        steps.push(Step::NewSet { name: name.clone(), id, set: set.clone() });
    }
    for (name, chain) in &table.chains {
        steps.push(Step::NewChain { name: name.clone(), hook: chain.hook.clone() });
    }
    for (name, chain) in &table.chains {
        steps.extend(rules(name, chain));
    }
    for (name, set) in &table.sets {
        steps.extend(elements(name, set, timeout));
    }
    of(table.family, name, steps)
}

/// The same steps, told where they happen.
pub(super) fn of(family: Family, table: &str, steps: Vec<Step>) -> Vec<Operation> {
    steps.into_iter().map(|what| Operation { table: table.to_owned(), family, what }).collect()
}

pub(super) fn rules(name: &str, chain: &Chain) -> impl Iterator<Item = Step> {
    let new = |rule: &Rule| Step::NewRule { chain: name.to_owned(), rule: rule.clone() };
    chain.rules.iter().map(new)
}

/// The step that adds all elements of a set; none if there are none.
pub(super) fn elements(name: &str, set: &Set, timeout: Duration) -> Option<Step> {
    let elements: Elements =
        set.elements.iter().map(|(key, verdict)| (key.clone(), verdict.clone())).collect();
    let timeout = set.timeout(timeout);
    (!elements.is_empty()).then(|| Step::NewElements { set: name.to_owned(), elements, timeout })
}

pub(super) fn flags(set: &Set) -> u32 {
    let map = if set.verdicts { SET_IS_MAP } else { 0 };
    let dynamic = if set.is_renewed_by_packets() { SET_IS_DYNAMIC } else { 0 };
    map | dynamic | if set.expires { SET_HAS_TIMEOUT } else { 0 }
}

/// Milliseconds, at least one: nf_tables takes 0 for no time-out.
pub(super) fn milliseconds(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).clamp(1, MOST_MILLISECONDS)
}

/// A year: more cannot be said in the kernel's own unit everywhere.
const MOST_MILLISECONDS: u64 = 365 * 24 * 3_600_000;

/// A text as the kernel keeps it for nft, which shows it as a comment.
fn comment(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    [&[0, length], text.as_bytes(), &[0]].concat()
}

fn element(key: &[u8], verdict: Option<&Verdict>, timeout: Option<Duration>) -> Writer {
    let mut list = Writer::default();
    list.nested(1, |element| {
        element.nested(1, |data| encode_value(data, key));
        if let Some(verdict) = verdict {
            element.nested(2, |data| verdict.encode(data));
        }
        if let Some(timeout) = timeout {
            element.be64(4, milliseconds(timeout));
        }
    });
    list
}

/// The octets of a transaction whose messages have ascending numbers from `first` on, and the number of each operation's
/// messages. With `commit` false the kernel checks everything and changes nothing.
pub(super) fn batch(
    operations: &[Operation],
    generation: Option<u32>,
    first: u32,
    commit: bool,
) -> (Vec<u8>, Vec<usize>) {
    let mut begin = Request::batch(BATCH_BEGIN);
    if let Some(generation) = generation {
        begin.attributes.be32(1, generation);
    }
    let mut requests = vec![begin];
    let mut counts = Vec::new();
    for operation in operations {
        let mut own = operation.requests();
        counts.push(own.len());
        requests.append(&mut own);
    }
    // Errors are told anyway. The answer to the last message says that all are through.
    if let Some(last) = requests.last_mut() {
        last.flags |= ACKNOWLEDGE;
    }
    if commit {
        requests.push(Request::batch(BATCH_END));
    }
    let mut octets = Vec::new();
    let mut sequence = first;
    for request in requests {
        request.write(sequence, &mut octets);
        sequence = sequence.wrapping_add(1);
    }
    (octets, counts)
}

#[cfg(test)]
mod tests;
