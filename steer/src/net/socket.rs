// SPDX-License-Identifier: Apache-2.0
//! The socket of netlink, and the exchanges on it: lists and transactions.

use std::io;
use std::time::Duration;

use netlink_sys::Socket as Netlink;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::error::{Error, Lack};
use super::message::{DONE, ERROR, INTERRUPTED, Message, Messages, Request};
use super::operation::{Operation, batch};

/// An answer that has not come after this time does not come.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The kernel's own parts have at most 32 KiB.
const LONGEST_ANSWER: usize = 128 << 10;
/// What fits into a send buffer of usual size.
const USUAL_BUFFER: usize = 100 << 10;
/// The kernel's `ERESTART`: the generation is another one. No error of the C library has its name.
const RESTART: i32 = 85;

/// The kernel's port of netlink.
const KERNEL: u32 = 0;

/// One socket of netfilter. Blocking, with a time-out.
#[derive(Debug)]
pub(super) struct Socket {
    netlink: Netlink,
    sequence: u32,
    buffer: Vec<u8>,
}

/// How a list ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    All,
    /// It was changed meanwhile.
    Interrupted,
    /// By an error of this number.
    Refused(i32),
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// Somebody else has changed the rules since that generation; nothing was done.
    Restart,
    /// Nothing was done: the place of the operation that was refused first, None for the whole transaction, and the error.
    Refused(Option<usize>, i32),
}

impl Socket {
    pub(super) fn open() -> Result<Self, Error> {
        let failed = |doing| move |source| Error::Socket { doing, source };
        let protocol = isize::try_from(libc::NETLINK_NETFILTER).unwrap_or_default();
        let mut netlink = Netlink::new(protocol).map_err(|source| match source.raw_os_error() {
            Some(libc::EPROTONOSUPPORT) => Lack::Netfilter.into(),
            _ => Error::Socket { doing: "opening a socket of netlink", source },
        })?;
        netlink.bind_auto().map_err(failed("binding a socket of netlink"))?;
        let seconds = i64::try_from(TIMEOUT.as_secs()).unwrap_or(i64::MAX);
        setsockopt(&netlink, sockopt::ReceiveTimeout, &TimeVal::seconds(seconds))
            .map_err(io::Error::from)
            .map_err(failed("setting the time-out of a socket of netlink"))?;
        // Errors come without the message that they are about. Kernels without this option send more octets.
        let _ = netlink.set_cap_ack(true);
        let buffer = Vec::with_capacity(LONGEST_ANSWER);
        Ok(Self { netlink, sequence: 0, buffer })
    }

    /// Sends a request and gives each message of the answer, until its end.
    pub(super) fn list(
        &mut self,
        request: &Request,
        each: &mut dyn FnMut(Message<'_>),
    ) -> Result<Listed, Error> {
        let sequence = self.next_sequence(1);
        let mut octets = Vec::new();
        request.write(sequence, &mut octets);
        self.send(&octets)?;
        let mut interrupted = false;
        loop {
            self.receive("reading a list")?;
            for message in Messages(&self.buffer).filter(|message| message.sequence == sequence) {
                interrupted |= message.flags & INTERRUPTED != 0;
                match message.kind {
                    DONE | ERROR => {
                        return Ok(match message.errno() {
                            Some(0) if interrupted => Listed::Interrupted,
                            Some(0) => Listed::All,
                            Some(libc::EINTR) => Listed::Interrupted,
                            errno => Listed::Refused(errno.unwrap_or(libc::EBADMSG)),
                        });
                    }
                    _ => each(message),
                }
            }
        }
    }

    /// Has the kernel do all operations at once, or none. Without `commit` the kernel only checks them.
    pub(super) fn transact(
        &mut self,
        operations: &[Operation],
        generation: Option<u32>,
        commit: bool,
    ) -> Result<Outcome, Error> {
        let first = self.sequence.wrapping_add(1);
        let (octets, counts) = batch(operations, generation, first, commit);
        let total = u32::try_from(counts.iter().sum::<usize>()).unwrap_or(u32::MAX);
        // The begin, the messages and the end.
        self.next_sequence(total.saturating_add(2));
        self.send(&octets)?;
        loop {
            self.receive("waiting for the answer to a transaction")?;
            let answers = Messages(&self.buffer).filter(|message| message.kind == ERROR);
            for message in answers {
                // 0 is the begin; errors come in the order of the messages, and the last one is always answered.
                let place = message.sequence.wrapping_sub(first);
                let errno = message.errno().unwrap_or(libc::EBADMSG);
                match errno {
                    0 if place == total => return Ok(Outcome::Done),
                    0 => {}
                    RESTART if place == 0 => return Ok(Outcome::Restart),
                    _ if place > total.saturating_add(1) => {}
                    _ => return Ok(Outcome::Refused(operation_of(&counts, place), errno)),
                }
            }
        }
    }

    fn send(&self, octets: &[u8]) -> Result<(), Error> {
        if octets.len() > USUAL_BUFFER {
            // The permission may be missing for the first; the send fails if both were not enough.
            let size = octets.len().saturating_mul(2);
            if setsockopt(&self.netlink, sockopt::SndBufForce, &size).is_err() {
                let _ = setsockopt(&self.netlink, sockopt::SndBuf, &size);
            }
        }
        let sent = self.netlink.send(octets, 0);
        sent.map(drop).map_err(|source| Error::Socket { doing: "sending to the kernel", source })
    }

    /// Takes one part of an answer into the buffer.
    fn receive(&mut self, doing: &'static str) -> Result<(), Error> {
        loop {
            self.buffer.clear();
            match self.netlink.recv_from(&mut self.buffer, libc::MSG_TRUNC) {
                Ok((length, _)) if length > self.buffer.len() => {
                    let source = io::Error::other(format!("{length} octets at once"));
                    return Err(Error::Answer { doing, source });
                }
                Ok((_, from)) if from.port_number() == KERNEL => return Ok(()),
                // Another program's, which nobody asked.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Answer { doing, source }),
            }
        }
    }

    /// The first of so many numbers that no other message has.
    fn next_sequence(&mut self, count: u32) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count);
        first
    }
}

/// The operation that the message at this place of a batch belongs to. Place 0 is the begin.
fn operation_of(counts: &[usize], place: u32) -> Option<usize> {
    let mut left = usize::try_from(place).ok()?.checked_sub(1)?;
    for (index, count) in counts.iter().enumerate() {
        left = match left.checked_sub(*count) {
            Some(rest) => rest,
            None => return Some(index),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::operation_of;

    #[test]
    fn a_message_belongs_to_the_operation_that_made_it() {
        let counts = [1, 0, 3, 1];
        let places: Vec<_> = (0..7).map(|place| operation_of(&counts, place)).collect();
        assert_eq!(places, [None, Some(0), Some(2), Some(2), Some(2), Some(3), None]);
    }
}
