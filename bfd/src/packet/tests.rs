// SPDX-License-Identifier: Apache-2.0
//! The rules of RFC 5880 section 6.8.6 that a packet alone decides, one test each, and octets of other implementations.

use hex_literal::hex;
use proptest::prelude::*;

use super::*;

fn good() -> [u8; LENGTH] {
    ControlPacket {
        diagnostic: Diagnostic::None,
        state: State::Up,
        poll: false,
        is_final: false,
        control_plane_independent: false,
        demand: false,
        detect_multiplier: 3,
        my_discriminator: 1,
        your_discriminator: 2,
        desired_min_tx_interval: 300_000,
        required_min_rx_interval: 300_000,
        required_min_echo_rx_interval: 0,
    }
    .encode()
}

fn with(changes: &[(usize, u8)]) -> [u8; LENGTH] {
    let mut octets = good();
    for (at, value) in changes {
        octets[*at] = *value;
    }
    octets
}

#[test]
fn a_version_that_is_not_1_is_discarded() {
    assert_eq!(ControlPacket::decode(&with(&[(0, 0x40)])), Err(DecodeError::Version(2)));
    assert_eq!(ControlPacket::decode(&with(&[(0, 0x00)])), Err(DecodeError::Version(0)));
}

#[test]
fn a_length_below_the_least_is_discarded() {
    assert_eq!(ControlPacket::decode(&with(&[(3, 23)])), Err(DecodeError::Length(23)));
    let authenticated = with(&[(1, 0xc4), (3, 25)]);
    let longer = [&authenticated[..], &[0; 2]].concat();
    assert_eq!(ControlPacket::decode(&longer), Err(DecodeError::Length(25)));
}

#[test]
fn a_length_beyond_the_payload_is_discarded_and_a_longer_payload_is_not() {
    assert_eq!(ControlPacket::decode(&with(&[(3, 25)])), Err(DecodeError::Length(25)));
    assert_eq!(ControlPacket::decode(&good()[..23]), Err(DecodeError::Short));
    assert_eq!(ControlPacket::decode(&[]), Err(DecodeError::Short));
    let longer = [&good()[..], &[0xff; 9]].concat();
    assert!(ControlPacket::decode(&longer).is_ok());
}

#[test]
fn a_detect_mult_of_zero_is_discarded() {
    assert_eq!(ControlPacket::decode(&with(&[(2, 0)])), Err(DecodeError::DetectMultiplier));
}

#[test]
fn the_multipoint_bit_is_discarded() {
    assert_eq!(ControlPacket::decode(&with(&[(1, 0xc1)])), Err(DecodeError::Multipoint));
}

#[test]
fn a_my_discriminator_of_zero_is_discarded() {
    assert_eq!(ControlPacket::decode(&with(&[(7, 0)])), Err(DecodeError::MyDiscriminator));
}

#[test]
fn a_your_discriminator_of_zero_is_discarded_unless_down_or_admin_down() {
    for (bits, state) in [(0x80, State::Init), (0xc0, State::Up)] {
        let packet = with(&[(11, 0), (1, bits)]);
        assert_eq!(ControlPacket::decode(&packet), Err(DecodeError::YourDiscriminator(state)));
    }
    for bits in [0x00, 0x40] {
        assert!(ControlPacket::decode(&with(&[(11, 0), (1, bits)])).is_ok());
    }
}

#[test]
fn the_authentication_bit_is_discarded() {
    let packet = [&with(&[(1, 0xc4), (3, 26)])[..], &[1, 2]].concat();
    assert_eq!(ControlPacket::decode(&packet), Err(DecodeError::Authentication));
}

/// Captured: the first packet of bfdd of FRR 8.4.4 (Debian), profile with 50 ms, before it heard anybody.
#[test]
fn a_packet_of_frr_is_read_and_written_the_same() {
    let octets = hex!("20400318 16397db7 00000000 000f4240 000f4240 0000c350");
    let packet = ControlPacket::decode(&octets).unwrap();
    assert_eq!((packet.state, packet.diagnostic), (State::Down, Diagnostic::None));
    assert_eq!((packet.my_discriminator, packet.your_discriminator), (0x1639_7db7, 0));
    assert_eq!(packet.desired_min_tx_interval, 1_000_000);
    assert_eq!(packet.required_min_rx_interval, 1_000_000);
    assert_eq!(packet.required_min_echo_rx_interval, 50_000);
    assert_eq!(packet.encode(), octets);
}

/// Captured: the first packet of BIRD 2.0.12 (Debian), `interval 50 ms`.
#[test]
fn a_packet_of_bird_is_read_and_written_the_same() {
    let octets = hex!("20400318 ddd49a90 00000000 000f4240 0000c350 00000000");
    let packet = ControlPacket::decode(&octets).unwrap();
    assert_eq!(packet.my_discriminator, 0xddd4_9a90);
    assert_eq!(packet.required_min_rx_interval, 50_000);
    assert_eq!(packet.encode(), octets);
}

#[test]
fn flags_and_diagnostic_have_their_bits() {
    let octets = hex!("27f20518 00000001 00000002 00000003 00000004 00000005");
    let packet = ControlPacket::decode(&octets).unwrap();
    assert_eq!(packet.diagnostic, Diagnostic::AdministrativelyDown);
    assert!(packet.poll && packet.is_final && packet.demand && !packet.control_plane_independent);
    let packet = ControlPacket { control_plane_independent: true, poll: false, ..packet };
    assert_eq!(packet.encode()[1], 0xda);
}

proptest! {
    #[test]
    fn arbitrary_octets_are_read_or_refused_and_written_as_they_were(
        octets in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        if let Ok(packet) = ControlPacket::decode(&octets) {
            prop_assert_eq!(&packet.encode()[..3], &octets[..3]);
            prop_assert_eq!(&packet.encode()[4..], &octets[4..LENGTH]);
            prop_assert_eq!(ControlPacket::decode(&packet.encode()), Ok(packet));
        }
    }

    #[test]
    fn what_begins_well_is_read_or_refused(
        rest in proptest::collection::vec(any::<u8>(), 20..40),
        flags in any::<u8>(),
        multiplier in 1_u8..,
    ) {
        let octets = [&[0x20, flags & 0xfa, multiplier, 24][..], &rest].concat();
        match ControlPacket::decode(&octets) {
            Ok(packet) => prop_assert_eq!(&packet.encode()[..], &octets[..LENGTH]),
            Err(error) => prop_assert!(matches!(
                error,
                DecodeError::MyDiscriminator | DecodeError::YourDiscriminator(_)
            )),
        }
    }
}
