// SPDX-License-Identifier: Apache-2.0
//! The steps against a model of the kernel that refuses what the kernel refuses.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::expression::Expression;
use super::super::found::FoundElement;
use super::super::keep::tests::any_table;
use super::super::ruleset::{Hook, Rule, Version};
use super::*;

const LINGER: Duration = Duration::from_secs(3);

/// A table in the kernel.
#[derive(Clone, Debug, Default)]
struct Model {
    chains: BTreeMap<String, Chain>,
    sets: BTreeMap<String, Set>,
}

impl Model {
    /// All that the kernel does at once, for a table that may not be there.
    fn run(table: &mut Option<Self>, operations: &[Operation]) {
        for operation in operations {
            match (&operation.what, table.as_mut()) {
                (Step::NewTable, None) => *table = Some(Self::default()),
                (Step::DeleteTable, Some(_)) => *table = None,
                (step, Some(table)) => table.step(step),
                (step, None) => panic!("{step:?} without a table"),
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::NewTable | Step::DeleteTable => panic!("{step:?}"),
            Step::NewChain { name, hook } => {
                let chain = Chain { hook: hook.clone(), rules: Vec::new() };
                assert!(self.chains.insert(name.clone(), chain).is_none(), "{step:?}");
            }
            Step::DeleteChain(name) => {
                let named = self.verdicts().any(|it| *it == Verdict::Goto(name.clone()));
                assert!(!named && self.chains.remove(name).is_some(), "{step:?}");
            }
            Step::NewRule { chain, rule } => {
                self.chains.get_mut(chain).unwrap().rules.push(rule.clone());
                self.verdicts().for_each(|it| self.exists(it));
                for expression in &rule.0 {
                    if let Expression::Member { set, .. } | Expression::Follow { map: set, .. } =
                        expression
                    {
                        assert!(self.sets.contains_key(set), "{step:?}");
                    }
                }
            }
            Step::FlushChain(name) => self.chains.get_mut(name).unwrap().rules.clear(),
            Step::NewSet { name, set, .. } => {
                let set = Set { elements: BTreeMap::new(), ..set.clone() };
                assert!(self.sets.insert(name.clone(), set).is_none(), "{step:?}");
            }
            Step::DeleteSet(name) => {
                let mut rules =
                    self.chains.values().flat_map(|it| it.rules.iter().flat_map(|it| &it.0));
                assert!(!rules.any(|it| matches!(it, Expression::Member { set, .. } | Expression::Follow { map: set, .. } if set == name)));
                assert!(self.sets.remove(name).is_some(), "{step:?}");
            }
            Step::NewElements { set, elements, timeout } => {
                let set = self.sets.get_mut(set).unwrap();
                assert_eq!(set.expires, timeout.is_some(), "{step:?}");
                for (key, verdict) in elements {
                    assert!(
                        set.elements.insert(key.clone(), verdict.clone()).is_none(),
                        "{step:?}"
                    );
                }
                self.verdicts().for_each(|it| self.exists(it));
            }
            Step::DeleteElements { set, keys } => {
                let set = self.sets.get_mut(set).unwrap();
                keys.iter().for_each(|key| assert!(set.elements.remove(key).is_some(), "{step:?}"));
            }
            Step::FlushSet(set) => self.sets.get_mut(set).unwrap().elements.clear(),
        }
    }

    fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        let rules = self.chains.values().flat_map(|it| it.rules.iter().flat_map(|it| &it.0));
        let by_rules =
            rules.filter_map(|it| if let Expression::Verdict(it) = it { Some(it) } else { None });
        by_rules.chain(self.sets.values().flat_map(|set| set.elements.values().flatten()))
    }

    fn exists(&self, verdict: &Verdict) {
        if let Verdict::Goto(chain) = verdict {
            assert!(self.chains.contains_key(chain), "no chain {chain}");
        }
    }

    fn found(&self) -> Found {
        let chains = self.chains.iter().map(|(name, chain)| {
            let rules = chain.rules.iter().map(|rule| Some(rule.fingerprint())).collect();
            let hook = Some(chain.hook.clone());
            (name.clone(), FoundChain { hook, rules, packets: 0 })
        });
        let sets = self.sets.iter().map(|(name, set)| {
            let elements = set.elements.iter().map(|(key, verdict)| {
                let timeout = set.expires.then(|| milliseconds(LINGER));
                (key.clone(), FoundElement { verdict: verdict.clone(), timeout, strange: false })
            });
            let found = FoundSet {
                flags: flags(set),
                key_kind: set.key.kind(),
                key_length: set.key.length(),
                data_kind: if set.verdicts { VERDICTS } else { 0 },
                elements: elements.collect(),
            };
            (name.clone(), found)
        });
        let uses = u32::try_from(self.chains.len() + self.sets.len()).unwrap();
        let (chains, sets) = (chains.collect(), sets.collect());
        Found { format: Some(FORMAT), flags: 0, uses, chains, sets }
    }
}

/// What somebody else may do to a table.
fn harm(model: &mut Model, kind: u8, place: usize) {
    let chain = model.chains.keys().nth(place % model.chains.len().max(1)).cloned();
    let set = model.sets.keys().nth(place % model.sets.len().max(1)).cloned();
    let (Some(chain), Some(set)) = (chain, set) else { return };
    match kind % 7 {
        0 => model.chains.get_mut(&chain).unwrap().rules.clear(),
        1 => {
            let rules = &mut model.chains.get_mut(&chain).unwrap().rules;
            rules.insert(place % (rules.len() + 1), Rule(vec![Expression::TcpReset]));
        }
        2 => model.chains.get_mut(&chain).unwrap().rules.reverse(),
        3 => model.sets.get_mut(&set).unwrap().elements.clear(),
        4 => {
            let set = model.sets.get_mut(&set).unwrap();
            let verdict = set.verdicts.then_some(Verdict::Drop);
            set.elements.insert(vec![9; 4], verdict.clone());
            set.elements.values_mut().for_each(|it| it.clone_from(&verdict));
        }
        5 => {
            let rule = Rule(vec![Expression::Verdict(Verdict::Goto("strange".into()))]);
            model.chains.insert("strange".into(), Chain::default());
            model.chains.insert("more".into(), Chain { hook: Hook::Prerouting, rules: vec![rule] });
        }
        _ => {
            let named = model.verdicts().any(|it| *it == Verdict::Goto(chain.clone()));
            if !named {
                model.chains.remove(&chain);
            }
        }
    }
}

fn compare(wanted: &Table, model: Option<&Model>) -> Difference {
    difference(wanted, model.map(Model::found).as_ref(), LINGER).unwrap()
}

proptest! {
    #[test]
    fn the_difference_leads_to_what_is_wanted(
        tables in prop::collection::vec(any_table(), 1..4),
        harms in prop::collection::vec(any::<(u8, usize)>(), 0..4),
    ) {
        let mut model = None;
        for wanted in &tables {
            for (kind, place) in &harms {
                if let Some(model) = &mut model {
                    harm(model, *kind, *place);
                }
            }
            let stages = compare(wanted, model.as_ref()).stages;
            let before = model.clone();
            Model::run(&mut model, &stages.prepare);
            // What was there is as it was.
            if let (Some(before), Some(now)) = (&before, &model) {
                prop_assert!(before.chains.iter().all(|(name, chain)| now.chains.get(name) == Some(chain)));
                prop_assert!(before.sets.iter().all(|(name, set)| now.sets.get(name) == Some(set)));
            }
            Model::run(&mut model, &stages.change);
            // What is wanted is there, and goes nowhere else.
            let now = model.as_ref().unwrap();
            prop_assert!(wanted.chains.iter().all(|(name, chain)| now.chains.get(name) == Some(chain)));
            prop_assert!(wanted.sets.iter().all(|(name, set)| now.sets.get(name) == Some(set)));
            Model::run(&mut model, &stages.remove);
            prop_assert_eq!(compare(wanted, model.as_ref()), Difference::default());
            let there = model.as_ref().unwrap();
            prop_assert_eq!(&there.chains, &wanted.chains);
        }
    }
}

#[test]
fn a_table_without_a_mark_has_no_difference() {
    let found = Found { format: None, ..Found::default() };
    assert_eq!(difference(&Table::new(Version::V4, true), Some(&found), LINGER), None);
}

#[test]
fn a_time_out_may_be_rounded_and_no_more() {
    let mut wanted = Table::new(Version::V4, true);
    wanted.elements("served").unwrap().insert(vec![192, 0, 2, 1], None);
    let mut model = None;
    Model::run(&mut model, &compare(&wanted, None).stages.change);
    for (more, differs) in [(0, false), (20, false), (21, true)] {
        let mut found = model.as_ref().unwrap().found();
        for element in found.sets.get_mut("served").unwrap().elements.values_mut() {
            element.timeout = element.timeout.map(|it| it + more);
        }
        let steps: Vec<_> = difference(&wanted, Some(&found), LINGER).unwrap().stages.first().0;
        let steps: Vec<_> = steps.into_iter().map(|it| it.what).collect();
        let anew = matches!(steps.as_slice(), [Step::FlushSet(_), Step::NewElements { .. }]);
        assert_eq!((anew, steps.is_empty()), (differs, !differs), "{steps:?}");
    }
}
