// SPDX-License-Identifier: Apache-2.0
//! UPDATEs of RFC 4271 and 4724, and what is wrong with others.

use super::*;
use crate::wire::{AsPath, LONGEST, Origin};
use hex_literal::hex;
use std::net::Ipv4Addr;

const EXTERNAL: Context =
    Context { four_octet_asn: true, internal: false, enhanced_route_refresh: false };
const INTERNAL: Context =
    Context { four_octet_asn: true, internal: true, enhanced_route_refresh: false };

fn v4(text: &[&str]) -> Prefixes {
    Prefixes::new(Family::Ipv4, text.iter().map(|text| text.parse().unwrap()))
}

fn sample() -> Update {
    Update {
        withdrawn: v4(&["10.0.0.0/8"]),
        attributes: vec![
            Attribute::Origin(Origin::Igp),
            Attribute::AsPath(AsPath::sequence(65000, 1)),
            Attribute::NextHop(Ipv4Addr::new(192, 0, 2, 7)),
        ],
        announced: v4(&["192.0.2.1/32"]),
    }
}

fn encode(update: &Update) -> Vec<u8> {
    let mut out = Vec::new();
    update.encode(EXTERNAL, LONGEST, &mut out).unwrap();
    out
}

fn decode(body: &[u8], context: Context) -> Result<DecodedUpdate, MessageError> {
    Update::decode(Bytes::copy_from_slice(body), context)
}

#[test]
fn update_is_the_bytes_of_rfc_4271() {
    // Built by hand from RFC 4271 §4.3: 10.0.0.0/8 goes, 192.0.2.1/32 comes from AS 65000 by 192.0.2.7.
    let golden = hex!(
        "ffffffffffffffffffffffffffffffff 0032 02"
        "0002 08 0a"
        "0014" "40 01 01 00" "40 02 06 02 01 0000fde8" "40 03 04 c0000207"
        "20 c0000201"
    );
    assert_eq!(encode(&sample()), golden);
    let decoded = decode(&golden[HEADER_LENGTH..], EXTERNAL).unwrap();
    assert_eq!(decoded, DecodedUpdate { update: sample(), flaws: vec![] });
}

#[test]
fn end_of_rib_is_the_bytes_of_rfc_4724() {
    // Built by hand from RFC 4724 §2: the shortest UPDATE; an empty MP_UNREACH_NLRI.
    for (family, golden) in [
        (Family::Ipv4, &hex!("ffffffffffffffffffffffffffffffff 0017 02 0000 0000")[..]),
        (
            Family::Ipv6,
            &hex!("ffffffffffffffffffffffffffffffff 001d 02 0000 0006 80 0f 03 0002 01"),
        ),
    ] {
        let update = Update::end_of_rib(family);
        assert_eq!(encode(&update), golden);
        let decoded = decode(&golden[HEADER_LENGTH..], EXTERNAL).unwrap();
        assert_eq!(decoded.update.ends_rib_of(), Some(family));
        assert_eq!(decoded.action(), None);
    }
    assert_eq!(sample().ends_rib_of(), None);
}

#[test]
fn missing_well_known_attributes_withdraw_the_prefixes() {
    for index in 0..3 {
        let mut update = sample();
        let missing = update.attributes.remove(index).code();
        let decoded = decode(&encode(&update)[HEADER_LENGTH..], EXTERNAL).unwrap();
        assert_eq!(decoded.action(), Some(AttributeAction::TreatAsWithdraw));
        assert_eq!(decoded.flaws[0].attribute, missing);
    }
    let decoded = decode(&encode(&sample())[HEADER_LENGTH..], INTERNAL).unwrap();
    assert_eq!(decoded.flaws[0].attribute, code::LOCAL_PREF);
    let mut update = sample();
    update.attributes.clear();
    update.announced = v4(&[]);
    let decoded = decode(&encode(&update)[HEADER_LENGTH..], EXTERNAL).unwrap();
    assert_eq!(decoded.action(), None, "a withdrawal needs none");
}

#[test]
fn an_attribute_that_reaches_beyond_the_list_leaves_the_prefixes_readable() {
    let mut octets = encode(&sample());
    let length = octets.iter().rposition(|octet| *octet == 3).unwrap() + 1;
    octets[length] = 5;
    let decoded = decode(&octets[HEADER_LENGTH..], EXTERNAL).unwrap();
    assert_eq!(decoded.action(), Some(AttributeAction::TreatAsWithdraw));
    assert_eq!(decoded.update.announced, v4(&["192.0.2.1/32"]));
}

#[test]
fn what_hides_where_prefixes_are_ends_the_session() {
    for (body, subcode) in [
        (&hex!("0003 08 0a 0000")[..], 1),
        (&hex!("0000 0001"), 1),
        (&hex!("0000"), 1),
        (&hex!("0001 21 0000"), 10),
        (&hex!("0000 0000 20 c00002"), 10),
    ] {
        let error = decode(body, EXTERNAL).unwrap_err();
        assert_eq!((error.notification().code, error.notification().subcode), (3, subcode));
    }
}

/// Subcode and data that end the session after an UPDATE with these attributes and no prefixes.
fn end_without_prefixes(attributes: &[u8]) -> Option<(u8, Vec<u8>)> {
    let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    let withdrawal = hex!("0002 08 0a");
    let body = [&withdrawal[..], &length[..], attributes].concat();
    let error = decode(&body, EXTERNAL).err()?;
    assert_eq!(error.notification().code, 3);
    Some((error.notification().subcode, error.notification().data.clone()))
}

#[test]
fn an_error_in_attributes_without_prefixes_ends_the_session_with_the_data_of_rfc_4271() {
    // RFC 7606 §5.2; subcodes and data of RFC 4271 §6.3: the attribute where one is at fault.
    for (attributes, subcode, told) in [
        (&hex!("40 01 01 03")[..], 6, true),
        (&hex!("40 01 02 0000"), 5, true),
        (&hex!("c0 01 01 00"), 4, true),
        (&hex!("40 03 03 c00002"), 5, true),
        (&hex!("40 02 02 02 00"), 11, false),
        (&hex!("40 02 06 03 01 0000fde9"), 11, false),
        (&hex!("80 04 03 000000"), 5, true),
        (&hex!("d0 08 0005 0000000000"), 5, true),
        (&hex!("40 01 02 00"), 1, false),
    ] {
        let data = if told { attributes.to_vec() } else { vec![] };
        assert_eq!(end_without_prefixes(attributes), Some((subcode, data)), "{attributes:02x?}");
    }
    // A withdrawal that cannot be read, beside an attribute that says that there should be more.
    let unreach = hex!("40 01 01 00 80 0f 04 0002 01 81");
    assert_eq!(end_without_prefixes(&unreach), Some((9, hex!("80 0f 04 0002 01 81").to_vec())));
    // The first of several errors is told.
    let several = hex!("40 01 01 03 40 03 03 c00002");
    assert_eq!(end_without_prefixes(&several), Some((6, hex!("40 01 01 03").to_vec())));
    // An MP_REACH_NLRI without prefixes brings none either.
    let empty = hex!("40 01 01 03 80 0e 09 0001 01 04 c0000201 00");
    assert_eq!(end_without_prefixes(&empty), Some((6, hex!("40 01 01 03").to_vec())));
}

#[test]
fn the_session_lives_where_only_an_attribute_is_left_out_or_prefixes_are_there() {
    for attributes in [
        // Attribute discard (RFC 7606 §7.5, §7.7).
        &hex!("40 05 04 00000064")[..],
        &hex!("40 06 01 00"),
        &hex!("c0 07 06 fde8 c0000201"),
        // Nothing but MP_UNREACH_NLRI.
        &hex!("80 0f 04 0002 01 81"),
        // Prefixes of a family that is not spoken, and such as cannot be read.
        &hex!("40 01 01 03 80 0e 05 0019 46 00 00"),
        &hex!("40 01 01 03 80 0e 05 0002 01 04 00"),
        &hex!("40 01 01 03 80 0e 0b 0001 01 04 c0000201 00 08 0b"),
    ] {
        assert_eq!(end_without_prefixes(attributes), None, "{attributes:02x?}");
    }
    let update = hex!("0000 0004 40 01 01 03 08 0a");
    assert_eq!(decode(&update, EXTERNAL).unwrap().action(), Some(AttributeAction::TreatAsWithdraw));
}

#[test]
fn a_message_is_not_longer_than_it_may_be() {
    let prefixes = (0..810u32).map(|n| {
        let address = Ipv4Addr::from(0x0a00_0000 + n);
        ipnet::IpNet::new(address.into(), 32).unwrap()
    });
    let mut update = sample();
    update.withdrawn = v4(&[]);
    update.announced = Prefixes::new(Family::Ipv4, prefixes);
    assert!(encode(&update).len() <= LONGEST);
    update.withdrawn = v4(&["10.0.0.0/32"; 10]);
    assert_eq!(update.encode(EXTERNAL, LONGEST, &mut Vec::new()), Err(TooLong));
}
