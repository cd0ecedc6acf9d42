// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::heartbeat;
use crate::quorum::Fencing;
use crate::wire::message::{self, Alive};
use crate::{Settings, Versions};

const SECOND: Duration = Duration::from_secs(1);

/// The agent "us", which knows no other member and may speak.
struct One {
    agent: Agent,
    start: Moment,
}

impl One {
    fn new() -> Self {
        #[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
        let start = Moment { monotonic: Instant::now(), boottime: SECOND * 1_000 };
        let ring = Config {
            name: "us".into(),
            address: ([192, 0, 2, 1], 7946).into(),
            settings: Settings::lan(),
            meta: vec![1],
            overhead: 0,
            seed: 1,
        };
        let fencing = Fencing::Majority;
        let detection = Detection { fencing, speaks: |meta| meta == [1], ..Detection::off() };
        let agent = Agent::new(AgentConfig { ring, detection }, start).unwrap();
        let mut one = Self { agent, start };
        one.handle(Duration::ZERO, Input::Command(Command::Resume { by_link: false }));
        one
    }

    /// Lets this time pass by both clocks; returns the outputs.
    fn handle(&mut self, after: Duration, input: Input<'_>) -> Vec<Output> {
        let Moment { monotonic, boottime } = self.start;
        let now = Moment { monotonic: monotonic + after, boottime: boottime + after };
        self.agent.handle(now, input);
        std::iter::from_fn(|| self.agent.poll()).collect()
    }

    /// A packet of the memberlist tells of a member that speaks the heartbeat.
    fn meet(&mut self, after: Duration, node: &str) -> Vec<Output> {
        let versions = Some(Versions { minimum: 1, maximum: 5, current: 2, ..Versions::default() });
        let from = SocketAddr::from(([192, 0, 2, 2], 7946));
        let (address, port) = (from.ip(), from.port());
        let alive = Alive { incarnation: 1, node, address, port, meta: &[1], versions };
        let octets = message::Message::Alive(alive).encode();
        self.handle(after, Input::Packet { from, octets: &octets })
    }

    fn lease(&self, after: Duration) -> Lease {
        let time = heartbeat::Options::default().detection_time() - Duration::from_millis(10);
        Lease::Until(self.start.boottime + after + time)
    }
}

const DEADLINE: Input<'_> = Input::Deadline { time_of_day: None };

#[test]
fn what_only_the_memberlist_hears_extends_no_lease() {
    let mut one = One::new();
    assert_eq!(one.agent.lease(), one.lease(Duration::ZERO));
    let from = ([192, 0, 2, 2], 7946).into();
    for (number, octets) in (1..).zip([&[0xff; 9][..], b"\x02", b""]) {
        one.handle(SECOND * number, Input::Packet { from, octets });
        one.handle(SECOND * number, Input::Unreachable(from));
        one.handle(SECOND * number, Input::Response { stream: 7, result: Err("none") });
        assert_eq!(one.agent.lease(), one.lease(Duration::ZERO), "after {number} s");
    }
    one.handle(SECOND * 4, DEADLINE);
    assert_eq!(one.agent.lease(), one.lease(SECOND * 4));
}

#[test]
fn whoever_stood_still_speaks_only_after_those_above_have_looked_again() {
    let mut one = One::new();
    one.meet(Duration::ZERO, "them");
    assert_eq!(one.agent.lease(), one.lease(Duration::ZERO));
    let woken = SECOND * 20;
    let outputs = one.handle(woken, DEADLINE);
    assert!(outputs.contains(&Output::StoodStill(woken)), "{outputs:?}");
    assert_eq!((one.agent.standing(), one.agent.lease()), (Standing::Doubtful, Lease::None));
    one.handle(woken, Input::Command(Command::Resume { by_link: false }));
    assert_eq!(one.agent.lease(), Lease::None, "it is doubtful still");
    // No member confirms us, and none says that we are dead.
    let mut after = woken;
    while !one.agent.standing().speaks() && after < woken * 2 {
        after += SECOND / 10;
        one.handle(after, DEADLINE);
    }
    assert_eq!((one.agent.standing(), one.agent.lease()), (Standing::Confirmed, Lease::None));
    one.handle(after, Input::Command(Command::Resume { by_link: false }));
    assert_eq!(one.agent.lease(), one.lease(after));
}

#[test]
fn the_members_are_told_before_what_is_to_be_judged_by_them() {
    let mut one = One::new();
    one.meet(Duration::ZERO, "them");
    // The standstill is noticed when the memberlist tells of another member.
    let outputs = one.meet(SECOND * 20, "others");
    let [.., changed, standing] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(*changed, Output::Event(Event::MembersChanged));
    assert_eq!(*standing, Output::Event(Event::Standing(Standing::Doubtful)));
    let joined = |output: &Output| matches!(output, Output::Event(Event::Joined(it)) if *it.name == *"others");
    assert!(outputs.iter().any(joined), "{outputs:?}");
    assert!(one.handle(SECOND * 20, DEADLINE).iter().all(|it| *it != *changed), "told once");
}
