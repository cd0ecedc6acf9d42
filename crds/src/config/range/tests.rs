// SPDX-License-Identifier: Apache-2.0
use super::*;
use proptest::prelude::*;

fn range(text: &str) -> AddressRange {
    text.parse_range()
}

trait ParseRange {
    fn parse_range(&self) -> AddressRange;
}

impl ParseRange for str {
    fn parse_range(&self) -> AddressRange {
        AddressRange::parse(self).unwrap()
    }
}

#[test]
fn entries_are_cidrs_or_ranges() {
    for (entry, first, last) in [
        ("10.0.0.0/24", "10.0.0.0", "10.0.0.255"),
        ("198.51.100.10/24", "198.51.100.0", "198.51.100.255"),
        ("10.0.0.1/32", "10.0.0.1", "10.0.0.1"),
        ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
        ("2001:db8::1/64", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"),
        ("10.0.0.1-10.0.0.1", "10.0.0.1", "10.0.0.1"),
        (" 10.0.0.1 - 10.0.1.2 ", "10.0.0.1", "10.0.1.2"),
        ("2001:db8::1-2001:db8::2", "2001:db8::1", "2001:db8::2"),
        ("::ffff:10.0.0.1-10.0.0.2", "10.0.0.1", "10.0.0.2"),
    ] {
        let range = AddressRange::parse(entry).unwrap();
        assert_eq!(
            (range.first().to_string(), range.last().to_string()),
            (first.into(), last.into())
        );
        assert_eq!(range.family() == Family::V6, entry.contains("db8"));
    }
}

#[test]
fn entries_that_are_neither_say_what_is_wrong() {
    for (entry, message) in [
        ("", "invalid CIDR \"\""),
        ("10.0.0.1", "invalid CIDR \"10.0.0.1\""),
        ("10.0.0.0/", "invalid CIDR"),
        ("10.0.0.0/33", "invalid CIDR"),
        ("10.0.0/24", "invalid CIDR"),
        ("-", "invalid start IP \"\""),
        ("10.0.0.1-", "invalid end IP \"\""),
        ("10.0.0.1-10.0.0.2-10.0.0.3", "invalid IP range"),
        ("10.0.0.2-10.0.0.1", "start IP 10.0.0.2 is after the end IP 10.0.0.1"),
        ("10.0.0.2-2001:db8::", "different families"),
        ("fe80::1%eth0-fe80::2", "invalid start IP \"fe80::1%eth0\""),
    ] {
        let error = AddressRange::parse(entry).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_range_is_shown_as_a_cidr_where_it_is_one() {
    assert_eq!(range("10.0.0.0-10.0.0.255").to_string(), "10.0.0.0/24");
    assert_eq!(range("10.0.0.0-10.0.0.254").to_string(), "10.0.0.0-10.0.0.254");
    assert_eq!(range("::/0").size(), u128::MAX);
    assert_eq!(range("1.1.1.1-1.1.1.126").shortest_prefix(), 27);
}

fn any_range() -> impl Strategy<Value = AddressRange> {
    prop_oneof![
        (any::<u32>(), 0..5_000_u32).prop_map(|(first, more)| {
            let last = first.saturating_add(more);
            AddressRange::new(IpAddr::V4(first.into()), IpAddr::V4(last.into()))
        }),
        (any::<u128>(), any::<u128>()).prop_map(|(a, b)| {
            AddressRange::new(IpAddr::V6(a.min(b).into()), IpAddr::V6(a.max(b).into()))
        }),
    ]
    .prop_map(Option::unwrap)
}

proptest! {
    #[test]
    fn the_cidrs_cover_the_range_and_nothing_else(range in any_range()) {
        let cidrs = range.cidrs();
        prop_assert_eq!(cidrs.first().map(IpNet::network), Some(range.first()));
        prop_assert_eq!(cidrs.last().map(IpNet::broadcast), Some(range.last()));
        for (one, next) in cidrs.iter().zip(cidrs.iter().skip(1)) {
            prop_assert_eq!(to_number(one.broadcast()) + 1, to_number(next.network()));
        }
        prop_assert_eq!(cidrs.iter().map(IpNet::prefix_len).min(), Some(range.shortest_prefix()));
    }

    #[test]
    fn a_range_is_read_as_it_is_shown(range in any_range()) {
        prop_assert_eq!(AddressRange::parse(&range.to_string()), Ok(range));
    }

    #[test]
    fn numbers_and_addresses_go_both_ways(number in any::<u32>(), large in any::<u128>()) {
        let number = u128::from(number);
        prop_assert_eq!(to_number(from_number(Family::V4, number)), number);
        prop_assert_eq!(to_number(from_number(Family::V6, large)), large);
    }

    #[test]
    fn ranges_overlap_where_they_share_an_address(a in 0..40_u32, b in 0..40_u32, c in 0..40_u32, d in 0..40_u32) {
        let make = |x: u32, y: u32| {
            AddressRange::new(IpAddr::V4(x.min(y).into()), IpAddr::V4(x.max(y).into())).unwrap()
        };
        let (one, other) = (make(a, b), make(c, d));
        let shared = (0..40_u32).any(|n| {
            one.contains(IpAddr::V4(n.into())) && other.contains(IpAddr::V4(n.into()))
        });
        prop_assert_eq!(one.overlaps(&other), shared);
    }

    #[test]
    fn arbitrary_text_never_panics(text in "[-0-9a-f:./ ]{0,40}") {
        let _ = AddressRange::parse(&text);
    }
}
