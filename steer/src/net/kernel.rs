// SPDX-License-Identifier: Apache-2.0
//! Makes the kernel's tables equal to a value.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::net::if_::if_nametoindex;

use super::difference::{Repair, Stages, difference_of};
use super::error::{Error, Lack};
use super::found::Found;
use super::keep::{Keep, LeftOut, Ruleset, octets};
use super::message::{ACKNOWLEDGE, DUMP, Request, nftables};
use super::operation::{
    GET_CHAIN, GET_ELEMENT, GET_GENERATION, GET_RULE, GET_SET, GET_TABLE, NEW_GENERATION,
    Operation, Step, elements, of,
};
use super::ruleset::{FLOWS, Family, Key, TABLE};
use super::socket::{Listed, Outcome, Socket};

/// The families that we may have a table of.
const FAMILIES: [Family; 3] = [Family::V4, Family::V6, Family::Netdev];
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
    /// False from the first stage of a later change on: then what differs need not be others' doing.
    is_whole: bool,
}

/// A stage of an [`Kernel::apply`] that was done.
struct Stage {
    operations: usize,
    /// The changes that others had made before it.
    repaired: Vec<Repair>,
    is_last: bool,
}

/// The result of a [`Kernel::apply`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The operations of all transactions. 0: nothing differed, and nothing was sent.
    pub operations: usize,
    /// The changes that others had made since the last successful `apply`. Empty for the first one: nobody knows then what was there.
    pub repaired: Vec<Repair>,
    /// The parts of the value that no rule has.
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

    /// Makes the tables equal to this value. The change is one transaction; new chains and sets come by one before that, and those
    /// that nothing leads to any more go by one behind that. Elements of the gate that differ in anything get the
    /// time-out `linger` anew, all at once; those that are as wanted run on: [`Self::renew`] renews them. `linger` is at least
    /// 1 ms and at most a year.
    ///
    /// Counters of what is made anew begin with 0.
    ///
    /// # Errors
    /// Where a table of our name is not ours, where the kernel refuses or lacks something, and where other programs change
    /// the rules again and again. The kernel leads on as before then.
    pub fn apply(&mut self, keep: &Keep, linger: Duration) -> Result<Applied, Error> {
        let (mut ruleset, left_out) = keep.ruleset(&|name| if_nametoindex(name).ok());
        for (family, table) in &mut ruleset.tables {
            let last = self.last.as_ref().and_then(|last| last.ruleset.tables.get(family));
            let last = last.and_then(|table| table.sets.get(FLOWS));
            if let (Some(flows), Some(last)) = (table.sets.get_mut(FLOWS), last) {
                flows.before = last.elements.keys().cloned().collect();
            }
        }
        let mut applied = Applied { left_out, ..Applied::default() };
        // There are three stages, and others may undo what one has done.
        for _ in 0..ATTEMPTS {
            let Stage { operations, repaired, is_last } =
                self.attempts(|kernel| kernel.attempt(&ruleset, linger))?;
            applied.operations += operations;
            applied.repaired.extend(repaired);
            if is_last {
                self.last = Some(Last { ruleset, linger, is_whole: true });
                return Ok(applied);
            }
            if let Some(last) = &mut self.last {
                last.is_whole = false;
            }
        }
        Err(Error::Busy(ATTEMPTS))
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
        let named: BTreeSet<Vec<u8>> = addresses.iter().map(|it| octets(*it)).collect();
        for table in ruleset.tables.values_mut() {
            let mut steps = Vec::new();
            for (name, set) in &mut table.sets {
                if set.expires && matches!(set.key, Key::Address(_)) {
                    set.elements.retain(|address, _| named.contains(address));
                    steps.push(Step::FlushSet(name.clone()));
                    steps.extend(elements(name, set, linger));
                }
            }
            operations.extend(of(table.family, TABLE, steps));
        }
        match self.socket.transact(&operations, None, true)? {
            Outcome::Refused(_, libc::ENOENT) => Err(Error::Gone),
            Outcome::Refused(place, errno) => Err(refused(&operations, place, errno)),
            Outcome::Restart => Err(Error::Busy(1)),
            Outcome::Done => {
                last.ruleset = ruleset;
                last.linger = linger;
                Ok(())
            }
        }
    }

    /// The packets of connections that the node does not know, which were led on to each fellow of the last `apply`, over both
    /// versions of IP, since the fellow's rules were made. A number that is smaller than before means that they were made anew.
    ///
    /// # Errors
    /// Where the kernel does not list the rules.
    pub fn counters(&mut self) -> Result<BTreeMap<Arc<str>, u64>, Error> {
        self.counted(&[Family::V4, Family::V6])
    }

    /// The same of clients' frames that were led on by bucket.
    ///
    /// # Errors
    /// As [`Self::counters`].
    pub fn bucket_counters(&mut self) -> Result<BTreeMap<Arc<str>, u64>, Error> {
        self.counted(&[Family::Netdev])
    }

    fn counted(&mut self, families: &[Family]) -> Result<BTreeMap<Arc<str>, u64>, Error> {
        let Some(last) = &self.last else { return Ok(BTreeMap::new()) };
        let mut counters: BTreeMap<Arc<str>, u64> =
            last.ruleset.chains.values().map(|fellow| (Arc::clone(fellow), 0)).collect();
        let chains = last.ruleset.chains.clone();
        for family in families {
            let mut found = Found::default();
            self.list(GET_RULE, *family, None, "rules", &mut found)?;
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

    /// The same for what [`Keep::spread`] needs beyond that.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_spread(&mut self) -> Result<(), Error> {
        super::check::check_spread(&mut self.socket)
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

    /// One attempt at the first stage of what differs. None where somebody else changed rules meanwhile.
    fn attempt(&mut self, wanted: &Ruleset, linger: Duration) -> Result<Option<Stage>, Error> {
        let generation = self.generation()?;
        let (mut stages, mut repaired) = (Stages::default(), Vec::new());
        for family in FAMILIES {
            let Some(found) = self.look(family)? else { return Ok(None) };
            let found = found.as_ref();
            let differs = difference_of(family, wanted.tables.get(&family), found, linger);
            stages.append(differs.ok_or(Error::Foreign(family))?.stages);
            let before = self.last.as_ref().filter(|last| last.is_whole);
            let before = before.and_then(|last| {
                difference_of(family, last.ruleset.tables.get(&family), found, last.linger)
            });
            let wrong = before.map(|before| before.wrong).unwrap_or_default();
            repaired.extend(wrong.into_iter().map(|what| Repair { family, what }));
        }
        let (operations, is_last) = stages.first();
        let done = self.transact(&operations, generation)?;
        Ok(done.map(|()| Stage { operations: operations.len(), repaired, is_last }))
    }

    /// Commits if the generation is still this one. Without operations only that is looked at.
    fn transact(&mut self, operations: &[Operation], generation: u32) -> Result<Option<()>, Error> {
        if operations.is_empty() {
            return Ok((self.generation()? == generation).then_some(()));
        }
        match self.socket.transact(operations, Some(generation), true)? {
            Outcome::Done => Ok(Some(())),
            Outcome::Restart => Ok(None),
            // A flow ran out between the list and the transaction.
            Outcome::Refused(Some(place), libc::ENOENT)
                if matches!(
                    operations.get(place).map(|it| &it.what),
                    Some(Step::DeleteElements { set, .. }) if set == FLOWS
                ) =>
            {
                Ok(None)
            }
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
