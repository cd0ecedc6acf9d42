// SPDX-License-Identifier: Apache-2.0
//! Addresses owned and watched in any order, on links that come, go and change their names, against a world computed
//! from scratch.

use super::*;
use crate::filter::{MOST_RANGES, cover};

#[derive(Clone, Debug)]
enum Step {
    Own(usize, Option<usize>),
    AnswerOnly(usize),
    Watch(usize, Option<usize>),
    Link(u32, bool),
    /// Whether it has its own name or that of the scope "lan".
    Name(u32, bool),
    Remove(u32),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let scope = || prop::option::of(0_usize..4);
    prop_oneof![
        4 => (0_usize..6, scope()).prop_map(|(address, scope)| Step::Own(address, scope)),
        1 => (0_usize..6).prop_map(Step::AnswerOnly),
        4 => (0_usize..6, scope()).prop_map(|(address, scope)| Step::Watch(address, scope)),
        2 => (2_u32..5, any::<bool>()).prop_map(|(link, up)| Step::Link(link, up)),
        1 => (2_u32..5, any::<bool>()).prop_map(|(link, lan)| Step::Name(link, lan)),
        1 => (2_u32..5).prop_map(Step::Remove),
        2 => (0_u64..3_000).prop_map(Step::Wait),
    ]
}

/// Two of these share a group and a key, two others a group.
fn pool() -> [IpAddr; 6] {
    [
        "192.0.2.100",
        "192.0.2.101",
        "2001:db8::64",
        "2001:db8:1::64",
        "2001:db8::100:64",
        "2001:db8::65",
    ]
    .map(|text| text.parse().unwrap())
}

fn scopes() -> [Scope; 4] {
    [Scope::AllInterfaces, only(&["eth2", "eth3"]), only(&["lan"]), only(&["eth4", "lan"])]
}

/// The world computed from scratch, and what a shell has done at the engine's word.
#[derive(Default)]
struct Model {
    links: BTreeMap<u32, LinkFacts>,
    owned: BTreeMap<IpAddr, usize>,
    watched: BTreeMap<IpAddr, usize>,
    open: BTreeSet<Port>,
    joined: BTreeSet<(u32, Ipv6Addr)>,
    attached: BTreeMap<Port, Vec<Range>>,
}

impl Model {
    fn up(&self) -> impl Iterator<Item = (&u32, &LinkFacts)> {
        self.links.iter().filter(|(_, facts)| facts.up)
    }

    fn places(&self, of: &BTreeMap<IpAddr, usize>) -> BTreeSet<(IpAddr, u32)> {
        let on = |(address, scope): (&IpAddr, &usize)| {
            let (address, scope) = (*address, scopes()[*scope].clone());
            let links = self.up().filter(move |(_, facts)| scope.allows(&facts.name));
            links.map(move |(link, _)| (address, *link)).collect::<Vec<_>>()
        };
        of.iter().flat_map(on).collect()
    }

    fn keys(&self, port: Port) -> Vec<u32> {
        let places = self.places(&self.owned).into_iter().chain(self.places(&self.watched));
        places
            .filter(|(address, link)| (*link, Protocol::of(*address)) == port)
            .map(|(address, _)| filter_key(address))
            .collect()
    }

    fn step(&mut self, bench: &mut Bench, step: &Step) {
        match *step {
            Step::Own(address, scope) => {
                put(&mut self.owned, pool()[address], scope);
                bench.engine.change(
                    bench.now,
                    pool()[address],
                    scope.map(|n| scopes()[n].clone()).as_ref(),
                );
            }
            Step::AnswerOnly(address) => bench.engine.answer_only(pool()[address]),
            Step::Watch(address, scope) => {
                put(&mut self.watched, pool()[address], scope);
                bench.watch(pool()[address], scope.map(|n| scopes()[n].clone()).as_ref());
            }
            Step::Link(link, up) => {
                let facts = self.links.entry(link).or_insert_with(|| facts(link));
                facts.up = up;
                bench.link(facts.clone());
            }
            Step::Name(link, lan) => {
                let facts = self.links.entry(link).or_insert_with(|| facts(link));
                facts.name = if lan { "lan".into() } else { format!("eth{link}").into() };
                bench.link(facts.clone());
            }
            Step::Remove(link) => {
                self.links.remove(&link);
                bench.engine.remove_link(link);
                bench.engine.settle(bench.now);
            }
            Step::Wait(milliseconds) => bench.now += Duration::from_millis(milliseconds),
        }
    }

    /// In the order of `net::run`.
    fn carry_out(&mut self, bench: &mut Bench) {
        while let Some(change) = bench.engine.poll_port() {
            match change {
                SocketChange::Open { link, protocol, .. } => {
                    assert!(self.open.insert((link, protocol)));
                }
                SocketChange::Close { link, protocol } => {
                    assert!(self.open.remove(&(link, protocol)));
                    self.attached.remove(&(link, protocol));
                }
            }
        }
        while let Some((link, protocol, ranges)) = bench.engine.poll_filter(bench.now) {
            self.attached.insert((link, protocol), ranges);
        }
        while let Some(Membership { link, group, join }) = bench.engine.poll_membership() {
            let changed = if join {
                self.joined.insert((link, group))
            } else {
                self.joined.remove(&(link, group))
            };
            assert!(changed, "{link} {group} {join}");
        }
    }

    fn check_reach(&self, bench: &Bench) {
        let ports: BTreeSet<Port> = self
            .up()
            .flat_map(|(link, _)| [Protocol::Arp, Protocol::Ndp].map(|it| (*link, it)))
            .collect();
        assert_eq!(self.open, ports);
        for port in &ports {
            let attached = self.attached.get(port).map_or(&[][..], Vec::as_slice);
            for key in self.keys(*port) {
                assert!(attached.iter().any(|range| range.contains(key)), "{port:?} lacks {key:x}");
            }
        }
        let mut users: BTreeMap<Ipv6Addr, usize> = BTreeMap::new();
        for address in self.owned.keys().chain(self.watched.keys()) {
            if let IpAddr::V6(v6) = address {
                *users.entry(solicited_node(*v6)).or_default() += 1;
            }
        }
        assert_eq!(bench.engine.groups, users);
        let joined: BTreeSet<_> =
            self.up().flat_map(|(link, _)| users.keys().map(|group| (*link, *group))).collect();
        assert_eq!(self.joined, joined);
    }

    fn check_frames(&self, bench: &mut Bench) {
        let (owned, watched) = (self.places(&self.owned), self.places(&self.watched));
        bench.engine.probe(&pool());
        let (probes, others): (Vec<_>, Vec<_>) =
            bench.sent().into_iter().partition(|transmit| carried(transmit).is_some());
        let places: Vec<_> =
            probes.iter().map(|transmit| (transmit.address, transmit.link)).collect();
        assert_eq!(places.len(), watched.len(), "one each");
        assert_eq!(places.into_iter().collect::<BTreeSet<_>>(), watched);
        assert!(others.iter().all(|it| owned.contains(&(it.address, it.link))));
        bench.events();
        for address in pool() {
            for link in 2..5 {
                let place = (address, link);
                assert_eq!(bench.ask(link, address).is_some(), owned.contains(&place), "{place:?}");
                let who = station(u8::try_from(link).unwrap());
                bench.hear(link, address, announcement(who, address));
                let told = bench.answered().into_iter().map(|(address, _, who)| (address, who));
                let expected = watched.contains(&place).then_some((address, who));
                assert_eq!(told.collect::<Vec<_>>(), expected.into_iter().collect::<Vec<_>>());
            }
        }
    }
}

fn put(map: &mut BTreeMap<IpAddr, usize>, address: IpAddr, scope: Option<usize>) {
    match scope {
        Some(scope) => map.insert(address, scope),
        None => map.remove(&address),
    };
}

proptest! {
    /// The rule: filters, groups, probes and what is told are those of the addresses owned and watched now and of the
    /// links of now, whatever came before.
    #[test]
    fn owned_and_watched_addresses_are_followed_through_any_history(steps in prop::collection::vec(step(), 1..40)) {
        let (mut bench, mut model) = (Bench::new(&[]), Model::default());
        bench.engine.set_precedence(Some(OURS));
        for link in [2, 3] {
            model.step(&mut bench, &Step::Link(link, true));
        }
        for step in &steps {
            model.step(&mut bench, step);
            model.carry_out(&mut bench);
            model.check_reach(&bench);
            model.check_frames(&mut bench);
        }
        bench.now += Duration::from_secs(6);
        model.carry_out(&mut bench);
        for port in &model.open {
            let exact = cover(model.keys(*port), 0, MOST_RANGES);
            prop_assert_eq!(model.attached.get(port).cloned().unwrap_or_default(), exact, "{:?}", port);
        }
    }
}
