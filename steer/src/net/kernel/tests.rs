// SPDX-License-Identifier: Apache-2.0
//! Transactions that the kernel does not carry out, in a namespace.

use testlab::Namespace;

use super::super::expression::Verdict;
use super::super::operation::create;
use super::super::ruleset::{Table, Version};
use super::*;

const LINGER: Duration = Duration::from_secs(3);

fn nft(node: &Namespace, words: &str) -> String {
    let mut command = node.command("nft");
    command.args(words.split_whitespace());
    let output = testlab::output(&mut command).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_change_of_somebody_else_in_between_stops_the_transaction() {
    let node = Namespace::new("steer", "node");
    let mut kernel = node.inside(|| Kernel::open().unwrap());
    let before = kernel.generation().unwrap();
    assert_eq!(kernel.transact(&[], before).unwrap(), Some(()));
    nft(&node, "add table ip other");
    let operations = create(&Table::new(Version::V4, true), TABLE, LINGER);
    assert_eq!(kernel.transact(&operations, before).unwrap(), None);
    assert_eq!(kernel.transact(&[], before).unwrap(), None);
    assert_eq!(nft(&node, "list tables"), "table ip other\n");
    let now = kernel.generation().unwrap();
    assert_eq!(kernel.transact(&operations, now).unwrap(), Some(()));
    assert!(nft(&node, "list tables").contains("table ip ferrolb"));
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_message_that_is_refused_is_named_and_nothing_is_done() {
    let node = Namespace::new("steer", "node");
    let mut kernel = node.inside(|| Kernel::open().unwrap());
    let mut operations = create(&Table::new(Version::V6, true), TABLE, LINGER);
    let verdict = Some(Verdict::Goto("nowhere".to_owned()));
    let elements = vec![(vec![0; 16], verdict)];
    let step = Step::NewElements { set: "clients".to_owned(), elements, timeout: None };
    let place = operations.len() + 1;
    operations.extend(of(Family::V6, TABLE, vec![step, Step::DeleteSet("none".to_owned())]));
    let generation = kernel.generation().unwrap();
    let error = kernel.transact(&operations, generation).unwrap_err();
    let Error::Refused { number, message, source } = error else { panic!("{error}") };
    assert_eq!((number, source.raw_os_error()), (place, Some(libc::ENOENT)));
    assert_eq!(message, "new elements of set ip6 ferrolb clients");
    assert_eq!(nft(&node, "list tables"), "");
    // The answers that are left from the first do not disturb the next.
    operations.truncate(place - 1);
    assert_eq!(kernel.transact(&operations, generation).unwrap(), Some(()));
}

#[test]
fn others_that_change_all_the_time_end_the_attempts() {
    let mut kernel = Kernel::open().unwrap();
    let mut count = 0;
    let error = kernel.attempts::<()>(|_| {
        count += 1;
        Ok(None)
    });
    assert!(matches!(error.unwrap_err(), Error::Busy(ATTEMPTS)));
    assert_eq!(count, ATTEMPTS);
}
