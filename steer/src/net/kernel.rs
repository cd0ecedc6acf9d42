// SPDX-License-Identifier: Apache-2.0
//! Makes the kernel's tables equal to a value.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::net::if_::if_nametoindex;

use super::difference::{Difference, Repair, difference};
use super::error::{Error, Lack};
use super::found::Found;
use super::keep::{Keep, LeftOut, Ruleset, family_of, octets};
use super::message::{ACKNOWLEDGE, DUMP, Request, nftables};
use super::operation::{
    GET_CHAIN, GET_ELEMENT, GET_GENERATION, GET_RULE, GET_SET, GET_TABLE, NEW_GENERATION,
    Operation, Step, elements, of,
};
use super::ruleset::{Family, SERVED, TABLE};
use super::socket::{Listed, Outcome, Socket};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
/// Other programs change rules of their own now and then; each change costs us one attempt.
const ATTEMPTS: u32 = 20;

/// The kernel's nf_tables in the network namespace of the thread that opened it. Its functions block, for the time-out of the
/// socket (5 s) at most for each answer: call them on a thread of their own, which stays in that namespace.
#[derive(Debug)]
pub struct Kernel {
    socket: Socket,
    last: Option<Last>,
}

/// The value that the kernel was made equal to.
#[derive(Debug)]
struct Last {
    ruleset: Ruleset,
    linger: Duration,
}

/// The result of a [`Kernel::apply`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The operations of the transaction. 0: nothing differed, and nothing was sent.
    pub operations: usize,
    /// The changes that others had made since the last successful `apply`. Empty for the first one: nobody knows then what was there.
    pub repaired: Vec<Repair>,
    /// The steps that no rule has.
    pub left_out: Vec<LeftOut>,
}

/// The result of a [`Kernel::clear`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// The families whose table was taken away.
    pub removed: Vec<Family>,
    /// The families that have a table of our name without our mark, which stays.
    pub foreign: Vec<Family>,
}

impl Kernel {
    /// Opens a socket of netlink.
    ///
    /// # Errors
    /// Where the kernel has no netfilter, or the process may have no further file.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { socket: Socket::open()?, last: None })
    }

    /// Makes the tables equal to this value, in one transaction. Elements of the gate that differ in anything get the
    /// time-out `linger` anew, all at once; those that are as wanted run on: [`Self::renew`] renews them. `linger` is at least
    /// 1 ms and at most a year.
    ///
    /// Counters of what is made anew begin with 0.
    ///
    /// # Errors
    /// Where a table of our name is not ours, where the kernel refuses or lacks something, and where other programs change
    /// the rules again and again. The kernel's tables are as before then.
    pub fn apply(&mut self, keep: &Keep, linger: Duration) -> Result<Applied, Error> {
        let (ruleset, left_out) = keep.ruleset(&|name| if_nametoindex(name).ok());
        let (operations, repaired) = self.attempts(|kernel| kernel.attempt(&ruleset, linger))?;
        self.last = Some(Last { ruleset, linger });
        Ok(Applied { operations, repaired, left_out })
    }

    /// Gives the elements of the gate this time-out from now on: of all addresses that the last `apply` put there, those
    /// that are named. The elements of the others are taken away.
    ///
    /// # Errors
    /// [`Error::Gone`] where there is no table or set to put them in; else as [`Self::apply`].
    pub fn renew(&mut self, addresses: &BTreeSet<IpAddr>, linger: Duration) -> Result<(), Error> {
        let last = self.last.as_mut().ok_or(Error::Gone)?;
        let mut ruleset = last.ruleset.clone();
        let mut operations = Vec::new();
        for table in &mut ruleset.tables {
            let family = table.family;
            let named: BTreeSet<Vec<u8>> = addresses
                .iter()
                .filter(|address| family_of(**address) == family)
                .map(|address| octets(*address))
                .collect();
            let Some(served) = table.sets.get_mut(SERVED) else { continue };
            served.elements.retain(|address, _| named.contains(address));
            let mut steps = vec![Step::FlushSet(SERVED.to_owned())];
            steps.extend(elements(SERVED, served, linger));
            operations.extend(of(family, TABLE, steps));
        }
        match self.socket.transact(&operations, None, true)? {
            Outcome::Refused(_, libc::ENOENT) => Err(Error::Gone),
            Outcome::Refused(place, errno) => Err(refused(&operations, place, errno)),
            Outcome::Restart => Err(Error::Busy(1)),
            Outcome::Done => {
                self.last = Some(Last { ruleset, linger });
                Ok(())
            }
        }
    }

    /// The packets that were led on to each fellow of the last `apply`, over both families, since the fellow's rules were
    /// made. A number that is smaller than before means that they were made anew.
    ///
    /// # Errors
    /// Where the kernel does not list the rules.
    pub fn counters(&mut self) -> Result<BTreeMap<Arc<str>, u64>, Error> {
        let Some(last) = &self.last else { return Ok(BTreeMap::new()) };
        let mut counters: BTreeMap<Arc<str>, u64> =
            last.ruleset.chains.values().map(|fellow| (Arc::clone(fellow), 0)).collect();
        let chains = last.ruleset.chains.clone();
        for family in FAMILIES {
            let mut found = Found::default();
            self.list(GET_RULE, family, None, "rules", &mut found)?;
            for (name, chain) in &found.chains {
                if let Some(counter) = chains.get(name).and_then(|it| counters.get_mut(it)) {
                    *counter = counter.saturating_add(chain.packets);
                }
            }
        }
        Ok(counters)
    }

    /// Takes our tables away, if there are any, whichever process has made them. Tables of our name without our mark stay.
    ///
    /// # Errors
    /// Where the kernel refuses or lacks something, and where other programs change the rules again and again. The kernel's
    /// tables are as before then.
    pub fn clear(&mut self) -> Result<Cleared, Error> {
        let cleared = self.attempts(|kernel| {
            let generation = kernel.generation()?;
            let (mut operations, mut cleared) = (Vec::new(), Cleared::default());
            for family in FAMILIES {
                match kernel.table(family)? {
                    Some(Found { format: None, .. }) => cleared.foreign.push(family),
                    Some(_) => {
                        operations.extend(of(family, TABLE, vec![Step::DeleteTable]));
                        cleared.removed.push(family);
                    }
                    None => {}
                }
            }
            Ok(kernel.transact(&operations, generation)?.map(|()| cleared))
        })?;
        self.last = None;
        Ok(cleared)
    }

    /// Looks whether the kernel has all that the tables need, and the process the permission. All is tried in a transaction
    /// that is never committed, so nothing is changed.
    ///
    /// # Errors
    /// [`Error::Lack`] names the first part that is missing; others say that the kernel could not be asked.
    pub fn check(&mut self) -> Result<(), Error> {
        super::check::check(&mut self.socket)
    }

    /// Tries until nobody else has changed rules in between.
    fn attempts<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Self) -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        for _ in 0..ATTEMPTS {
            if let Some(value) = attempt(self)? {
                return Ok(value);
            }
        }
        Err(Error::Busy(ATTEMPTS))
    }

    /// One attempt: the operations that were done and what was repaired. None where somebody else changed rules meanwhile.
    fn attempt(
        &mut self,
        wanted: &Ruleset,
        linger: Duration,
    ) -> Result<Option<(usize, Vec<Repair>)>, Error> {
        let generation = self.generation()?;
        let (mut operations, mut repaired) = (Vec::new(), Vec::new());
        for (index, table) in wanted.tables.iter().enumerate() {
            let family = table.family;
            let Some(found) = self.look(family)? else { return Ok(None) };
            let foreign = || Error::Foreign(family);
            let Difference { operations: mut steps, .. } =
                difference(table, found.as_ref(), linger).ok_or_else(foreign)?;
            operations.append(&mut steps);
            let before = self.last.as_ref();
            let before =
                before.and_then(|last| Some((last.ruleset.tables.get(index)?, last.linger)));
            if let Some((table, linger)) = before {
                let Difference { wrong, .. } =
                    difference(table, found.as_ref(), linger).ok_or_else(foreign)?;
                repaired.extend(wrong.into_iter().map(|what| Repair { family, what }));
            }
        }
        let count = operations.len();
        Ok(self.transact(&operations, generation)?.map(|()| (count, repaired)))
    }

    /// Commits if the generation is still this one. Without operations only that is looked at.
    fn transact(&mut self, operations: &[Operation], generation: u32) -> Result<Option<()>, Error> {
        if operations.is_empty() {
            return Ok((self.generation()? == generation).then_some(()));
        }
        match self.socket.transact(operations, Some(generation), true)? {
            Outcome::Done => Ok(Some(())),
            Outcome::Restart => Ok(None),
            Outcome::Refused(place, errno) => Err(refused(operations, place, errno)),
        }
    }

    /// The number of the last change of rules by anybody.
    fn generation(&mut self) -> Result<u32, Error> {
        let request = Request::nftables(GET_GENERATION, ACKNOWLEDGE, 0);
        let mut generation = None;
        let listed = self.socket.list(&request, &mut |message| {
            if message.kind == nftables(NEW_GENERATION) {
                generation = message.attributes().be32(1);
            }
        })?;
        match (listed, generation) {
            (Listed::All, Some(generation)) => Ok(generation),
            (Listed::Refused(errno), _) => Err(unlisted("generation of rules", errno)),
            _ => Err(unlisted("generation of rules", libc::EBADMSG)),
        }
    }

    /// Our table of a family as it is; the inner None: there is none; the outer: it changed while it was listed.
    fn look(&mut self, family: Family) -> Result<Option<Option<Found>>, Error> {
        let Some(mut found) = self.table(family)? else { return Ok(Some(None)) };
        if found.format.is_none() {
            return Ok(Some(Some(found)));
        }
        for (message, what) in [(GET_CHAIN, "chains"), (GET_SET, "sets"), (GET_RULE, "rules")] {
            if !self.list(message, family, None, what, &mut found)? {
                return Ok(None);
            }
        }
        for set in found.sets.keys().cloned().collect::<Vec<_>>() {
            if !self.list(GET_ELEMENT, family, Some(&set), "elements", &mut found)? {
                return Ok(None);
            }
        }
        Ok(Some(Some(found)))
    }

    /// The table alone, without what it holds.
    fn table(&mut self, family: Family) -> Result<Option<Found>, Error> {
        let mut request = Request::nftables(GET_TABLE, ACKNOWLEDGE, family.number());
        request.attributes.text(1, TABLE);
        let mut found = None;
        let listed = self.socket.list(&request, &mut |message| {
            found = Found::table(message).or(found.take());
        })?;
        match listed {
            Listed::Refused(libc::ENOENT) => Ok(None),
            Listed::Refused(errno) => Err(unlisted("tables", errno)),
            _ if found.is_none() => Err(unlisted("tables", libc::EBADMSG)),
            _ => Ok(found),
        }
    }

    /// Adds parts of our table to what was found. Returns false if they changed while they were listed.
    fn list(
        &mut self,
        message: u16,
        family: Family,
        set: Option<&str>,
        what: &'static str,
        found: &mut Found,
    ) -> Result<bool, Error> {
        let mut request = Request::nftables(message, DUMP, family.number());
        request.attributes.text(1, TABLE);
        if let Some(set) = set {
            request.attributes.text(2, set);
        }
        match self.socket.list(&request, &mut |message| found.add(family, TABLE, message))? {
            Listed::All => Ok(true),
            // The table or the set went away meanwhile.
            Listed::Interrupted | Listed::Refused(libc::ENOENT) => Ok(false),
            Listed::Refused(errno) => Err(unlisted(what, errno)),
        }
    }
}

/// The error of something that the kernel does not list.
pub(super) fn unlisted(what: &'static str, errno: i32) -> Error {
    match errno {
        libc::EPERM => Lack::Permission.into(),
        // No part of netfilter answers to messages of this kind.
        libc::EOPNOTSUPP | libc::EINVAL if what == "connections" => Lack::Connections.into(),
        libc::EOPNOTSUPP => Lack::Tables.into(),
        _ => Error::Unlisted { what, source: io::Error::from_raw_os_error(errno) },
    }
}

/// The error of a transaction that the kernel refused.
pub(super) fn refused(operations: &[Operation], place: Option<usize>, errno: i32) -> Error {
    match (place, errno) {
        (None, libc::EPERM) => Lack::Permission.into(),
        (None, libc::EOPNOTSUPP) => Lack::Tables.into(),
        _ => {
            let operation = place.and_then(|place| operations.get(place));
            Error::Refused {
                number: place.map_or(0, |place| place + 1),
                message: operation
                    .map_or_else(|| "the whole of it".to_owned(), ToString::to_string),
                source: io::Error::from_raw_os_error(errno),
            }
        }
    }
}

#[cfg(test)]
mod tests;
