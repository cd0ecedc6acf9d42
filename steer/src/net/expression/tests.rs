// SPDX-License-Identifier: Apache-2.0
//! Expressions come back from their octets.

use proptest::prelude::*;

use super::*;

fn octets() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..17)
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Drop),
        Just(Verdict::Accept),
        "[a-z_.-]{1,30}".prop_map(Verdict::Goto),
    ]
}

fn base() -> impl Strategy<Value = Base> {
    prop_oneof![Just(Base::Link), Just(Base::Network), Just(Base::Transport)]
}

fn fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        Just(Fact::EtherType),
        Just(Fact::InputType),
        Just(Fact::PacketType),
        Just(Fact::Protocol),
        Just(Fact::ConnectionState),
        Just(Fact::ConnectionStatus)
    ]
}

fn comparison() -> impl Strategy<Value = Comparison> {
    prop_oneof![Just(Comparison::Equal), Just(Comparison::NotEqual), Just(Comparison::AtMost)]
}

fn expression() -> impl Strategy<Value = Expression> {
    let register = 1_u32..24;
    let number = any::<u32>();
    prop_oneof![
        (register.clone(), base(), number, number).prop_map(|(register, base, offset, length)| {
            Expression::Load { register, base, offset, length }
        }),
        (register.clone(), base(), number, number, any::<Option<u32>>()).prop_map(
            |(register, base, offset, length, checksum)| Expression::Store {
                register,
                base,
                offset,
                length,
                checksum
            }
        ),
        (register.clone(), fact()).prop_map(|(register, fact)| Expression::Fact { register, fact }),
        (register.clone(), comparison(), octets()).prop_map(|(register, comparison, value)| {
            Expression::Compare { register, comparison, value }
        }),
        (register.clone(), octets()).prop_map(|(register, mask)| Expression::Bits {
            register,
            xor: mask.clone(),
            mask
        }),
        ("[a-z]{1,9}", register.clone(), any::<bool>()).prop_map(|(set, register, inverted)| {
            Expression::Member { set, register, inverted }
        }),
        ("[a-z]{1,9}", register.clone())
            .prop_map(|(map, register)| Expression::Follow { map, register }),
        (register.clone(), octets())
            .prop_map(|(register, value)| Expression::Value { register, value }),
        verdict().prop_map(Expression::Verdict),
        any::<(u64, u64)>().prop_map(|(packets, octets)| Expression::Counter { packets, octets }),
        Just(Expression::TcpReset),
        any::<[u32; 5]>().prop_map(|[source, length, register, modulus, seed]| Expression::Hash {
            source,
            length,
            register,
            modulus,
            seed
        }),
        ("[a-z]{1,9}", register.clone(), any::<u64>())
            .prop_map(|(set, register, timeout)| Expression::Renew { set, register, timeout }),
        any::<[u32; 3]>().prop_map(|[device, address, protocol]| Expression::Forward {
            device,
            address,
            protocol
        }),
        (register.clone(), register)
            .prop_map(|(address, device)| Expression::Duplicate { address, device }),
    ]
}

proptest! {
    #[test]
    fn expressions_come_back(list in prop::collection::vec(expression(), 0..12)) {
        let mut writer = Writer::default();
        encode_all(&mut writer, &list);
        let back: Option<Vec<_>> = decode_all(Attributes(writer.as_octets())).collect();
        prop_assert_eq!(back, Some(list));
    }
}

#[test]
fn an_expression_that_is_not_ours_is_none() {
    let mut writer = Writer::default();
    writer.nested(LIST_ELEMENT, |element| {
        element.text(1, "limit").nested(2, |data| {
            data.be64(1, 7);
        });
    });
    encode_all(&mut writer, &[Expression::TcpReset]);
    let back: Vec<_> = decode_all(Attributes(writer.as_octets())).collect();
    assert_eq!(back, [None, Some(Expression::TcpReset)]);
}
