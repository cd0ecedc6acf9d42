// SPDX-License-Identifier: Apache-2.0
//! The state machine of one connection as a table (RFC 4271 §8.2.2): a state and an event give the next state and what to do.
//! One function per state; what a row does is carried out by the session.
//!
//! Not used of the RFC: DelayOpen (Events 12 and 20). DampPeerOscillations is: after a failure Idle is left by Event 13. Events
//! 14, 15 and the choice between two connections belong to the peer.
//!
//! One row differs from the RFC: a NOTIFICATION in OpenSent ends the connection without an answer, because §6.4 forbids to
//! answer a NOTIFICATION with another.

#![deny(clippy::wildcard_enum_match_arm)]

use crate::State;

/// What happens to a connection, by the names of RFC 4271 §8.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// Event 1.
    ManualStart,
    /// Event 4.
    ManualStartWithPassiveTcpEstablishment,
    /// Event 2.
    ManualStop,
    /// Event 8: BFD down, too many prefixes, a change of configuration.
    AutomaticStop,
    /// Event 9.
    ConnectRetryTimerExpires,
    /// Event 10.
    HoldTimerExpires,
    /// Event 11.
    KeepaliveTimerExpires,
    /// Event 13.
    IdleHoldTimerExpires,
    /// Event 29 (RFC 9687 §3.2).
    SendHoldTimerExpires,
    /// Event 16: our connection attempt succeeded.
    TcpConnectionRequestAcked,
    /// Event 17: the peer's did.
    TcpConnectionConfirmed,
    /// Event 18.
    TcpConnectionFails,
    /// Event 19.
    BgpOpen,
    /// Event 21.
    BgpHeaderError,
    /// Event 22.
    BgpOpenMessageError,
    /// Event 23.
    OpenCollisionDump,
    /// Event 24.
    NotificationVersionError,
    /// Event 25.
    NotificationMessage,
    /// Event 26.
    KeepaliveMessage,
    /// Event 27.
    UpdateMessage,
    /// Event 28.
    UpdateMessageError,
    /// A ROUTE-REFRESH (RFC 2918), also a wrong one (RFC 7313), which is an UpdateMessageError.
    RouteRefreshMessage,
}

/// What a row does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Begin to connect.
    Connect,
    /// Start or restart the ConnectRetryTimer.
    StartConnectRetryTimer,
    /// Stop the ConnectRetryTimer.
    StopConnectRetryTimer,
    /// Send OPEN and set the HoldTimer to its large value.
    SendOpen,
    /// Send KEEPALIVE and restart the KeepaliveTimer.
    SendKeepalive,
    /// Restart the HoldTimer with the negotiated time.
    RestartHoldTimer,
    /// The session is up.
    Establish,
    /// Hand the message over.
    Deliver,
    /// Send the NOTIFICATION of the event, or the FSM error of the state that is left (RFC 6608).
    Notify,
    /// Drop the TCP connection, stop all timers, release everything.
    Close,
    /// ConnectRetryCounter + 1.
    CountFailure,
    /// ConnectRetryCounter = 0.
    ForgetFailures,
}

/// A row of the table.
pub(crate) type Row = (State, &'static [Action]);

/// The row for a state and an event.
pub(crate) const fn transition(state: State, trigger: Trigger) -> Row {
    match state {
        State::Idle => idle(trigger),
        State::Connect => connect(trigger),
        State::Active => active(trigger),
        State::OpenSent => open_sent(trigger),
        State::OpenConfirm => open_confirm(trigger),
        State::Established => established(trigger),
    }
}

use Action as A;
use Trigger as T;

/// Left by a start, or when the IdleHoldTimer has expired.
const fn idle(trigger: Trigger) -> Row {
    match trigger {
        T::ManualStart | T::IdleHoldTimerExpires => {
            (State::Connect, &[A::StartConnectRetryTimer, A::Connect])
        }
        T::ManualStartWithPassiveTcpEstablishment => (State::Active, &[]),
        T::ManualStop
        | T::AutomaticStop
        | T::ConnectRetryTimerExpires
        | T::HoldTimerExpires
        | T::KeepaliveTimerExpires
        | T::SendHoldTimerExpires
        | T::TcpConnectionRequestAcked
        | T::TcpConnectionConfirmed
        | T::TcpConnectionFails
        | T::BgpOpen
        | T::BgpHeaderError
        | T::BgpOpenMessageError
        | T::OpenCollisionDump
        | T::NotificationVersionError
        | T::NotificationMessage
        | T::KeepaliveMessage
        | T::UpdateMessage
        | T::UpdateMessageError
        | T::RouteRefreshMessage => (State::Idle, &[]),
    }
}

/// Left for OpenSent when TCP is there, for Idle when it fails; stays and tries again when the ConnectRetryTimer expires.
const fn connect(trigger: Trigger) -> Row {
    match trigger {
        T::ManualStart | T::ManualStartWithPassiveTcpEstablishment | T::IdleHoldTimerExpires => {
            (State::Connect, &[])
        }
        T::ManualStop => (State::Idle, &[A::Close, A::ForgetFailures, A::StopConnectRetryTimer]),
        T::ConnectRetryTimerExpires => {
            (State::Connect, &[A::Close, A::StartConnectRetryTimer, A::Connect])
        }
        T::TcpConnectionRequestAcked | T::TcpConnectionConfirmed => {
            (State::OpenSent, &[A::StopConnectRetryTimer, A::SendOpen])
        }
        T::TcpConnectionFails
        | T::AutomaticStop
        | T::HoldTimerExpires
        | T::KeepaliveTimerExpires
        | T::SendHoldTimerExpires
        | T::BgpOpen
        | T::BgpHeaderError
        | T::BgpOpenMessageError
        | T::OpenCollisionDump
        | T::NotificationVersionError
        | T::NotificationMessage
        | T::KeepaliveMessage
        | T::UpdateMessage
        | T::UpdateMessageError
        | T::RouteRefreshMessage => {
            (State::Idle, &[A::StopConnectRetryTimer, A::Close, A::CountFailure])
        }
    }
}

/// Left for OpenSent when the peer connects, for Connect when the ConnectRetryTimer expires, for Idle on a failure.
const fn active(trigger: Trigger) -> Row {
    match trigger {
        T::ManualStart | T::ManualStartWithPassiveTcpEstablishment | T::IdleHoldTimerExpires => {
            (State::Active, &[])
        }
        T::ManualStop => (State::Idle, &[A::Close, A::ForgetFailures, A::StopConnectRetryTimer]),
        T::ConnectRetryTimerExpires => (State::Connect, &[A::StartConnectRetryTimer, A::Connect]),
        T::TcpConnectionRequestAcked | T::TcpConnectionConfirmed => {
            (State::OpenSent, &[A::StopConnectRetryTimer, A::SendOpen])
        }
        T::TcpConnectionFails
        | T::AutomaticStop
        | T::HoldTimerExpires
        | T::KeepaliveTimerExpires
        | T::SendHoldTimerExpires
        | T::BgpOpen
        | T::BgpHeaderError
        | T::BgpOpenMessageError
        | T::OpenCollisionDump
        | T::NotificationVersionError
        | T::NotificationMessage
        | T::KeepaliveMessage
        | T::UpdateMessage
        | T::UpdateMessageError
        | T::RouteRefreshMessage => {
            (State::Idle, &[A::StopConnectRetryTimer, A::Close, A::CountFailure])
        }
    }
}

/// Left for OpenConfirm by a good OPEN, for Active when TCP fails, for Idle by everything else.
const fn open_sent(trigger: Trigger) -> Row {
    match trigger {
        T::ManualStart
        | T::ManualStartWithPassiveTcpEstablishment
        | T::TcpConnectionRequestAcked
        | T::TcpConnectionConfirmed => (State::OpenSent, &[]),
        T::ManualStop => (State::Idle, &[A::Notify, A::Close, A::ForgetFailures]),
        T::BgpOpen => {
            (State::OpenConfirm, &[A::SendKeepalive, A::RestartHoldTimer])
        }
        T::TcpConnectionFails => {
            (State::Active, &[A::Close, A::CountFailure, A::StartConnectRetryTimer])
        }
        T::NotificationVersionError => (State::Idle, &[A::Close]),
        T::NotificationMessage => (State::Idle, &[A::Close, A::CountFailure]),
        T::AutomaticStop
        | T::HoldTimerExpires
        | T::BgpHeaderError
        | T::BgpOpenMessageError
        | T::OpenCollisionDump
        // The rest is not expected here (RFC 6608: subcode 1).
        | T::ConnectRetryTimerExpires
        | T::KeepaliveTimerExpires
        | T::IdleHoldTimerExpires
        | T::SendHoldTimerExpires
        | T::KeepaliveMessage
        | T::UpdateMessage
        | T::UpdateMessageError
        | T::RouteRefreshMessage => (State::Idle, &[A::Notify, A::Close, A::CountFailure]),
    }
}

/// Left for Established by a KEEPALIVE, for Idle by everything else that is not silence.
const fn open_confirm(trigger: Trigger) -> Row {
    match trigger {
        T::ManualStart
        | T::ManualStartWithPassiveTcpEstablishment
        | T::TcpConnectionRequestAcked
        | T::TcpConnectionConfirmed => (State::OpenConfirm, &[]),
        T::ManualStop => (State::Idle, &[A::Notify, A::Close, A::ForgetFailures]),
        T::KeepaliveTimerExpires => (State::OpenConfirm, &[A::SendKeepalive]),
        T::KeepaliveMessage => (State::Established, &[A::RestartHoldTimer, A::Establish]),
        T::NotificationVersionError => (State::Idle, &[A::Close]),
        T::TcpConnectionFails | T::NotificationMessage => {
            (State::Idle, &[A::Close, A::CountFailure])
        }
        T::AutomaticStop
        | T::HoldTimerExpires
        | T::BgpHeaderError
        | T::BgpOpenMessageError
        | T::OpenCollisionDump
        // The rest is not expected here (RFC 6608: subcode 2).
        | T::BgpOpen
        | T::ConnectRetryTimerExpires
        | T::IdleHoldTimerExpires
        | T::SendHoldTimerExpires
        | T::UpdateMessage
        | T::UpdateMessageError
        | T::RouteRefreshMessage => (State::Idle, &[A::Notify, A::Close, A::CountFailure]),
    }
}

/// Left for Idle only.
const fn established(trigger: Trigger) -> Row {
    match trigger {
        T::ManualStart
        | T::ManualStartWithPassiveTcpEstablishment
        | T::TcpConnectionRequestAcked
        | T::TcpConnectionConfirmed => (State::Established, &[]),
        T::ManualStop => (State::Idle, &[A::Notify, A::Close, A::ForgetFailures]),
        T::KeepaliveTimerExpires => (State::Established, &[A::SendKeepalive]),
        T::KeepaliveMessage => (State::Established, &[A::RestartHoldTimer]),
        T::UpdateMessage | T::RouteRefreshMessage => {
            (State::Established, &[A::RestartHoldTimer, A::Deliver])
        }
        T::TcpConnectionFails | T::NotificationVersionError | T::NotificationMessage => {
            (State::Idle, &[A::Close, A::CountFailure])
        }
        T::AutomaticStop
        | T::HoldTimerExpires
        | T::SendHoldTimerExpires
        | T::BgpHeaderError
        | T::UpdateMessageError
        | T::OpenCollisionDump
        // The rest is not expected here (RFC 6608: subcode 3).
        | T::BgpOpen
        | T::BgpOpenMessageError
        | T::ConnectRetryTimerExpires
        | T::IdleHoldTimerExpires => (State::Idle, &[A::Notify, A::Close, A::CountFailure]),
    }
}

#[cfg(test)]
mod tests;
