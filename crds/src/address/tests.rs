// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::config::AddressRange;

/// A row of `testdata/addresses/table.json`, which `testdata/addresses/main.go` wrote.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Row {
    text: String,
    #[serde(rename = "parseIP")]
    parse_ip: String,
    parse_addr: String,
    #[serde(rename = "parseCIDR")]
    parse_cidr: String,
    parse_prefix: String,
    core_address: String,
    core_address_warning: String,
    core_prefix: String,
    core_prefix_warning: String,
}

fn table() -> Vec<Row> {
    serde_json::from_str(include_str!("../../testdata/addresses/table.json")).unwrap()
}

fn shown<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// IPv4-mapped, with a length that leaves no IPv4 network: the one case that Go takes for IPv6 and we refuse.
fn is_too_short(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    address.to_ascii_lowercase().contains("::ffff:")
        && length.parse::<u8>().is_ok_and(|length| length < 96)
}

#[test]
fn ours_are_read_as_go_reads_them() {
    let rows = table();
    assert!(rows.len() >= 60);
    for row in &rows {
        let text = &row.text;
        assert_eq!(shown(parse_address(text)), row.parse_ip, "{text:?}");
        if is_too_short(text) {
            assert_eq!(parse_prefix(text), Err(PrefixError::Mapped), "{text:?}");
        } else {
            assert_eq!(shown(parse_prefix(text).ok()), row.parse_cidr, "{text:?}");
        }
    }
}

/// Antrea reads with `netip`, which keeps a mapped address apart, has zones, and refuses zeros before a length.
#[test]
fn what_netip_reads_otherwise_is_known() {
    for row in table() {
        let text = &row.text;
        if !text.contains('%') {
            let mapped = row.parse_addr.strip_prefix("::ffff:").filter(|rest| rest.contains('.'));
            let address = mapped.unwrap_or(&row.parse_addr);
            assert_eq!(shown(parse_address(text)), address, "{text:?}");
        }
        if let Ok(prefix) = parse_prefix(text) {
            let (_, length) = text.split_once('/').unwrap();
            let mapped = row.parse_prefix.starts_with("::ffff:");
            let zeros = length.len() > 1 && length.starts_with('0');
            assert!(mapped || zeros || prefix.to_string() == row.parse_prefix, "{text:?}");
        } else {
            assert!(row.parse_prefix.is_empty() || is_too_short(text), "{text:?}");
        }
    }
}

#[test]
fn pools_and_their_ranges_are_read_by_the_same_parser() {
    for row in table().iter().filter(|row| !row.text.contains('-') && !is_too_short(&row.text)) {
        let text = &row.text;
        assert_eq!(AddressRange::parse(text).is_ok(), !row.parse_cidr.is_empty(), "{text:?}");
        // Spaces around the ends of a range are allowed.
        if text.trim() == text {
            let range = AddressRange::parse(&format!("{text}-{text}"));
            assert_eq!(shown(range.ok().map(|range| range.first())), row.parse_ip, "{text:?}");
        }
    }
}

#[test]
fn core_fields_are_read_as_the_api_server_reads_them_and_warned_of_likewise() {
    for row in table() {
        let text = &row.text;
        let address = core_address(text);
        assert_eq!(shown(address.as_ref().map(|core| core.value)), row.core_address, "{text:?}");
        check_advice(text, address.and_then(|core| core.advice), &row.core_address_warning);
        if is_too_short(text) {
            continue;
        }
        let prefix = core_prefix(text);
        assert_eq!(shown(prefix.as_ref().map(|core| core.value)), row.core_prefix, "{text:?}");
        check_advice(text, prefix.and_then(|core| core.advice), &row.core_prefix_warning);
    }
}

/// The advice names what the API server's warning names; of several warnings the first counts. Its `/128` of an IPv4 address is ours
/// as `/32`.
fn check_advice(text: &str, advice: Option<Advice>, warning: &str) {
    let (words, texts) = match advice {
        None => return assert_eq!(warning, "", "{text:?}"),
        Some(Advice::NonStandard { instead }) => ("non-standard", vec![instead]),
        Some(Advice::NotCanonical { instead }) => ("RFC 5952", vec![instead]),
        Some(Advice::HostBits { network, single }) if text.contains(':') => {
            ("ambiguous", vec![network, single.replace("/32", "/128")])
        }
        Some(Advice::HostBits { network, single }) => ("ambiguous", vec![network, single]),
    };
    let first = warning.split("; ").next().unwrap();
    assert!(first.contains(words), "{text:?}: {first}");
    for name in texts {
        assert!(first.contains(&format!("\"{name}\"")), "{text:?}: {name} in {first}");
    }
}

#[test]
fn a_field_of_a_core_kind_may_hold_nonsense() {
    #[derive(Deserialize)]
    struct Holder {
        #[serde(default, deserialize_with = "deserialize_core")]
        ip: Option<IpAddr>,
    }
    for (json, expected) in [
        ("{}", ""),
        (r#"{"ip":null}"#, ""),
        (r#"{"ip":""}"#, ""),
        (r#"{"ip":"10.0.0.01"}"#, "10.0.0.1"),
        (r#"{"ip":"::ffff:10.0.0.1"}"#, "10.0.0.1"),
    ] {
        assert_eq!(shown(serde_json::from_str::<Holder>(json).unwrap().ip), expected, "{json}");
    }
}

proptest! {
    #[test]
    fn every_text_of_ours_is_one_of_the_api_server_and_has_the_same_reading(
        text in "[0-9a-f:./%]{0,24}",
    ) {
        if let Some(address) = parse_address(&text) {
            prop_assert_eq!(core_address(&text).unwrap().value, address);
        }
        if let Ok(prefix) = parse_prefix(&text) {
            prop_assert_eq!(core_prefix(&text).unwrap().value, prefix);
        }
    }

    #[test]
    fn what_is_printed_is_canonical(octets in any::<[u8; 16]>(), length in 0_u8..=128) {
        let address = IpAddr::from(octets).to_canonical();
        prop_assert_eq!(parse_address(&address.to_string()), Some(address));
        prop_assert_eq!(core_address(&address.to_string()).unwrap().advice, None);
        let length = length.min(if address.is_ipv4() { 32 } else { 128 });
        let net = IpNet::new(address, length).unwrap().trunc();
        if net.addr() == net.addr().to_canonical() {
            prop_assert_eq!(parse_prefix(&net.to_string()), Ok(net));
            prop_assert_eq!(core_prefix(&net.to_string()).unwrap().advice, None);
        }
    }
}
