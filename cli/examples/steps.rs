// SPDX-License-Identifier: Apache-2.0
//! Gives one parser many inputs of one length, for a counter of instructions around the program (`scripts/steps.sh`): the same octet
//! again and again, two in turn, and what opens without end. The count is the same in every run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a measurement may panic, and begins at some instant"
)]

use std::time::Instant;

/// A parser's name, and its body as the fuzz targets run it.
type Body = (&'static str, fn(&[u8]));

const BODIES: [Body; 15] = [
    ("arp", l2::robustness::arp),
    ("ndp", l2::robustness::ndp),
    ("bfd", bfd::robustness::history),
    ("bgp_open", bgp::robustness::open),
    ("bgp_update", bgp::robustness::update),
    ("bgp_notification", bgp::robustness::notification),
    ("bgp_route_refresh", bgp::robustness::route_refresh),
    ("bgp_session", session),
    ("members_heartbeat", members::heartbeat::robustness::heartbeat),
    ("members_packet", members::robustness::packet),
    ("members_stream", members::robustness::stream),
    ("speaker_notices", ownership::robustness::notices),
    ("manifest", folder::robustness::manifest),
    ("review", crds::robustness::review),
    ("conversion", crds::robustness::conversion),
];
/// Octets that mean something to one parser or another: lengths, types, marks of formats.
const MEANT: [u8; 12] = [0, 1, 2, 4, 16, 0x40, 0x80, 0x90, 0xa0, 0xc0, 0xdc, 0xff];
const TEXTS: [&str; 8] =
    ["[", "{\"a\":", "[],", "{},", "- a\n", "a: b\n", "&a [*a]\n", "\"\\u0041\","];

fn session(data: &[u8]) {
    bgp::robustness::session(Instant::now(), data);
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (name, length) = (arguments.next(), arguments.next());
    let Some(name) = name else {
        BODIES.iter().for_each(|(name, _)| println!("{name} {}", patterns().count()));
        return;
    };
    let length: usize = length.and_then(|text| text.parse().ok()).expect("PARSER LENGTH");
    let (_, body) = BODIES.iter().find(|(known, _)| *known == name).expect("no such parser");
    for pattern in patterns() {
        let input: Vec<u8> = pattern.iter().copied().cycle().take(length).collect();
        body(&input);
    }
}

fn patterns() -> impl Iterator<Item = Vec<u8>> {
    let same = (0..=255).step_by(5).map(|octet| vec![octet]);
    let two = MEANT
        .iter()
        .flat_map(|a| MEANT.iter().map(|b| vec![*a, *b]))
        .filter(|two| two[0] != two[1]);
    same.chain(two).chain(TEXTS.iter().map(|text| text.as_bytes().to_vec()))
}
