// SPDX-License-Identifier: Apache-2.0
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);
const RANK: Precedence = Precedence { members: 1, position: 0 };

#[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
fn beginning() -> Instant {
    Instant::now()
}

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0xc612_0000 + number).into()
}

fn station(number: u8) -> Station {
    Station { interface: "eth0".into(), hardware_address: MacAddress([2, 0, 0, 0, 0, number]) }
}

/// A check with a link on which stations have some addresses.
struct Bench {
    check: LinkCheck,
    start: Instant,
    now: Instant,
    /// The addresses that other stations have.
    taken: BTreeMap<IpAddr, Station>,
    /// A station that answers for everything.
    proxy: Option<Station>,
    /// The number of links with carrier.
    links: u32,
    watched: BTreeSet<IpAddr>,
    /// The addresses that are announced, with the time since the beginning.
    announced: BTreeMap<IpAddr, Duration>,
    words: Vec<(IpAddr, LinkWord)>,
    /// The probes for addresses, each with its time.
    probes: Vec<(Duration, IpAddr)>,
}

impl Bench {
    fn new() -> Self {
        let start = beginning();
        Self {
            check: LinkCheck::new(start, 7, RANK),
            start,
            now: start,
            taken: BTreeMap::new(),
            proxy: None,
            links: 1,
            watched: BTreeSet::new(),
            announced: BTreeMap::new(),
            words: Vec::new(),
            probes: Vec::new(),
        }
    }

    fn want(&mut self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            let scope = Some(Scope::AllInterfaces);
            self.check.want(address(number), scope, self.links, number % 10 == 9);
        }
        self.carry_out();
    }

    /// So many links have carrier from now.
    fn relink(&mut self, links: u32) {
        let gained = links > self.links;
        self.links = links;
        self.check.relink(self.now, |_, _| Carriers { number: links, gained });
        self.carry_out();
    }

    fn time(&self) -> Duration {
        self.now - self.start
    }

    fn carry_out(&mut self) {
        let mut answers = Vec::new();
        let time = self.time();
        for action in self.check.take_actions() {
            match action {
                LinkAction::Watch(changes) => {
                    for (address, scope) in changes {
                        match scope {
                            Some(_) => self.watched.insert(address),
                            None => self.watched.remove(&address),
                        };
                    }
                }
                LinkAction::Probe { addresses, precedence } => {
                    assert_eq!(precedence, RANK);
                    for address in addresses {
                        assert!(self.watched.contains(&address), "{address} is not watched");
                        self.probes.push((time, address));
                        let owner = self.taken.get(&address).or(self.proxy.as_ref());
                        let owner = owner.filter(|_| self.links > 0);
                        answers.extend(owner.map(|owner| (address, owner.clone())));
                    }
                }
                LinkAction::Change(changes) => {
                    for (address, scope) in changes {
                        match scope {
                            Some(_) => drop(self.announced.insert(address, time)),
                            None => drop(self.announced.remove(&address)),
                        }
                    }
                }
                LinkAction::Tell { address, word } => self.words.push((address, word)),
            }
        }
        for (address, station) in answers {
            self.check.answered(self.now, address, station, false);
        }
        if !self.check.actions.is_empty() {
            self.carry_out();
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.check.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.check.expire(self.now);
            self.carry_out();
        }
        self.now = end;
    }

    fn probes_of(&self, address: IpAddr) -> Vec<Duration> {
        let of = self.probes.iter().filter(|(_, probed)| *probed == address);
        of.map(|(time, _)| *time).collect()
    }
}

#[test]
fn an_address_is_announced_after_six_probes_without_an_answer() {
    let mut bench = Bench::new();
    bench.want(0..1);
    bench.run(599 * MS);
    assert!(bench.announced.is_empty());
    bench.run(50 * MS);
    assert_eq!(bench.probes_of(address(0)).len(), 6);
    assert_eq!(bench.words, [(address(0), LinkWord::Unanswered)]);
    assert!(bench.announced.contains_key(&address(0)));
}

#[test]
fn an_answer_silences_at_once_and_its_end_is_noticed() {
    let mut bench = Bench::new();
    bench.want(0..1);
    bench.taken.insert(address(0), station(1));
    bench.run(10_000 * MS);
    assert!(bench.announced.is_empty());
    assert_eq!(bench.words, [(address(0), LinkWord::AnsweredBy(station(1)))], "told once");
    bench.taken.clear();
    bench.run(1_050 * MS);
    assert!(bench.announced.contains_key(&address(0)), "0.4 s, and six probes");
    // Another station appears: the next probe of the watch finds it.
    bench.taken.insert(address(0), station(2));
    bench.run(WATCH_INTERVAL + TURN);
    assert!(bench.announced.is_empty());
}

#[test]
fn a_claim_that_no_probe_asked_for_counts_as_well() {
    let mut bench = Bench::new();
    bench.want(0..1);
    bench.check.answered(bench.now, address(0), station(3), false);
    bench.run(300 * MS);
    assert!(bench.probes_of(address(0)).is_empty(), "nobody is asked while the answer is fresh");
    bench.run(2_000 * MS);
    assert!(bench.announced.contains_key(&address(0)));
}

#[test]
fn a_proxy_counts_as_nobody() {
    let mut bench = Bench::new();
    bench.proxy = Some(station(9));
    bench.taken.insert(address(1), station(1));
    bench.want(0..2);
    bench.run(1_500 * MS);
    assert_eq!(bench.announced.keys().collect::<Vec<_>>(), [&address(0)]);
    assert_eq!(bench.check.word(address(1)), Some(LinkWord::AnsweredBy(station(1))));
    assert!(!bench.words.contains(&(address(0), LinkWord::AnsweredBy(station(9)))));
}

#[test]
fn who_probes_for_the_same_control_address_is_no_proxy() {
    let mut bench = Bench::new();
    bench.taken.insert(address(0), station(1));
    bench.want(0..1);
    bench.run(300 * MS);
    let controls: Vec<IpAddr> = bench.check.controls.iter().copied().collect();
    assert_eq!(controls.len(), 1);
    bench.check.answered(bench.now, controls[0], station(1), true);
    bench.run(2_000 * MS);
    assert!(bench.announced.is_empty());
    bench.check.answered(bench.now, controls[0], station(1), false);
    bench.run(2_000 * MS);
    assert_eq!(bench.announced.len(), 1, "it answers for everything");
}

#[test]
fn two_hundred_addresses_are_asked_for_in_2_6_seconds_at_the_stated_rate() {
    let mut bench = Bench::new();
    bench.want(0..200);
    bench.run(2_600 * MS);
    assert_eq!(bench.announced.len(), 200, "{:?}", bench.announced.values().max());
    let times: Vec<Duration> = bench.probes.iter().map(|(time, _)| *time).collect();
    for (place, time) in times.iter().enumerate() {
        let later = times.iter().skip(place).take_while(|it| **it < *time + 1_000 * MS).count();
        let burst = usize::try_from(AT_ONCE).unwrap();
        assert!(later <= 500 + burst, "{later} in the second after {time:?}");
    }
    let lately =
        bench.announced.iter().filter(|(it, _)| (0..20).any(|n| **it == address(n * 10 + 9)));
    let last = lately.map(|(_, time)| *time).max().unwrap();
    let others = bench.announced.values().filter(|time| **time < last).count();
    assert!(others < 60, "the ones lately owned come first: {others} came before {last:?}");
    // At rest the announced ones are probed slowly.
    bench.probes.clear();
    bench.run(10_000 * MS);
    let probed = bench.probes.iter().filter(|(_, it)| bench.announced.contains_key(it)).count();
    assert!((900..=1_100).contains(&probed), "{probed} probes in ten seconds");
}

#[test]
fn many_addresses_are_probed_less_often_and_the_rate_holds() {
    let mut bench = Bench::new();
    bench.want(0..1_000);
    bench.run(16_000 * MS);
    assert_eq!(bench.announced.len(), 1_000);
    bench.probes.clear();
    bench.run(20_000 * MS);
    assert!(bench.probes.len() <= 2_200, "{} probes in 20 s", bench.probes.len());
    assert!(bench.probes.len() >= 1_800, "{} probes in 20 s", bench.probes.len());
}

#[test]
fn ten_thousand_addresses_are_asked_for_in_160_seconds() {
    let mut bench = Bench::new();
    bench.want(0..10_000);
    bench.run(80_000 * MS);
    let half = bench.announced.len();
    assert!(half >= 5_000, "{half} after half of the time");
    bench.run(80_000 * MS);
    assert_eq!(bench.announced.len(), 10_000);
    println!("the last one after {:?}", bench.announced.values().max());
}

#[test]
fn what_is_kept_is_announced_all_along_until_another_answers() {
    let mut bench = Bench::new();
    for number in 0..3 {
        bench.check.keep(bench.now, address(number), Scope::AllInterfaces, 1);
    }
    bench.carry_out();
    assert_eq!(bench.check.announced().count(), 3);
    bench.run(200 * MS);
    let probed: BTreeSet<IpAddr> = bench.probes.iter().map(|(_, address)| *address).collect();
    assert!((0..3).all(|number| probed.contains(&address(number))), "each is probed at once");
    bench.taken.insert(address(1), station(9));
    bench.run(3_000 * MS);
    assert_eq!(bench.check.announced().collect::<Vec<_>>(), [address(0), address(2)]);
    assert_eq!(bench.check.word(address(1)), Some(LinkWord::AnsweredBy(station(9))));
}

#[test]
fn silence_without_carrier_is_no_answer() {
    let mut bench = Bench::new();
    bench.want(0..2);
    bench.taken.insert(address(1), station(1));
    bench.run(300 * MS);
    bench.relink(0);
    bench.want(2..3);
    bench.probes.clear();
    bench.run(5_000 * MS);
    assert!(bench.probes.is_empty() && bench.announced.is_empty(), "nobody can be asked");
    // A frame that was on its way when the carrier went.
    bench.check.answered(bench.now, address(0), station(2), false);
    bench.run(5_000 * MS);
    assert!(bench.announced.is_empty());
    bench.relink(1);
    bench.run(590 * MS);
    assert!(bench.announced.is_empty(), "six probes first");
    bench.run(60 * MS);
    assert_eq!(bench.announced.keys().collect::<Vec<_>>(), [&address(0), &address(2)]);
}

#[test]
fn an_announced_address_waits_for_the_carrier_and_is_asked_for_anew() {
    let mut bench = Bench::new();
    bench.want(0..2);
    bench.run(1_000 * MS);
    assert_eq!(bench.announced.len(), 2);
    bench.relink(0);
    assert!(bench.announced.is_empty() && bench.check.word(address(0)).is_none());
    bench.taken.insert(address(1), station(1));
    bench.run(5_000 * MS);
    bench.words.clear();
    bench.relink(1);
    bench.run(650 * MS);
    assert_eq!(bench.announced.keys().collect::<Vec<_>>(), [&address(0)]);
    assert!(bench.words.contains(&(address(0), LinkWord::Unanswered)), "told anew");
}

#[test]
fn an_owner_on_a_second_link_that_comes_back_is_found_at_once() {
    let mut bench = Bench::new();
    bench.want(0..2);
    bench.run(1_000 * MS);
    bench.run(WATCH_INTERVAL);
    bench.taken.insert(address(1), station(1));
    bench.relink(2);
    assert_eq!(bench.announced.len(), 2, "the first link is served all along");
    bench.run(TURN);
    assert_eq!(bench.announced.keys().collect::<Vec<_>>(), [&address(0)]);
    // A link that goes tells of nobody.
    bench.probes.clear();
    bench.relink(1);
    bench.run(TURN);
    assert!(bench.probes.is_empty());
}

#[test]
fn an_address_that_is_wanted_no_more_is_let_go() {
    let mut bench = Bench::new();
    bench.want(0..3);
    bench.run(1_000 * MS);
    bench.check.want(address(1), None, 1, false);
    bench.carry_out();
    assert_eq!(bench.announced.len(), 2);
    assert!(!bench.watched.contains(&address(1)));
    let other = Scope::Interfaces(["eth1".into()].into());
    bench.check.want(address(2), Some(other), 1, false);
    bench.carry_out();
    assert_eq!(bench.announced.len(), 1, "other links are asked first");
    bench.run(1_000 * MS);
    assert_eq!(bench.announced.len(), 2);
    let mut watched: BTreeSet<IpAddr> = bench.check.end().into_iter().collect();
    assert_eq!(watched.len(), 3, "two, and the control address");
    watched.retain(|it| !bench.watched.contains(it));
    assert!(watched.is_empty());
}

#[test]
fn nothing_is_asked_where_nothing_is_wanted() {
    let mut bench = Bench::new();
    assert_eq!(bench.check.deadline(), None);
    bench.want(0..1);
    bench.check.want(address(0), None, 1, false);
    bench.carry_out();
    bench.run(60_000 * MS);
    assert!(bench.probes.is_empty());
}

proptest! {
    /// Whatever stations come and go, an address is announced only if nobody answered its last six probes, and in the end all that is free is
    /// announced.
    #[test]
    fn an_address_that_somebody_has_is_not_announced(
        steps in prop::collection::vec((0_u32..8, any::<bool>(), 1_u64..1_500), 1..40)
    ) {
        let mut bench = Bench::new();
        bench.want(0..8);
        let mut since: BTreeMap<IpAddr, Duration> = BTreeMap::new();
        for (number, taken, wait) in steps {
            let address = address(number);
            if taken {
                bench.taken.entry(address).or_insert_with(|| station(u8::try_from(number).unwrap()));
                since.entry(address).or_insert(bench.time());
            } else {
                bench.taken.remove(&address);
                since.remove(&address);
            }
            bench.run(Duration::from_millis(wait));
            for (address, from) in &since {
                let known = bench.time() - *from > WATCH_INTERVAL + TURN * 2;
                prop_assert!(!known || !bench.announced.contains_key(address));
            }
        }
        bench.run(4_000 * MS);
        for number in 0..8 {
            let address = address(number);
            prop_assert_eq!(bench.announced.contains_key(&address), !bench.taken.contains_key(&address));
        }
    }
}
