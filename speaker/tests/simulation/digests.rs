// SPDX-License-Identifier: Apache-2.0
//! Who answered when, in each history, as one number: a change that is meant to move nothing moves none of them.
//!
//! `FERROLB_DIGESTS=write FERROLB_SEEDS=2000` writes the file anew, for a change that is meant to move something.

use std::collections::BTreeMap;
use std::fmt::Write;

/// One line per seed, from 0: a number of 64 bits in hexadecimal.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/simulation/digests.txt");

/// Compares the digests of some seeds with those in the file.
pub(crate) fn compare(digests: &BTreeMap<u64, u64>) {
    if std::env::var("FERROLB_DIGESTS").is_ok_and(|it| it == "write") {
        let text = digests.values().fold(String::new(), |mut text, digest| {
            let _ = writeln!(text, "{digest:016x}");
            text
        });
        return std::fs::write(FILE, text).unwrap();
    }
    let text = std::fs::read_to_string(FILE).unwrap();
    let known = |line: &str| u64::from_str_radix(line, 16).unwrap();
    let known: BTreeMap<u64, u64> = (0..).zip(text.lines().map(known)).collect();
    let differ = |(seed, digest): &(&u64, &u64)| known.get(*seed).is_some_and(|it| it != *digest);
    let others: Vec<u64> = digests.iter().filter(differ).map(|(seed, _)| *seed).collect();
    let some = &others[..others.len().min(10)];
    assert!(
        others.is_empty(),
        "in {} histories others answer, or at other times, than before: {some:?}. If that is meant, {}",
        others.len(),
        "`make digests` writes who answers when anew",
    );
}
