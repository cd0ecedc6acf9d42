// SPDX-License-Identifier: Apache-2.0
//! Looks for what the kernel lacks, by a transaction that is never committed.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use super::conntrack;
use super::error::{Error, Lack};
use super::ingress::VERSIONS;
use super::keep::Keep;
use super::kernel::refused;
use super::operation::{Operation, Step, create};
use super::ruleset::{Rule, SERVED, Table, Version};
use super::socket::{Outcome, Socket};
use crate::history::Steps;
use crate::spread::{HashBy, Spread};
use crate::station::Station;

/// A table that never comes to be.
const NAME: &str = "ferrolb-check";

pub(super) fn check(socket: &mut Socket) -> Result<(), Error> {
    VERSIONS.into_iter().try_for_each(|version| try_out(socket, &trial(version)))?;
    conntrack::check(socket)
}

/// The same for what addresses need that several nodes serve.
pub(super) fn check_spread(socket: &mut Socket) -> Result<(), Error> {
    spread_trials().try_for_each(|operations| try_out(socket, &operations))
}

fn try_out(socket: &mut Socket, operations: &[Operation]) -> Result<(), Error> {
    match socket.transact(operations, None, false)? {
        Outcome::Done => Ok(()),
        Outcome::Restart => Err(Error::Busy(1)),
        Outcome::Refused(place, errno) => Err(lack(operations, place, errno)),
    }
}

/// All that our tables of this version have.
fn trial(version: Version) -> Vec<Operation> {
    let address: &[u8] = match version {
        Version::V4 => &[192, 0, 2, 1],
        Version::V6 => &[0xfe; 16],
    };
    let mut table = Table::new(version, true);
    if let Some(served) = table.elements(SERVED) {
        served.insert(address.to_vec(), None);
    }
    // The device is `lo`; rules with the index of another one would be taken as well.
    table.lead_on(version, "x", address, 1);
    by_parts(table)
}

/// All tables with a bucket of an address of each version.
fn spread_trials() -> impl Iterator<Item = Vec<Operation>> {
    let name: Arc<str> = "x".into();
    let steps = Steps { client: Some(Arc::clone(&name)), ..Steps::default() };
    let spread = Arc::new(Spread {
        buckets: vec![Some(Arc::clone(&name))],
        steps: BTreeMap::from([(steps, vec![0])]),
        hash: HashBy::default(),
    });
    let station = Station {
        interface: "lo".into(),
        hardware_address: [2, 0, 0, 0, 0, 1],
        address_v4: Some(Ipv4Addr::LOCALHOST),
        address_v6: Some(Ipv6Addr::LOCALHOST),
    };
    let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let keep = Keep {
        fellows: BTreeMap::from([(name, station)]),
        spread: addresses.map(|address| (address, Arc::clone(&spread))).into(),
        ..Keep::default()
    };
    keep.ruleset(&|_| Some(1)).0.tables.into_values().map(by_parts)
}

/// The steps that make a table. Each rule is tried by its first expression alone, then by its first two, and so on, so that the
/// one that the kernel refuses is the last one of its rule.
fn by_parts(mut table: Table) -> Vec<Operation> {
    for chain in table.chains.values_mut() {
        chain.rules = chain.rules.iter().flat_map(beginnings).collect();
    }
    create(&table, NAME, Duration::from_secs(1))
}

fn beginnings(rule: &Rule) -> impl Iterator<Item = Rule> {
    (1..=rule.0.len()).filter_map(|length| Some(Rule(rule.0.get(..length)?.to_vec())))
}

fn lack(operations: &[Operation], place: Option<usize>, errno: i32) -> Error {
    let operation = place.and_then(|place| operations.get(place));
    let absent = matches!(
        errno,
        libc::ENOENT | libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EINVAL | libc::EPROTONOSUPPORT
    );
    let Some(Operation { family, what, .. }) = operation.filter(|_| absent) else {
        return refused(operations, place, errno);
    };
    let family = *family;
    let lack = match what {
        Step::NewRule { rule, .. } => {
            let expression = rule.0.last().map_or("rule", |expression| expression.name());
            Lack::Expression { family, expression }
        }
        Step::NewSet { .. } | Step::NewElements { .. } => Lack::Sets(family),
        _ => Lack::Family(family),
    };
    lack.into()
}

#[cfg(test)]
mod tests {
    use super::super::ruleset::Family;
    use super::*;

    /// The place of the first rule that ends with this expression.
    fn place(operations: &[Operation], name: &str) -> Option<usize> {
        operations.iter().position(|operation| match &operation.what {
            Step::NewRule { rule, .. } => rule.0.last().is_some_and(|last| last.name() == name),
            _ => false,
        })
    }

    #[test]
    fn what_is_refused_is_named() {
        let operations = trial(Version::V6);
        for expression in ["ct", "dup", "reject", "payload", "meta", "lookup"] {
            let error = lack(&operations, place(&operations, expression), libc::ENOENT);
            let wanted = Lack::Expression { family: Family::V6, expression };
            assert!(matches!(error, Error::Lack(lack) if lack == wanted), "{error}");
        }
        let trials: Vec<_> = spread_trials().collect();
        let families = [Family::V4, Family::V6, Family::Netdev];
        assert!(trials.iter().map(|it| it[0].family).eq(families));
        for (family, expression, trial) in [
            (families[0], "hash", 0),
            (families[1], "hash", 1),
            (families[2], "hash", 2),
            (families[2], "fwd", 2),
        ] {
            let error = lack(&trials[trial], place(&trials[trial], expression), libc::ENOENT);
            let wanted = Lack::Expression { family, expression };
            assert!(matches!(error, Error::Lack(lack) if lack == wanted), "{error}");
        }
        let error = lack(&trials[2], Some(0), libc::EAFNOSUPPORT);
        assert!(matches!(error, Error::Lack(Lack::Family(Family::Netdev))), "{error}");
        let error = lack(&operations, Some(0), libc::EAFNOSUPPORT);
        assert!(matches!(error, Error::Lack(Lack::Family(Family::V6))), "{error}");
        let error = lack(&operations, None, libc::EPERM);
        assert!(matches!(error, Error::Lack(Lack::Permission)), "{error}");
        let error = lack(&operations, None, libc::EOPNOTSUPP);
        assert!(matches!(error, Error::Lack(Lack::Tables)), "{error}");
        let error = lack(&operations, Some(0), libc::ENOMEM);
        assert!(matches!(error, Error::Refused { number: 1, .. }), "{error}");
    }
}
