// SPDX-License-Identifier: Apache-2.0
//! The daemon's shells, `ferrolb run` and the simulation carry the inputs and effects of one `Core` and decide nothing beside it: none
//! of them names a part of which the core is made.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};

/// The parts of a core, each of which decides something.
const PARTS: [&str; 16] = [
    "LinkCheck",
    "Membership::",
    "MembershipView::",
    "Handovers",
    "PortCheck",
    "Postponed",
    "OwnershipTable",
    "Placement",
    "Speaker::new",
    "RouteBooks",
    "AnnouncedCondition::",
    "ConflictBook",
    "Circumstances",
    "announce_sharers",
    "election",
    "eligibility",
];

fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            sources(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        found.push(path.to_owned());
    }
}

#[test]
fn shells_and_simulation_compose_the_core_and_nothing_beside_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for place in
        ["src/net", "tests/simulation", "../cli/src/run.rs", "../cli/src/run", "../cli/src/ring.rs"]
    {
        let before = files.len();
        sources(&root.join(place), &mut files);
        assert!(files.len() > before, "{place} is gone");
    }
    let mut drivers = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let code: Vec<&str> =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for part in PARTS {
            let named = code.iter().find(|line| line.contains(part));
            assert_eq!(named, None, "{} names {part}", file.display());
        }
        drivers += usize::from(code.iter().any(|line| line.contains("core.decide(")));
    }
    assert_eq!(drivers, 2, "the driver of both programs, and that of the simulation");
}
