// SPDX-License-Identifier: Apache-2.0
//! Every state with every event: one column per state, one row per event. Written from RFC 4271 §8.2.2, not from the code.

use super::*;

/// Short names for what a cell does, in order.
fn cell(state: State, trigger: Trigger) -> String {
    let (next, actions) = transition(state, trigger);
    let mut text = match next {
        State::Idle => "I",
        State::Connect => "C",
        State::Active => "A",
        State::OpenSent => "S",
        State::OpenConfirm => "O",
        State::Established => "E",
    }
    .to_owned();
    for action in actions {
        text.push_str(match action {
            Action::Connect => " connect",
            Action::StartConnectRetryTimer => " retry",
            Action::StopConnectRetryTimer => " noretry",
            Action::SendOpen => " open",
            Action::SendKeepalive => " keep",
            Action::RestartHoldTimer => " hold",
            Action::Establish => " up",
            Action::Deliver => " take",
            Action::Notify => " tell",
            Action::Close => " close",
            Action::CountFailure => " count",
            Action::ForgetFailures => " forget",
        });
    }
    text
}

const STATES: [State; 6] = [
    State::Idle,
    State::Connect,
    State::Active,
    State::OpenSent,
    State::OpenConfirm,
    State::Established,
];

#[test]
fn every_state_and_event_has_its_row() {
    let fail = "I noretry close count";
    let stop = "I close forget noretry";
    let tell = "I tell close count";
    let leave = "I tell close forget";
    let lost = "I close count";
    let table: [(Trigger, [&str; 6]); 22] = [
        (Trigger::ManualStart, ["C retry connect", "C", "A", "S", "O", "E"]),
        (Trigger::ManualStartWithPassiveTcpEstablishment, ["A", "C", "A", "S", "O", "E"]),
        (Trigger::ManualStop, ["I", stop, stop, leave, leave, leave]),
        (Trigger::AutomaticStop, ["I", fail, fail, tell, tell, tell]),
        (
            Trigger::ConnectRetryTimerExpires,
            ["I", "C close retry connect", "C retry connect", tell, tell, tell],
        ),
        (Trigger::HoldTimerExpires, ["I", fail, fail, tell, tell, tell]),
        (Trigger::KeepaliveTimerExpires, ["I", fail, fail, tell, "O keep", "E keep"]),
        (Trigger::IdleHoldTimerExpires, ["C retry connect", "C", "A", tell, tell, tell]),
        (Trigger::SendHoldTimerExpires, ["I", fail, fail, tell, tell, tell]),
        (
            Trigger::TcpConnectionRequestAcked,
            ["I", "S noretry open", "S noretry open", "S", "O", "E"],
        ),
        (Trigger::TcpConnectionConfirmed, ["I", "S noretry open", "S noretry open", "S", "O", "E"]),
        (Trigger::TcpConnectionFails, ["I", fail, fail, "A close count retry", lost, lost]),
        (Trigger::BgpOpen, ["I", fail, fail, "O keep hold", tell, tell]),
        (Trigger::BgpHeaderError, ["I", fail, fail, tell, tell, tell]),
        (Trigger::BgpOpenMessageError, ["I", fail, fail, tell, tell, tell]),
        (Trigger::OpenCollisionDump, ["I", fail, fail, tell, tell, tell]),
        (Trigger::NotificationVersionError, ["I", fail, fail, "I close", "I close", lost]),
        (Trigger::NotificationMessage, ["I", fail, fail, lost, lost, lost]),
        (Trigger::KeepaliveMessage, ["I", fail, fail, tell, "E hold up", "E hold"]),
        (Trigger::UpdateMessage, ["I", fail, fail, tell, tell, "E hold take"]),
        (Trigger::UpdateMessageError, ["I", fail, fail, tell, tell, tell]),
        (Trigger::RouteRefreshMessage, ["I", fail, fail, tell, tell, "E hold take"]),
    ];
    for (trigger, row) in table {
        for (state, expected) in STATES.into_iter().zip(row) {
            assert_eq!(cell(state, trigger), expected, "{trigger:?} in {state}");
        }
    }
}
