// SPDX-License-Identifier: Apache-2.0
//! One session and crafted packets.

use super::*;

const STATES: [State; 4] = [State::AdminDown, State::Down, State::Init, State::Up];
const MILLISECOND: Duration = Duration::from_millis(1);

#[allow(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
fn start() -> Instant {
    Instant::now()
}

fn key(hops: Hops) -> SessionKey {
    SessionKey { peer: [192, 0, 2, 1].into(), local: None, interface: None, hops }
}

fn session(now: Instant, profile: Profile) -> Session {
    Session::new(now, key(Hops::Single), profile, 7, 1)
}

fn packet(state: State) -> ControlPacket {
    ControlPacket {
        diagnostic: Diagnostic::None,
        state,
        poll: false,
        is_final: false,
        control_plane_independent: false,
        demand: false,
        detect_multiplier: 3,
        my_discriminator: 9,
        your_discriminator: 7,
        desired_min_tx_interval: 300_000,
        required_min_rx_interval: 300_000,
        required_min_echo_rx_interval: 50_000,
    }
}

fn sent(session: &mut Session) -> Vec<ControlPacket> {
    std::iter::from_fn(|| session.poll())
        .filter_map(|output| match output {
            Output::Control { packet, .. } => Some(packet),
            Output::Echo { .. } | Output::Changed => None,
        })
        .collect()
}

/// Brings a session into a state by what a peer says.
fn in_state(now: Instant, profile: Profile, state: State) -> Session {
    let mut session = session(now, profile);
    match state {
        State::AdminDown => session.handle(now, Event::AdminDown),
        State::Down => {}
        State::Init => session.handle(now, Event::Control(packet(State::Down))),
        State::Up => session.handle(now, Event::Control(packet(State::Init))),
    }
    assert_eq!(session.state, state);
    sent(&mut session);
    session
}

/// Ends the Poll Sequence that coming up has begun.
fn settled(now: Instant, profile: Profile) -> Session {
    let mut session = in_state(now, profile, State::Up);
    session.handle(now, Event::Control(ControlPacket { is_final: true, ..packet(State::Up) }));
    sent(&mut session);
    session
}

#[test]
fn every_state_and_every_state_of_the_peer() {
    use State::{AdminDown, Down, Init, Up};
    // Rows are our state, columns the peer's, both in the order of STATES.
    let table = [
        [AdminDown, AdminDown, AdminDown, AdminDown],
        [Down, Init, Up, Down],
        [Down, Init, Up, Up],
        [Down, Down, Up, Up],
    ];
    let now = start();
    for (state, row) in STATES.into_iter().zip(table) {
        for (remote, wanted) in STATES.into_iter().zip(row) {
            let mut session = in_state(now, Profile::default(), state);
            session.handle(now, Event::Control(packet(remote)));
            assert_eq!(session.state, wanted, "{state} and {remote}");
            if wanted == Down && state != Down {
                assert_eq!(session.diagnostic, Diagnostic::NeighborSignaledSessionDown);
            }
            let told = sent(&mut session);
            assert_eq!(!told.is_empty(), wanted != state, "a change is told at once");
            assert!(told.iter().all(|packet| packet.state == wanted));
        }
    }
}

#[test]
fn detection_time_expires_in_every_state_and_forgets_the_discriminator() {
    let now = start();
    for state in [State::Down, State::Init, State::Up] {
        let mut session = in_state(now, Profile::default(), state);
        if state == State::Down {
            session.handle(now, Event::Control(packet(State::Up)));
        }
        assert_eq!((session.state, session.remote.discriminator), (state, 9));
        let due = session.detection_due().unwrap();
        assert_eq!(due, now + Duration::from_millis(900));
        session.handle(due - MILLISECOND, Event::Deadline);
        assert_eq!((session.state, session.remote.discriminator), (state, 9));
        session.handle(due, Event::Deadline);
        assert_eq!((session.state, session.remote.discriminator), (State::Down, 0));
        let expired = Diagnostic::ControlDetectionTimeExpired;
        assert_eq!(session.diagnostic == expired, state != State::Down);
        assert_eq!(session.detection_due(), None);
    }
}

#[test]
fn administrator_holds_it_down_and_it_tells_so_with_diagnostic_7() {
    let now = start();
    let mut session = settled(now, Profile::default());
    session.handle(now, Event::AdminDown);
    let told = sent(&mut session);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].state, State::AdminDown);
    assert_eq!(told[0].diagnostic, Diagnostic::AdministrativelyDown);
    let poll = ControlPacket { poll: true, ..packet(State::Down) };
    session.handle(now, Event::Control(poll));
    assert!(sent(&mut session).is_empty(), "a packet is discarded, also its P bit");
    assert_eq!(session.counters.session_down_events, 1);
}

#[test]
fn poll_is_answered_at_once_with_final_and_without_poll() {
    let now = start();
    // Its own Poll Sequence still runs.
    let mut session = in_state(now, Profile::default(), State::Up);
    session.handle(now, Event::Control(ControlPacket { poll: true, ..packet(State::Up) }));
    let told = sent(&mut session);
    assert_eq!(told.len(), 1);
    assert!(told[0].is_final && !told[0].poll);
}

#[test]
fn before_up_at_most_one_packet_in_a_second_and_then_as_the_slower_side_wants() {
    let now = start();
    let mut session = session(now, Profile::default());
    assert_eq!(session.transmit_interval(), Duration::from_secs(1));
    session.handle(now, Event::Control(packet(State::Init)));
    assert_eq!(session.transmit_interval(), Duration::from_millis(300));
    let slow = ControlPacket { required_min_rx_interval: 5_000_000, ..packet(State::Up) };
    session.handle(now, Event::Control(slow));
    assert_eq!(session.transmit_interval(), Duration::from_secs(5));
    let slow = ControlPacket { desired_min_tx_interval: 2_000_000, detect_multiplier: 5, ..slow };
    session.handle(now, Event::Control(slow));
    assert_eq!(session.detection_time(), Duration::from_secs(10));
}

#[test]
fn jitter_takes_up_to_a_quarter_and_at_least_a_tenth_when_the_multiplier_is_1() {
    let now = start();
    for (detect_multiplier, most) in [(1, 90), (3, 100)] {
        let mut session = settled(now, Profile { detect_multiplier, ..Profile::default() });
        let mut shares = Vec::new();
        for _ in 0..1000 {
            let jitter = session.draw_jitter();
            assert!((75_000..=most * 1000).contains(&jitter));
            shares.push(jitter);
        }
        let spread = shares.iter().max().unwrap() - shares.iter().min().unwrap();
        assert!(spread > (most - 75) * 1000 * 9 / 10, "the whole range is used");
    }
}

#[test]
fn slower_sending_waits_for_final_and_faster_does_not() {
    let now = start();
    let mut session = settled(now, Profile::default());
    let slower = Profile { transmit_interval: Duration::from_millis(900), ..Profile::default() };
    session.handle(now, Event::Profile(slower));
    let told = sent(&mut session);
    assert!(told[0].poll && told[0].desired_min_tx_interval == 900_000);
    assert_eq!(session.transmit_interval(), Duration::from_millis(300));
    session.handle(now, Event::Control(packet(State::Up)));
    assert_eq!(session.transmit_interval(), Duration::from_millis(300));
    session.handle(now, Event::Control(ControlPacket { is_final: true, ..packet(State::Up) }));
    assert_eq!(session.transmit_interval(), Duration::from_millis(900));
    let any = ControlPacket { required_min_rx_interval: 10_000, ..packet(State::Up) };
    session.handle(now, Event::Control(any));
    session.handle(now, Event::Profile(Profile::default()));
    assert_eq!(session.transmit_interval(), Duration::from_millis(300));
}

#[test]
fn expecting_more_waits_for_final_and_expecting_less_does_not() {
    let now = start();
    let mut session = settled(now, Profile::default());
    let wants =
        |millis| Profile { receive_interval: Duration::from_millis(millis), ..Profile::default() };
    let quick = ControlPacket { desired_min_tx_interval: 10_000, ..packet(State::Up) };
    session.handle(now, Event::Control(quick));
    assert_eq!(session.detection_time(), Duration::from_millis(900));
    session.handle(now, Event::Profile(wants(100)));
    assert_eq!(session.detection_time(), Duration::from_millis(900));
    session.handle(now, Event::Control(ControlPacket { is_final: true, ..quick }));
    assert_eq!(session.detection_time(), Duration::from_millis(300));
    session.handle(now, Event::Profile(wants(1000)));
    assert_eq!(session.detection_time(), Duration::from_millis(3000));
}

#[test]
fn a_change_within_a_poll_sequence_gets_one_of_its_own() {
    let now = start();
    let mut session = settled(now, Profile::default());
    let wants =
        |millis| Profile { transmit_interval: Duration::from_millis(millis), ..Profile::default() };
    session.handle(now, Event::Profile(wants(800)));
    session.handle(now, Event::Profile(wants(900)));
    assert!(sent(&mut session).iter().all(|packet| packet.poll));
    let is_final = ControlPacket { is_final: true, ..packet(State::Up) };
    session.handle(now, Event::Control(is_final));
    assert_eq!(session.transmit_interval(), Duration::from_millis(300), "may answer the first");
    session.handle(session.transmit_due().unwrap(), Event::Deadline);
    assert!(!sent(&mut session)[0].poll, "a packet without P stands between");
    session.handle(session.transmit_due().unwrap(), Event::Deadline);
    assert!(sent(&mut session)[0].poll);
    session.handle(now, Event::Control(is_final));
    assert_eq!(session.transmit_interval(), Duration::from_millis(900));
}

#[test]
fn the_peers_demand_mode_silences_all_but_poll_sequences() {
    let now = start();
    let mut session = settled(now, Profile::default());
    let demand = ControlPacket { demand: true, ..packet(State::Up) };
    session.handle(now, Event::Control(demand));
    assert_eq!(session.transmit_due(), None);
    assert!(session.detection_due().is_some(), "the peer goes on sending");
    session.handle(now, Event::Control(ControlPacket { poll: true, ..demand }));
    assert!(sent(&mut session)[0].is_final);
    let slower = Profile { transmit_interval: Duration::from_millis(900), ..Profile::default() };
    session.handle(now, Event::Profile(slower));
    assert!(sent(&mut session)[0].poll && session.transmit_due().is_some());
    session.handle(now, Event::Control(ControlPacket { is_final: true, ..demand }));
    assert_eq!(session.transmit_due(), None);
    session.handle(now, Event::Control(ControlPacket { state: State::Down, ..demand }));
    assert!(session.transmit_due().is_some(), "only while both are Up");
}

#[test]
fn a_peer_that_wants_no_periodic_packets_gets_none_until_it_does() {
    let now = start();
    let mut session = settled(now, Profile::default());
    let none = ControlPacket { required_min_rx_interval: 0, ..packet(State::Up) };
    session.handle(now, Event::Control(none));
    assert_eq!(session.transmit_due(), None);
    let later = now + Duration::from_millis(800);
    session.handle(later, Event::Control(packet(State::Up)));
    assert_eq!(sent(&mut session).len(), 1, "at once, since the interval has long passed");
    session.handle(later, Event::ControlSent(None));
    assert_eq!(session.status().transmit_delay.samples, 0, "and not as a late one");
}

#[test]
fn passive_role_waits_for_the_peer_also_after_it_was_lost() {
    let now = start();
    let mut session = session(now, Profile { passive_mode: true, ..Profile::default() });
    assert_eq!(session.deadline(), None);
    session.handle(now, Event::Control(packet(State::Down)));
    assert_eq!(sent(&mut session)[0].state, State::Init);
    let due = session.detection_due().unwrap();
    session.handle(due, Event::Deadline);
    sent(&mut session);
    assert_eq!((session.state, session.deadline()), (State::Down, None));
}

#[test]
fn echo_slows_the_control_packets_down_and_fails_with_diagnostic_2() {
    let now = start();
    let mut session = settled(now, Profile { echo_mode: true, ..Profile::default() });
    let mut at = session.echo_due().unwrap();
    session.handle(at, Event::Deadline);
    let first = std::iter::from_fn(|| session.poll()).find_map(|output| match output {
        Output::Echo { packet, .. } => Some(packet),
        Output::Control { .. } | Output::Changed => None,
    });
    let first = first.unwrap();
    assert_eq!(session.echo_detection_due(), None, "not before it has left");
    session.handle(at, Event::EchoSent(None));
    let told = sent(&mut session);
    assert!(told[0].poll && told[0].required_min_rx_interval == 1_000_000);
    at += MILLISECOND;
    session.handle(at, Event::Echo(EchoPacket { cookie: first.cookie ^ 1, ..first }));
    session.handle(at, Event::Echo(EchoPacket { sequence: first.sequence + 1, ..first }));
    assert_eq!(session.counters.echo_packet_input, 0, "made up");
    session.handle(at, Event::Echo(first));
    session.handle(at, Event::Echo(first));
    assert_eq!(session.counters.echo_packet_input, 1, "once each");
    assert_eq!(session.echo_detection_due(), Some(at + Duration::from_millis(150)));
    session.handle(at + Duration::from_millis(150), Event::Deadline);
    assert_eq!((session.state, session.diagnostic), (State::Down, Diagnostic::EchoFunctionFailed));
    let told = sent(&mut session);
    assert_eq!(told[0].required_min_rx_interval, 300_000);
    assert_eq!(session.echo_due(), None);
}

#[test]
fn echo_ends_when_the_peer_or_the_profile_wants_none_and_never_begins_over_several_hops() {
    let now = start();
    let echo = Profile { echo_mode: true, ..Profile::default() };
    let none = ControlPacket { required_min_echo_rx_interval: 0, ..packet(State::Up) };
    for event in [Event::Control(none), Event::Profile(Profile::default())] {
        let mut session = settled(now, echo);
        session.handle(now, Event::EchoSent(None));
        assert!(session.echo.is_active());
        session.handle(now, event);
        assert!(!session.echo.is_active() && session.echo_due().is_none());
        assert_eq!((session.state, session.required_min_rx), (State::Up, echo.receive_interval));
    }
    let mut multihop = Session::new(now, key(Hops::Multi), echo, 7, 1);
    multihop.handle(now, Event::Control(packet(State::Init)));
    assert_eq!(multihop.echo_due(), None);
    assert!(sent(&mut multihop).iter().all(|told| told.required_min_echo_rx_interval == 0));
    let slow = ControlPacket { required_min_echo_rx_interval: 700_000, ..packet(State::Up) };
    let mut session = settled(now, echo);
    session.handle(now, Event::Control(slow));
    assert_eq!(session.echo_interval(), Duration::from_millis(700));
}

#[test]
fn control_plane_independence_is_never_claimed() {
    let now = start();
    for state in STATES {
        let session = in_state(now, Profile::default(), state);
        assert!(!session.packet(false, false).control_plane_independent);
    }
}

#[test]
fn late_packets_are_measured() {
    let now = start();
    let mut session = settled(now, Profile::default());
    let due = session.transmit_due().unwrap();
    let late = due + Duration::from_millis(4);
    session.handle(late, Event::Deadline);
    session.handle(late + MILLISECOND, Event::ControlSent(Some(due)));
    let delay = session.status().transmit_delay;
    assert_eq!((delay.samples, delay.maximum), (1, Duration::from_millis(5)));
}
