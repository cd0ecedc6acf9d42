// SPDX-License-Identifier: Apache-2.0
//! Looks for what the kernel lacks, by a transaction that is never committed.

use std::time::Duration;

use super::conntrack;
use super::error::{Error, Lack};
use super::kernel::refused;
use super::operation::{Operation, Step, create};
use super::ruleset::{Family, Rule, SERVED, Table};
use super::socket::{Outcome, Socket};

/// A table that never comes to be.
const NAME: &str = "ferrolb-check";

pub(super) fn check(socket: &mut Socket) -> Result<(), Error> {
    for (family, address) in [(Family::V4, vec![192, 0, 2, 1]), (Family::V6, vec![0xfe; 16])] {
        let operations = trial(family, &address);
        match socket.transact(&operations, None, false)? {
            Outcome::Done => {}
            Outcome::Restart => return Err(Error::Busy(1)),
            Outcome::Refused(place, errno) => return Err(lack(&operations, place, errno)),
        }
    }
    conntrack::check(socket)
}

/// All that our tables have. Each rule is tried by its first expression alone, then by its first two, and so on, so that the
/// one that the kernel refuses is the last one of its rule.
fn trial(family: Family, address: &[u8]) -> Vec<Operation> {
    let mut table = Table::new(family, true);
    if let Some(served) = table.elements(SERVED) {
        served.insert(address.to_vec(), None);
    }
    // The device is `lo`; rules with the index of another one would be taken as well.
    table.lead_on("x", address, 1);
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
        let operations = trial(Family::V6, &[0xfe; 16]);
        for expression in ["ct", "dup", "reject", "payload", "meta", "lookup"] {
            let error = lack(&operations, place(&operations, expression), libc::ENOENT);
            let wanted = Lack::Expression { family: Family::V6, expression };
            assert!(matches!(error, Error::Lack(lack) if lack == wanted), "{error}");
        }
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
