// SPDX-License-Identifier: Apache-2.0
//! OPENs of RFC 4271, and what is wrong with others.

use super::*;
use crate::wire::{AfiSafi, HEADER_LENGTH};
use hex_literal::hex;

const V4: AfiSafi = AfiSafi { afi: 1, safi: 1 };
const V6: AfiSafi = AfiSafi { afi: 2, safi: 1 };

// Built by hand from RFC 4271 §4.2, RFC 5492 §4, RFC 4760 §8 and RFC 6793 §3; the OPEN that MetalLB's native mode sends for AS
// 4200000000 and router ID 192.0.2.7 has the same octets.
const GOLDEN: [u8; 49] = hex!(
    "ffffffffffffffffffffffffffffffff 0031 01"
    "04 5ba0 005a c0000207 14"
    "02 12" "01 04 0001 00 01" "01 04 0002 00 01" "41 04 fa56ea00"
);

fn golden() -> Open {
    Open::new(
        4_200_000_000,
        HoldTime::DEFAULT,
        Ipv4Addr::new(192, 0, 2, 7),
        vec![
            Capability::Multiprotocol(V4),
            Capability::Multiprotocol(V6),
            Capability::FourOctetAsn(4_200_000_000),
        ],
    )
}

fn decode(body: &[u8]) -> Result<Open, MessageError> {
    Open::decode(Bytes::copy_from_slice(body))
}

fn refusal(change: impl Fn(&mut Vec<u8>)) -> (u8, u8, Vec<u8>) {
    let mut body = GOLDEN[HEADER_LENGTH..].to_vec();
    change(&mut body);
    let error = decode(&body).unwrap_err();
    let notification = error.notification();
    (notification.code, notification.subcode, notification.data.clone())
}

#[test]
fn open_is_the_bytes_of_its_rfcs() {
    let mut out = Vec::new();
    golden().encode(&mut out);
    assert_eq!(out, GOLDEN);
    assert_eq!(decode(&GOLDEN[HEADER_LENGTH..]).unwrap(), golden());
    assert_eq!(golden().asn(), 4_200_000_000);
    assert_eq!(golden().my_as, AS_TRANS);
}

#[test]
fn an_open_without_capabilities_shows_its_two_octets() {
    // Built by hand from RFC 4271 §4.2.
    let body = hex!("04 fde8 00b4 0a000001 00");
    let open = decode(&body).unwrap();
    assert_eq!((open.asn(), open.hold_time.seconds()), (65000, 180));
    let mut out = Vec::new();
    open.encode(&mut out);
    assert_eq!(out[HEADER_LENGTH..], body);
}

#[test]
fn capabilities_in_parameters_of_their_own_are_read_too() {
    // Built by hand; the form in which FRR sends them.
    let body = hex!("04 fde8 00b4 0a000001 0c" "02 06 01 04 0001 00 01" "02 02 02 00");
    let expected = vec![Capability::Multiprotocol(V4), Capability::RouteRefresh];
    assert_eq!(decode(&body).unwrap().capabilities, expected);
}

#[test]
fn long_parameters_have_the_lengths_of_rfc_9072() {
    let unknown = |value: Vec<u8>| Capability::Unknown { code: 200, value: value.into() };
    let mut open = golden();
    open.capabilities = vec![unknown(vec![7; 249])];
    let mut out = Vec::new();
    open.encode(&mut out);
    assert_eq!(out[28..31], [253, 2, 251], "one octet as long as it does");
    open.capabilities.push(unknown(vec![8; 2]));
    let mut out = Vec::new();
    open.encode(&mut out);
    // Built by hand from RFC 9072 §2.
    assert_eq!(out[28..35], hex!("ff ff 0102 02 00ff"));
    assert_eq!(decode(&out[HEADER_LENGTH..]).unwrap(), open);
    // The same form for few octets must be read as well.
    let body = hex!("04 fde8 00b4 0a000001 ff" "ff 0005 02 0002 02 00");
    assert_eq!(decode(&body).unwrap().capabilities, [Capability::RouteRefresh]);
}

#[test]
fn more_capabilities_than_a_message_holds_are_left_out() {
    let mut open = golden();
    open.capabilities =
        vec![Capability::Unknown { code: 200, value: Bytes::from_static(&[1; 250]) }; 20];
    let mut out = Vec::new();
    open.encode(&mut out);
    assert!(out.len() <= 4096);
    assert_eq!(decode(&out[HEADER_LENGTH..]).unwrap().capabilities.len(), 16);
}

#[test]
fn errors_have_the_subcode_and_data_of_rfc_4271_section_6_2() {
    assert_eq!(refusal(|body| body[0] = 3), (2, 1, vec![0, 4]));
    assert_eq!(refusal(|body| body[1..3].fill(0)), (2, 2, vec![]), "RFC 7607");
    assert_eq!(refusal(|body| body[26..].fill(0)), (2, 2, vec![]), "RFC 7607");
    assert_eq!(refusal(|body| body[5..9].fill(0)), (2, 3, vec![]), "RFC 6286");
    assert_eq!(refusal(|body| body[10] = 1), (2, 4, vec![]));
    assert_eq!(refusal(|body| body[3..5].copy_from_slice(&[0, 2])), (2, 6, vec![]));
    assert_eq!(refusal(|body| body[3..5].copy_from_slice(&[0, 1])), (2, 6, vec![]));
    assert_eq!(refusal(|body| body[9] = 19), (2, 0, vec![]), "length of the parameters");
    assert_eq!(refusal(|body| body[11] = 19), (2, 0, vec![]), "length of a parameter");
    assert_eq!(refusal(|body| body[25] = 5), (2, 0, vec![]), "length of a capability");
    assert_eq!(refusal(|body| body.truncate(9)), (2, 0, vec![]));
}
