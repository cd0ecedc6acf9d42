// SPDX-License-Identifier: Apache-2.0
//! The reader over the files of bgp/testdata: what real routers sent, and messages built by hand.

use super::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/");

fn lines_with(file: &str, assumptions: Assumptions) -> Vec<verdict::Line> {
    replay(&std::fs::read(format!("{FOLDER}{file}")).unwrap(), assumptions).unwrap()
}

fn lines(file: &str) -> Vec<verdict::Line> {
    lines_with(file, Assumptions::default())
}

/// How many messages of a kind are there.
fn count(lines: &[verdict::Line], kind: &str) -> usize {
    lines.iter().filter(|line| line.text.contains(&format!(": {kind} of "))).count()
}

fn has(lines: &[verdict::Line], parts: &[&str]) -> bool {
    lines.iter().any(|line| parts.iter().all(|part| line.text.contains(part)))
}

#[test]
fn what_routers_sent_is_accepted() {
    let lines = lines("accepted.hex");
    assert!(lines.iter().all(|line| !line.ends_session), "{lines:#?}");
    assert_eq!((count(&lines, "OPEN"), count(&lines, "UPDATE")), (3, 4));
    assert!(has(&lines, &["line 3:", "AS 4200000000", "71 (Long-lived Graceful Restart)"]));
    assert!(has(&lines, &["announces 2001:db8:1::/48"]));
    assert!(has(&lines, &["says 6/2 (Cease/Administrative Shutdown)"]));
    assert!(has(&lines, &["End-of-RIB of IPv6"]) && has(&lines, &["Request of IPv6"]));
    assert!(has(&lines, &["AS 65000", "capabilities: none"]));
}

#[test]
fn errors_that_a_session_lives_through_say_what_follows() {
    let lines = lines("flawed.hex");
    assert_eq!(lines.len(), 6);
    assert!(lines.iter().all(|line| !line.ends_session && line.text.contains("lives on")));
    assert!(has(
        &lines,
        &["counts as withdrawn 10.2.0.0/24", "unknown ORIGIN (treat-as-withdraw)"]
    ));
    assert!(has(&lines, &["announces 10.2.0.0/24", "(attribute discard)"]));
    assert!(has(&lines, &["attribute 15", "(AFI/SAFI disable)"]));
    let internal = Assumptions { internal: true, ..Assumptions::default() };
    let lines = lines_with("flawed.hex", internal);
    assert!(!has(&lines, &["confederation"]) && !has(&lines, &["(attribute discard)"]));
}

#[test]
fn messages_that_end_a_session_show_the_notification() {
    let lines = lines("refused.hex");
    assert!(lines.iter().all(|line| line.ends_session), "{lines:#?}");
    let codes = [
        "1/1", "1/2", "1/3", "2/1", "2/2", "2/6", "2/3", "2/4", "3/1", "3/10", "3/2", "3/6", "3/1",
    ];
    assert_eq!(lines.len(), codes.len());
    for (line, code) in lines.iter().zip(codes) {
        assert!(line.text.contains(&format!("NOTIFICATION {code} (")), "{code}: {}", line.text);
    }
    assert!(has(&lines, &["3/2", "data 40630107"]));
}

#[test]
fn a_capture_of_bird_and_frr_is_read_whole() {
    let lines = lines("session.pcap");
    assert!(lines.iter().all(|line| !line.ends_session), "{lines:#?}");
    assert_eq!((count(&lines, "OPEN"), count(&lines, "NOTIFICATION")), (2, 1));
    assert!(has(&lines, &["192.0.2.1:55777 to 192.0.2.2:179", "announces 10.1.0.0/16"]));
    assert!(has(&lines, &["192.0.2.2:179 to 192.0.2.1:55777", "announces 2001:db8:2::/48"]));
    // Both have enhanced refresh, and FRR asked for IPv4.
    assert!(has(&lines, &["Begin of IPv4"]) && has(&lines, &["End of IPv4"]));
}

#[test]
fn segments_that_are_missing_repeated_and_out_of_order_are_told_or_mended() {
    let whole = lines("session.pcap");
    let lines = lines("session-with-gap.pcapng");
    assert!(has(&lines, &["198 octets are not in the capture"]));
    assert!(lines.iter().all(|line| !line.ends_session), "{lines:#?}");
    assert_eq!(count(&lines, "OPEN"), count(&whole, "OPEN"));
    assert!(count(&lines, "UPDATE") < count(&whole, "UPDATE"));
    let of_bird = |lines: &[verdict::Line]| {
        let from = |line: &&verdict::Line| line.text.starts_with("192.0.2.1:");
        lines.iter().filter(from).cloned().collect::<Vec<_>>()
    };
    assert_eq!(of_bird(&lines), of_bird(&whole), "in order, and none twice");
}

#[test]
fn a_dump_of_frr_is_read_whole() {
    let lines = lines("updates.mrt");
    assert!(lines.iter().all(|line| !line.ends_session), "{lines:#?}");
    assert_eq!((count(&lines, "OPEN"), count(&lines, "ROUTE-REFRESH")), (1, 2));
    assert!(has(&lines, &["192.0.2.1 to 192.0.2.2", "announces 10.1.0.0/16"]));
    assert!(has(&lines, &["Begin of IPv4"]));
}

#[test]
fn files_that_are_something_else_or_end_early_are_errors_and_no_octets_panic() {
    let error = |octets: &[u8]| replay(octets, Assumptions::default()).unwrap_err();
    assert_eq!(error(b""), "the file is empty");
    assert_eq!(error(b"ff\nzz\n"), "line 2: not hexadecimal");
    assert_eq!(error(b"fff"), "line 1: half an octet");
    assert!(error(&[0x80, 1, 2, 3]).starts_with("neither a capture"));
    for file in ["updates.mrt", "session.pcap", "session-with-gap.pcapng", "accepted.hex"] {
        let octets = std::fs::read(format!("{FOLDER}{file}")).unwrap();
        for end in 0..octets.len() {
            let _ = replay(&octets[..end], Assumptions::default());
            let mut other = octets.clone();
            other[end] ^= 0xff;
            let _ = replay(&other, Assumptions::default());
        }
    }
    let dump = std::fs::read(format!("{FOLDER}updates.mrt")).unwrap();
    assert_eq!(error(&dump[..dump.len() - 1]), "record 21: the file ends in it");
}
