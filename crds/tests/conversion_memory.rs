// SPDX-License-Identifier: Apache-2.0
//! What a question costs in memory, whatever it holds: three times its octets at most, and a fixed amount for the object at hand. Each is
//! asked in a process of its own, whose peak the kernel tells (proc(5), `VmHWM`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what tests share fails by panicking, as they do"
)]

use std::process::Command;

use crds::admission::{Review, converted};

/// What the process that is measured is asked.
const KIND: &str = "CONVERSION_MEMORY_KIND";
/// The longest question that is read, in octets.
const LONG: usize = 62 << 20;
/// Beside the question: the tree of one object, and what the process does otherwise.
const FIXED: usize = 24 << 20;

/// The kinds of questions.
const KINDS: [&str; 9] =
    ["maps", "lists", "zeros", "texts", "deep", "one object", "peers", "pools", "version"];

fn repeated(piece: &str, octets: usize) -> String {
    let mut text = String::with_capacity(octets + piece.len());
    while text.len() < octets {
        text.push_str(piece);
    }
    text.truncate(text.len() - 1);
    text
}

fn question(kind: &str, octets: usize) -> String {
    const VERSION: &str = "metallb.io/v1beta1";
    let peer = r#"{"apiVersion":"metallb.io/v1beta2","kind":"BGPPeer","metadata":{"name":"peer","namespace":"metallb-system","uid":"0b0e3f9e-9d9a-4c1c-8a51-111111111111","resourceVersion":"1234567","generation":1,"creationTimestamp":"2026-01-01T00:00:00Z","managedFields":[{"manager":"kubectl","operation":"Update","apiVersion":"metallb.io/v1beta2","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{".":{},"f:myASN":{},"f:peerASN":{},"f:peerAddress":{}}}}]},"spec":{"myASN":64512,"peerASN":64513,"peerAddress":"192.0.2.1","passwordSecret":{"name":"secret"},"nodeSelectors":[{"matchLabels":{"kubernetes.io/hostname":"node-1"}}]}},"#;
    let pool = r#"{"kind":"AddressPool"},"#;
    let (objects, desired) = match kind {
        "maps" => (repeated("{\"\":0},", octets), VERSION.to_owned()),
        "lists" => (repeated("[],", octets), VERSION.to_owned()),
        "zeros" => (repeated("0,", octets), VERSION.to_owned()),
        "texts" => (repeated("\"\",", octets), VERSION.to_owned()),
        "deep" => (repeated("[", octets), VERSION.to_owned()),
        // Nothing is wrong with it until it is a tree.
        "one object" => {
            let many = repeated("{\"\":0},", octets);
            let object = format!(r#"{{"apiVersion":"metallb.io/v1beta2","x":[{many}]}}"#);
            (object, VERSION.to_owned())
        }
        "peers" => (repeated(peer, octets), VERSION.to_owned()),
        // Whose answer is longer than the question.
        "pools" => (repeated(pool, octets), VERSION.to_owned()),
        _ => (repeated(pool, octets / 2), "x".repeat(octets / 2)),
    };
    format!(
        r#"{{"apiVersion":"apiextensions.k8s.io/v1","kind":"ConversionReview","request":{{"uid":"u","desiredAPIVersion":"{desired}","objects":[{objects}]}}}}"#
    )
}

/// The most memory that this process had since that was last forgotten, in octets.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Not a test by itself: what the process of the test below does.
#[test]
fn asked() {
    let Ok(kind) = std::env::var(KIND) else { return };
    let text = question(&kind, LONG);
    let octets = text.len();
    forget_peak();
    assert!(Review::parse(text.as_bytes()).is_err());
    let reviewing = peak();
    let answer = converted(text.as_bytes());
    let answered: usize = answer.iter().flatten().map(Vec::len).sum();
    let converting = peak();
    println!("\n{kind}: {octets} octets, {answered} answered, {converting} resident");
    assert!(reviewing <= octets + FIXED, "{reviewing} octets for a review of {octets}");
    assert!(converting <= 3 * octets + FIXED, "{converting} octets for {octets}");
    assert_eq!(answered > octets / 2, kind == "peers", "only what is one is converted");
}

#[test]
fn no_question_takes_more_than_three_times_its_octets() {
    for kind in KINDS {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "asked", "--nocapture"])
            .env(KIND, kind)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{kind}: {said}{errors}");
        let line = said.lines().find(|line| line.starts_with(kind));
        println!("{}", line.expect("it was measured"));
    }
}
