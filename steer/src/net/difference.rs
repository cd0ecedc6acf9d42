// SPDX-License-Identifier: Apache-2.0
//! The steps from the table that was found to the table that is wanted.

use std::fmt;
use std::time::Duration;

use super::expression::Verdict;
use super::found::{Found, FoundChain, FoundSet};
use super::operation::{
    Elements, FORMAT, Operation, Step, VERDICTS, create, elements, flags, milliseconds, of, rules,
};
use super::ruleset::{Chain, Family, Hook, Set, TABLE, Table};

/// How far a time-out may be from the one that was asked for: the kernel counts in jiffies of up to 10 ms.
const ROUNDING: u64 = 20;

/// A part of our tables that somebody else had changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The family of the table.
    pub family: Family,
    /// The part, and what was wrong with it.
    pub what: Wrong,
}

/// The fault of a part of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The table was gone.
    TableMissing,
    /// There was a table of ours that is not needed.
    TableNotNeeded,
    /// The table was made anew: the reason.
    TableStrange(&'static str),
    /// A chain was gone.
    ChainMissing(String),
    /// There was a chain that is not ours.
    ChainStrange(String),
    /// The rules of a chain were other ones.
    Rules(String),
    /// A set was gone.
    SetMissing(String),
    /// There was a set that is not ours.
    SetStrange(String),
    /// Elements of a set. Those of `served` are missing as well when they have run out.
    Elements {
        /// The set.
        set: String,
        /// Elements that were gone, or had other data.
        missing: usize,
        /// Elements that are not ours, or had other data.
        strange: usize,
    },
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = format_args!("table {} {TABLE}", self.family);
        match &self.what {
            Wrong::TableMissing => write!(f, "{table} was gone"),
            Wrong::TableNotNeeded => write!(f, "{table} was there without need"),
            Wrong::TableStrange(reason) => write!(f, "{table} was made anew: {reason}"),
            Wrong::ChainMissing(name) => write!(f, "{table}: the chain {name} was gone"),
            Wrong::ChainStrange(name) => write!(f, "{table}: the chain {name} is not ours"),
            Wrong::Rules(name) => write!(f, "{table}: the chain {name} had other rules"),
            Wrong::SetMissing(name) => write!(f, "{table}: the set {name} was gone"),
            Wrong::SetStrange(name) => write!(f, "{table}: the set {name} is not ours"),
            Wrong::Elements { set, missing, strange } => {
                write!(
                    f,
                    "{table}: the set {set} lacked {missing} elements and had {strange} others"
                )
            }
        }
    }
}

/// The difference of two tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// The operations that end it.
    pub(super) stages: Stages,
    /// The same in words.
    pub(super) wrong: Vec<Wrong>,
}

/// The operations of a change, each stage a transaction of its own.
///
/// A packet on its way while a transaction is committed looks at rules of the former generation, and from then on at elements of
/// the new one. By a new element it would come to a new chain whose rules it does not see, or in an old chain to a map that has no
/// elements any more, and would stay where it should be led on. So chains and maps come before any element leads to them, and go
/// when none does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stages {
    /// New chains and sets with all that they hold. Nothing leads to them yet.
    pub(super) prepare: Vec<Operation>,
    /// The change itself.
    pub(super) change: Vec<Operation>,
    /// Chains and sets go that nothing leads to any more.
    pub(super) remove: Vec<Operation>,
}

impl Stages {
    /// The change of a whole table.
    fn whole(operations: Vec<Operation>) -> Self {
        Self { change: operations, ..Self::default() }
    }

    /// Puts the stages of another table behind these.
    pub(super) fn append(&mut self, mut other: Self) {
        self.prepare.append(&mut other.prepare);
        self.change.append(&mut other.change);
        self.remove.append(&mut other.remove);
    }

    /// The first stage that has operations, and true if no later one has; nothing to do is the last stage.
    pub(super) fn first(self) -> (Vec<Operation>, bool) {
        let mut stages = [self.prepare, self.change, self.remove].into_iter();
        let first = stages.find(|stage| !stage.is_empty()).unwrap_or_default();
        (first, stages.all(|stage| stage.is_empty()))
    }
}

/// Compares a table that may be not wanted. None if the table is wanted, and one of its name was not made by us.
pub(super) fn difference_of(
    family: Family,
    wanted: Option<&Table>,
    found: Option<&Found>,
    timeout: Duration,
) -> Option<Difference> {
    match (wanted, found) {
        (Some(wanted), found) => difference(wanted, found, timeout),
        (None, Some(Found { format: Some(_), .. })) => Some(Difference {
            stages: Stages::whole(of(family, TABLE, vec![Step::DeleteTable])),
            wrong: vec![Wrong::TableNotNeeded],
        }),
        (None, _) => Some(Difference::default()),
    }
}

/// Compares. None if the table was not made by us.
pub(super) fn difference(
    wanted: &Table,
    found: Option<&Found>,
    timeout: Duration,
) -> Option<Difference> {
    let Some(found) = found else {
        let stages = Stages::whole(create(wanted, TABLE, timeout));
        return Some(Difference { stages, wrong: vec![Wrong::TableMissing] });
    };
    let format = found.format?;
    if let Some(reason) = strange(wanted, found, format) {
        let mut operations = of(wanted.family, TABLE, vec![Step::DeleteTable]);
        operations.extend(create(wanted, TABLE, timeout));
        let stages = Stages::whole(operations);
        return Some(Difference { stages, wrong: vec![Wrong::TableStrange(reason)] });
    }
    let mut parts = Parts::default();
    for (id, (name, set)) in (1..).zip(&wanted.sets) {
        parts.set(id, name, set, found.sets.get(name), timeout);
    }
    for (name, chain) in &wanted.chains {
        parts.chain(name, chain, found.chains.get(name));
    }
    for name in found.chains.keys().filter(|name| !wanted.chains.contains_key(*name)) {
        parts.wrong.push(Wrong::ChainStrange(name.clone()));
        parts.emptied.push(Step::FlushChain(name.clone()));
        parts.chains_gone.push(Step::DeleteChain(name.clone()));
    }
    for (name, set) in &found.sets {
        if !wanted.sets.contains_key(name) && !set.is_anonymous() {
            parts.wrong.push(Wrong::SetStrange(name.clone()));
            parts.sets_gone.push(Step::DeleteSet(name.clone()));
        }
    }
    Some(parts.end(wanted.family))
}

/// The reason that the whole table has to be made anew.
fn strange(wanted: &Table, found: &Found, format: u32) -> Option<&'static str> {
    if format != FORMAT {
        return Some("it has another format");
    }
    if found.flags != 0 {
        return Some("it sleeps, or has an owner");
    }
    // Sets that belong to a rule are not counted.
    let sets = found.sets.values().filter(|set| !set.is_anonymous()).count();
    let counted = found.chains.len() + sets;
    if usize::try_from(found.uses) != Ok(counted) {
        return Some("it holds more than chains and sets");
    }
    let hook = |(name, chain): (&String, &Chain)| {
        found.chains.get(name).is_some_and(|found| found.hook.as_ref() != Some(&chain.hook))
    };
    if wanted.chains.iter().any(hook) {
        return Some("a chain has another hook, priority or policy");
    }
    let kind = |(name, set): (&String, &Set)| {
        found.sets.get(name).is_some_and(|found| !same_kind(set, found))
    };
    wanted.sets.iter().any(kind).then_some("a set has another type")
}

fn same_kind(set: &Set, found: &FoundSet) -> bool {
    let data = if set.verdicts { VERDICTS } else { 0 };
    found.flags == flags(set)
        && found.key_kind == set.key.kind()
        && found.key_length == set.key.length()
        && found.data_kind == data
}

/// The steps, by the order that they need: whatever names a chain or set goes before it and comes after it.
#[derive(Default)]
struct Parts {
    wrong: Vec<Wrong>,
    new_sets: Vec<Step>,
    new_chains: Vec<Step>,
    new_rules: Vec<Step>,
    new_elements: Vec<Step>,

    flushes: Vec<Step>,
    elements_gone: Vec<Step>,
    hooked: Vec<Step>,
    rules: Vec<Step>,
    elements: Vec<Step>,

    emptied: Vec<Step>,
    sets_gone: Vec<Step>,
    chains_gone: Vec<Step>,
}

impl Parts {
    fn chain(&mut self, name: &str, chain: &Chain, found: Option<&FoundChain>) {
        match found {
            None => {
                self.wrong.push(Wrong::ChainMissing(name.to_owned()));
                let new = Step::NewChain { name: name.to_owned(), hook: chain.hook.clone() };
                if chain.hook == Hook::None {
                    self.new_chains.push(new);
                    self.new_rules.extend(rules(name, chain));
                    return;
                }
                self.hooked.push(new);
            }
            Some(found) => {
                let fingerprints = chain.rules.iter().map(|rule| Some(rule.fingerprint()));
                if fingerprints.eq(found.rules.iter().copied()) {
                    return;
                }
                self.wrong.push(Wrong::Rules(name.to_owned()));
                self.flushes.push(Step::FlushChain(name.to_owned()));
            }
        }
        self.rules.extend(rules(name, chain));
    }

    fn set(&mut self, id: u32, name: &str, set: &Set, found: Option<&FoundSet>, timeout: Duration) {
        let Some(found) = found else {
            self.wrong.push(Wrong::SetMissing(name.to_owned()));
            self.new_sets.push(Step::NewSet { name: name.to_owned(), id, set: set.clone() });
            self.new_elements.extend(elements(name, set, timeout));
            return;
        };
        if set.is_renewed_by_packets() {
            self.renewed(name, set, found, timeout);
            return;
        }
        let as_wanted = |key: &Vec<u8>, verdict: &Option<Verdict>| {
            found.elements.get(key).is_some_and(|found| {
                let right_time = match found.timeout {
                    Some(value) => set.expires && value.abs_diff(milliseconds(timeout)) <= ROUNDING,
                    None => !set.expires,
                };
                !found.strange && found.verdict == *verdict && right_time
            })
        };
        let missing: Elements = set
            .elements
            .iter()
            .filter(|(key, verdict)| !as_wanted(key, verdict))
            .map(|(key, verdict)| (key.clone(), verdict.clone()))
            .collect();
        let is_wanted = |key: &Vec<u8>| set.elements.get(key).is_some_and(|it| as_wanted(key, it));
        let keys: Vec<Vec<u8>> =
            found.elements.keys().filter(|key| !is_wanted(key)).cloned().collect();
        if missing.is_empty() && keys.is_empty() {
            return;
        }
        let name = name.to_owned();
        let (lacking, strange) = (missing.len(), keys.len());
        self.wrong.push(Wrong::Elements { set: name.clone(), missing: lacking, strange });
        if set.expires {
            // Elements may run out between the list and the transaction: only all of them at once are right whatever is there.
            self.elements.extend(elements(&name, set, timeout));
            self.elements_gone.push(Step::FlushSet(name));
            return;
        }
        if !keys.is_empty() {
            self.elements_gone.push(Step::DeleteElements { set: name.clone(), keys });
        }
        if !missing.is_empty() {
            self.elements.push(Step::NewElements { set: name, elements: missing, timeout: None });
        }
    }

    /// Elements that packets renew: those that are there run on, and those that have run out do not come back.
    fn renewed(&mut self, name: &str, set: &Set, found: &FoundSet, linger: Duration) {
        let new = |key: &&Vec<u8>| !found.elements.contains_key(*key) && !set.before.contains(*key);
        let elements: Elements =
            set.elements.keys().filter(new).map(|key| (key.clone(), None)).collect();
        if !elements.is_empty() {
            let (set_name, timeout) = (name.to_owned(), set.timeout(linger));
            self.elements.push(Step::NewElements { set: set_name, elements, timeout });
        }
        let keys: Vec<Vec<u8>> =
            found.elements.keys().filter(|key| !set.elements.contains_key(*key)).cloned().collect();
        if !keys.is_empty() {
            let (set, strange) = (name.to_owned(), keys.len());
            self.wrong.push(Wrong::Elements { set, missing: 0, strange });
            self.elements_gone.push(Step::DeleteElements { set: name.to_owned(), keys });
        }
    }

    fn end(self, family: Family) -> Difference {
        let stage =
            |steps: Vec<Vec<Step>>| of(family, TABLE, steps.into_iter().flatten().collect());
        let stages = Stages {
            prepare: stage(vec![self.new_sets, self.new_chains, self.new_rules, self.new_elements]),
            change: stage(vec![
                self.flushes,
                self.elements_gone,
                self.hooked,
                self.rules,
                self.elements,
            ]),
            remove: stage(vec![self.emptied, self.sets_gone, self.chains_gone]),
        };
        Difference { stages, wrong: self.wrong }
    }
}

#[cfg(test)]
mod tests;
