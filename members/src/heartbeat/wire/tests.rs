// SPDX-License-Identifier: Apache-2.0

use hex_literal::hex;
use proptest::prelude::*;

use super::*;

#[test]
fn golden() {
    // Written out by hand from the layout in the module's head.
    let message = Message {
        from: "ab".into(),
        stamp: Stamp { session: 0x0102_0304_0506_0708, counter: 9 },
        echo: Some(Stamp { session: 0x1112_1314_1516_1718, counter: 10 }),
        view: Opinion::Suspect,
        side: Side::Majority,
        mark: *b"0123456789abcdef",
        body: Body::Report { about: "c".into(), silent_for: Some(258) },
    };
    let bytes = hex!(
        "02 6162 0102030405060708 0000000000000009 1112131415161718 000000000000000a"
        "02 01 30313233343536373839616263646566 04 01 63 0102"
    );
    assert_eq!(message.encode(), bytes);
    assert_eq!(Message::decode(&bytes), Ok(message));
}

#[test]
fn what_is_wrong_is_named() {
    let message = Message {
        from: "node".into(),
        stamp: Stamp { session: 1, counter: 1 },
        echo: None,
        view: Opinion::Alive,
        side: Side::Minority,
        mark: Mark::default(),
        body: Body::Heartbeat,
    };
    let good = message.encode();
    assert_eq!(Message::decode(&good[..good.len() - 1]), Err(DecodeError::Truncated));
    assert_eq!(Message::decode(&[&good[..], &[0, 0]].concat()), Err(DecodeError::Trailing(2)));
    assert_eq!(Message::decode(&[0]), Err(DecodeError::Name));
    assert_eq!(Message::decode(&[254; 300]), Err(DecodeError::Name));
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Message::decode(&bytes)
    };
    assert_eq!(changed(12, 0), Err(DecodeError::Value("session")));
    assert_eq!(changed(37, 4), Err(DecodeError::Value("view")));
    assert_eq!(changed(38, 3), Err(DecodeError::Value("side")));
    assert_eq!(changed(good.len() - 1, 8), Err(DecodeError::Value("kind")));
    let long =
        Message { body: Body::Notice { id: 1, bytes: vec![0; NOTICE_LIMIT + 1] }, ..message };
    assert_eq!(Message::decode(&long.encode()), Err(DecodeError::TooLong(NOTICE_LIMIT + 1)));
}

fn name() -> impl Strategy<Value = Arc<str>> {
    "[a-z0-9.-]{1,253}".prop_map(Arc::from)
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        Just(Body::Heartbeat),
        Just(Body::Probe),
        Just(Body::Answer),
        Just(Body::PingAll),
        name().prop_map(|about| Body::Ask { about }),
        (name(), prop::option::of(0..u16::MAX))
            .prop_map(|(about, silent_for)| Body::Report { about, silent_for }),
        (any::<u32>(), prop::collection::vec(any::<u8>(), 0..=NOTICE_LIMIT))
            .prop_map(|(id, bytes)| Body::Notice { id, bytes }),
        any::<u32>().prop_map(|id| Body::NoticeReceived { id }),
    ]
}

proptest! {
    #[test]
    fn reads_what_it_wrote(
        from in name(),
        session in 1..u64::MAX,
        counter: u64,
        echo in prop::option::of((1..u64::MAX, any::<u64>())),
        view in prop::sample::select(vec![Opinion::Unknown, Opinion::Alive, Opinion::Suspect, Opinion::Dead]),
        side in prop::sample::select(vec![Side::Undecided, Side::Majority, Side::Minority]),
        mark: Mark,
        body in body(),
    ) {
        let stamp = Stamp { session, counter };
        let echo = echo.map(|(session, counter)| Stamp { session, counter });
        let message = Message { from, stamp, echo, view, side, mark, body };
        let bytes = message.encode();
        prop_assert!(bytes.len() <= 1_400);
        prop_assert_eq!(Message::decode(&bytes), Ok(message));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
        }
    }
}
