// SPDX-License-Identifier: Apache-2.0
//! Bidirectional Forwarding Detection: RFC 5880 in asynchronous mode, RFC 5881 over a single hop with the Echo function, RFC 5883
//! over several hops. It tells within a few intervals that a neighbour is not reached any more; what follows from that is
//! somebody else's business.
//!
//! It has no authentication (RFC 5880 section 6.7: packets with the A bit are discarded), does not use Demand mode itself (it
//! respects the peer's) and makes no session that it was not told of.
//!
//! ```text
//!   caller ──set_sessions──> commands ──┐            ┌── receive sockets: control 3784 and 4784, Echo 3785
//!   caller <─changes, statuses──────────┤  1 thread  ├── one transmit socket per session
//!                                       │ (net::run) ├── packet socket of the IPv4 Echo function
//!                                       └── Table ───┘   (table: the core, no clock, no sockets)
//! ```

mod delay;
mod echo;
mod key;
mod packet;
mod profile;
mod random;
pub mod robustness;
mod session;
mod state;
mod status;
mod table;

#[cfg(feature = "net")]
pub mod net;

pub use delay::Delay;
pub use echo::EchoPacket;
pub use key::{Hops, SessionKey};
pub use packet::{ControlPacket, DecodeError};
pub use profile::Profile;
pub use state::{Diagnostic, State};
pub use status::{Counters, Status};
pub use table::{Arrival, Event, Output, Table};
