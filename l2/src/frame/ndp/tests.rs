// SPDX-License-Identifier: Apache-2.0
//! Golden frames and the discard rules of RFC 4861 §7.1.

use super::*;
use hex_literal::hex;

const MAC: MacAddress = MacAddress([0x02, 0, 0, 0, 0, 0x0a]);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xa);

// Built by hand from RFC 4861 §4.3 and RFC 8200 §3: fe80::7 at 02:00:00:00:00:07 asks for 2001:db8::64. The checksum was
// computed apart from this code (ones' complement sum over the pseudo-header of RFC 8200 §8.1 and the message).
const SOLICITATION: [u8; 86] = hex!(
    "3333ff000064 020000000007 86dd"
    "60000000 0020 3a ff"
    "fe800000000000000000000000000007"
    "ff0200000000000000000001ff000064"
    "87 00 4a8f 00000000"
    "20010db8000000000000000000000064"
    "01 01 020000000007"
);

// Built by hand from RFC 4861 §4.4: the answer of 02:00:00:00:00:0a at fe80::a, S=1.
const ADVERTISEMENT: [u8; 86] = hex!(
    "020000000007 02000000000a 86dd"
    "60000000 0020 3a ff"
    "fe80000000000000000000000000000a"
    "fe800000000000000000000000000007"
    "88 00 086a 40000000"
    "20010db8000000000000000000000064"
    "02 01 02000000000a"
);

// Built by hand from RFC 4861 §4.3 and RFC 3971 §5.3.2: fe80::a at 02:00:00:00:00:0a probes for 2001:db8::64 with 513
// members and position 772. The checksum was computed apart from this code.
const PROBE_WITH_PRECEDENCE: [u8; 94] = hex!(
    "3333ff000064 02000000000a 86dd"
    "60000000 0028 3a ff"
    "fe80000000000000000000000000000a"
    "ff0200000000000000000001ff000064"
    "87 00 f12e 00000000"
    "20010db8000000000000000000000064"
    "01 01 02000000000a"
    "0e 01 464c02010304"
);

/// The ones' complement sum of RFC 1071, written apart from the one under test.
fn reseal(frame: &mut [u8]) {
    frame[56..58].fill(0);
    let length = usize::from(u16::from_be_bytes([frame[18], frame[19]]));
    let mut words: Vec<u8> = frame[22..54].to_vec();
    words.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
    words.extend_from_slice(&[0, 0, 0, 58]);
    words.extend_from_slice(&frame[54..54 + length]);
    if words.len() % 2 == 1 {
        words.push(0);
    }
    let mut sum: u32 = words.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    frame[56..58].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
}

/// The solicitation with other options, and a right length and checksum.
fn with_options(options: &[u8]) -> Vec<u8> {
    let mut frame = SOLICITATION[..78].to_vec();
    frame.extend_from_slice(options);
    let length = u16::try_from(frame.len() - 54).unwrap();
    frame[18..20].copy_from_slice(&length.to_be_bytes());
    reseal(&mut frame);
    frame
}

fn changed(change: impl FnOnce(&mut [u8])) -> Result<Ndp, FrameError> {
    let mut frame = SOLICITATION.to_vec();
    change(&mut frame);
    reseal(&mut frame);
    Ndp::parse(&frame)
}

fn solicitation_of(ndp: &Ndp) -> NeighborSolicitation {
    match ndp.message {
        Message::Solicitation(solicitation) => solicitation,
        Message::Advertisement(_) => panic!("not a solicitation: {ndp:?}"),
    }
}

#[test]
fn golden_bytes_have_the_checksums_of_an_independent_sum() {
    for golden in [SOLICITATION, ADVERTISEMENT] {
        let mut frame = golden;
        reseal(&mut frame);
        assert_eq!(frame, golden, "{:02x?}", &frame[56..58]);
    }
}

#[test]
fn solicitation_and_its_answer_are_the_bytes_of_rfc_4861() {
    let asked = Ndp::parse(&SOLICITATION).unwrap();
    assert_eq!(asked.emit().as_bytes(), SOLICITATION);
    let answer = solicitation_of(&asked).answer(&asked.envelope, MAC, LINK_LOCAL).unwrap();
    assert_eq!(answer.emit().as_bytes(), ADVERTISEMENT);
    assert_eq!(Ndp::parse(&ADVERTISEMENT).unwrap(), answer);
}

#[test]
fn dad_probe_is_answered_to_all_nodes_unsolicited() {
    let mut frame = with_options(&[]);
    frame[22..38].fill(0);
    reseal(&mut frame);
    let probe = Ndp::parse(&frame).unwrap();
    let answer = solicitation_of(&probe).answer(&probe.envelope, MAC, LINK_LOCAL).unwrap();
    assert_eq!(answer.envelope.destination, ALL_NODES);
    assert_eq!(answer.envelope.ethernet_destination.to_string(), "33:33:00:00:00:01");
    let Message::Advertisement(advertisement) = answer.message else { panic!("{answer:?}") };
    assert!(!advertisement.solicited && advertisement.override_ && !advertisement.router);
}

#[test]
fn unicast_question_without_the_option_is_answered_to_its_ethernet_source() {
    let asked = Ndp::parse(&with_options(&[])).unwrap();
    let answer = solicitation_of(&asked).answer(&asked.envelope, MAC, LINK_LOCAL).unwrap();
    assert_eq!(answer.envelope.ethernet_destination.to_string(), "02:00:00:00:00:07");
}

#[test]
fn option_lengths_of_32_and_more_are_followed_by_our_own_reader() {
    // pnet multiplies the length octet by eight in eight bits: 32 becomes 0, which loops or panics.
    for units in [32_u8, 33, 64, 128, 255] {
        let mut options = vec![0_u8; usize::from(units) * 8];
        options[0] = 14;
        options[1] = units;
        options.extend_from_slice(&[SOURCE_LINK_LAYER, 1, 2, 0, 0, 0, 0, 9]);
        let asked = Ndp::parse(&with_options(&options)).unwrap();
        assert_eq!(solicitation_of(&asked).source_link_layer, Some(MacAddress([2, 0, 0, 0, 0, 9])));
        let cut = with_options(&options[..options.len() - 16]);
        assert_eq!(Ndp::parse(&cut), Err(FrameError::Truncated), "{units}");
    }
}

#[test]
fn malformed_options_void_the_message() {
    let zero = with_options(&[SOURCE_LINK_LAYER, 0, 2, 0, 0, 0, 0, 9]);
    assert_eq!(Ndp::parse(&zero), Err(FrameError::Invalid("an option of length zero")));
    let beyond = with_options(&[SOURCE_LINK_LAYER, 2, 2, 0, 0, 0, 0, 9]);
    assert_eq!(Ndp::parse(&beyond), Err(FrameError::Truncated));
    let single = with_options(&[SOURCE_LINK_LAYER]);
    assert_eq!(Ndp::parse(&single), Err(FrameError::Truncated));
    let of_sixteen =
        with_options(&[SOURCE_LINK_LAYER, 2, 2, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(solicitation_of(&Ndp::parse(&of_sixteen).unwrap()).source_link_layer, None);
}

#[test]
fn each_discard_rule_of_section_7_1_1_holds() {
    assert_eq!(changed(|f| f[21] = 254), Err(FrameError::HopLimit));
    assert_eq!(changed(|f| f[55] = 1), Err(FrameError::Invalid("code is not zero")));
    assert_eq!(changed(|f| f[62] = 0xff), Err(FrameError::Invalid("the target is a group")));
    assert_eq!(changed(|f| f[22] = 0xff), Err(FrameError::Invalid("the source is no station")));
    assert_eq!(
        changed(|f| f[22..38].fill(0)),
        Err(FrameError::Invalid("a DAD probe with a source link-layer address"))
    );
    let mut probe = with_options(&[]);
    probe[22..38].fill(0);
    probe[38..54].copy_from_slice(&ALL_NODES.octets());
    reseal(&mut probe);
    assert_eq!(Ndp::parse(&probe), Err(FrameError::Invalid("a DAD probe to another group")));
    let mut frame = SOLICITATION;
    frame[56] ^= 0x10;
    assert_eq!(Ndp::parse(&frame), Err(FrameError::Checksum));
    assert_eq!(changed(|f| f[14] = 0x40), Err(FrameError::OtherProtocol));
    assert_eq!(changed(|f| f[20] = 17), Err(FrameError::OtherProtocol));
    assert_eq!(changed(|f| f[54] = 134), Err(FrameError::OtherOperation));
}

#[test]
fn solicited_advertisement_to_a_group_is_discarded() {
    let mut frame = ADVERTISEMENT;
    frame[38..54].copy_from_slice(&ALL_NODES.octets());
    reseal(&mut frame);
    assert_eq!(Ndp::parse(&frame), Err(FrameError::Invalid("solicited, but to a group")));
}

#[test]
fn a_message_of_fewer_than_24_octets_is_too_short() {
    let mut frame = SOLICITATION[..77].to_vec();
    frame[19] = 23;
    reseal(&mut frame);
    assert_eq!(Ndp::parse(&frame), Err(FrameError::Truncated));
    for length in 0..SOLICITATION.len() {
        assert_eq!(Ndp::parse(&SOLICITATION[..length]), Err(FrameError::Truncated), "{length}");
    }
}

#[test]
fn padding_after_the_ipv6_payload_is_ignored() {
    let mut frame = SOLICITATION.to_vec();
    frame.extend_from_slice(&[0xa5; 7]);
    assert_eq!(Ndp::parse(&frame), Ndp::parse(&SOLICITATION));
}

#[test]
fn probe_and_announcement_survive_the_way_through_bytes() {
    let target = "2001:db8::64".parse().unwrap();
    for ndp in [Ndp::probe(MAC, LINK_LOCAL, target), Ndp::unsolicited(MAC, LINK_LOCAL, target)] {
        assert_eq!(Ndp::parse(ndp.emit().as_bytes()), Ok(ndp));
    }
}

#[test]
fn a_precedence_is_a_nonce_after_the_link_layer_address() {
    let mut sealed = PROBE_WITH_PRECEDENCE;
    reseal(&mut sealed);
    assert_eq!(sealed, PROBE_WITH_PRECEDENCE, "{:02x?}", &sealed[56..58]);
    let precedence = Precedence { members: 513, position: 772 };
    let target = "2001:db8::64".parse().unwrap();
    let probe = Ndp::probe(MAC, LINK_LOCAL, target).with_precedence(precedence);
    assert_eq!(probe.emit().as_bytes(), PROBE_WITH_PRECEDENCE);
    assert_eq!(Ndp::parse(&PROBE_WITH_PRECEDENCE), Ok(probe));
    assert_eq!(solicitation_of(&probe).precedence, Some(precedence));
    let announcement = Ndp::unsolicited(MAC, LINK_LOCAL, target);
    assert_eq!(announcement.with_precedence(precedence), announcement);
}

#[test]
fn another_nonce_is_no_precedence() {
    let precedence =
        |options: &[u8]| solicitation_of(&Ndp::parse(&with_options(options)).unwrap()).precedence;
    let nonce = [14, 1, 0x46, 0x4c, 2, 1, 3, 4];
    let expected = Some(Precedence { members: 513, position: 772 });
    assert_eq!(precedence(&nonce), expected);
    assert_eq!(precedence(&[14, 1, 0x46, 0x4d, 2, 1, 3, 4]), None);
    assert_eq!(precedence(&[13, 1, 0x46, 0x4c, 2, 1, 3, 4]), None, "a Timestamp");
    let long = [14, 2, 0x46, 0x4c, 2, 1, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(precedence(&long), None, "a Nonce of SEND");
    assert_eq!(precedence(&[&[14, 1, 0, 0, 0, 0, 0, 0], &nonce[..]].concat()), None, "the first");
    assert_eq!(precedence(&[&nonce[..], &[14, 1, 0, 0, 0, 0, 0, 0]].concat()), expected);
    // Duplicate address detection by RFC 7527: the Nonce is a random number, whatever it begins with.
    let mut detection = with_options(&nonce);
    detection[22..38].fill(0);
    reseal(&mut detection);
    assert_eq!(solicitation_of(&Ndp::parse(&detection).unwrap()).precedence, None);
}
