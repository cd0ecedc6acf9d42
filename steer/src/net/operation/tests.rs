// SPDX-License-Identifier: Apache-2.0
//! The octets of a transaction, and its parts.

use std::collections::BTreeMap;

use super::super::attribute::Attributes;
use super::super::keep::Keep;
use super::super::message::{Message, Messages};
use super::super::ruleset::{Key, TABLE};
use super::*;
use crate::history::Steps;
use crate::station::Station;

const LINGER: Duration = Duration::from_secs(3);

/// The table of IPv4 with one fellow, to which all frames of one address are led on.
fn table() -> Table {
    let station = Station {
        interface: "eth0".into(),
        hardware_address: [2, 0xf5, 0, 0, 0, 2],
        address_v4: Some([198, 51, 100, 2].into()),
        address_v6: None,
    };
    let fellows = BTreeMap::from([("b".into(), "b".into())]);
    let steps = Steps { client: Some("b".into()), fellows };
    let keep = Keep {
        fellows: BTreeMap::from([("b".into(), station)]),
        addresses: BTreeMap::from([([192, 0, 2, 10].into(), steps)]),
        loose: true,
        ..Keep::default()
    };
    keep.ruleset(&|_| Some(7)).0.tables.remove(&Family::V4).unwrap()
}

#[test]
#[cfg(target_endian = "little")]
fn the_octets_of_a_transaction_are_those_of_the_kernels_headers() {
    let mut operations = create(&table(), TABLE, LINGER);
    let steps = vec![
        Step::FlushChain("first_b".into()),
        Step::DeleteElements { set: "fellows".into(), keys: vec![vec![2, 0xf5, 0, 0, 0, 2]] },
        Step::FlushSet("served".into()),
        Step::DeleteSet("fellows".into()),
        Step::DeleteChain("first_b".into()),
        Step::DeleteTable,
    ];
    operations.extend(of(Family::V4, TABLE, steps));
    let (octets, _) = batch(&operations, Some(77), 1, true);
    let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    // The parts of the file are separated by empty lines; each begins with its title.
    let parts = include_str!("transaction.hex").split("\n\n").skip(1);
    let mut rest = octets.as_slice();
    for part in parts {
        let lines = part.lines().filter_map(|line| line.split('#').next());
        let wanted: String = lines.flat_map(str::split_whitespace).collect();
        let (message, behind) = rest.split_at(rest.len().min(wanted.len() / 2));
        assert_eq!(hex(message), wanted, "{part}");
        rest = behind;
    }
    assert_eq!(hex(rest), "");
}

#[test]
fn many_elements_are_several_messages_and_all_come_back() {
    const COUNT: u32 = 3_000;
    let elements: Elements = (0..COUNT)
        .map(|number| {
            (number.to_be_bytes().to_vec(), Some(Verdict::Goto(format!("first_{number}"))))
        })
        .collect();
    let step =
        Step::NewElements { set: "clients".into(), elements: elements.clone(), timeout: None };
    let operations = of(Family::V4, TABLE, vec![step, Step::FlushSet("served".into())]);
    let (octets, counts) = batch(&operations, None, 5, true);
    assert!(counts[0] > 1 && counts[1] == 1, "{counts:?}");
    let messages: Vec<Message<'_>> = Messages(&octets).collect();
    assert_eq!(messages.len(), counts.iter().sum::<usize>() + 2, "begin and end");
    let numbers: Vec<u32> = messages.iter().map(|message| message.sequence).collect();
    assert!(numbers.iter().copied().eq(5..5 + u32::try_from(numbers.len()).unwrap()));
    let answered = messages.iter().map(|message| message.flags & ACKNOWLEDGE != 0);
    assert_eq!(answered.filter(|it| *it).count(), 1);
    let lists = messages.iter().filter_map(|message| message.attributes().nested(3));
    let back: Elements = lists
        .flatten()
        .map(|(_, element)| {
            let element = Attributes(element);
            let key = super::super::expression::decode_value(element.nested(1).unwrap()).unwrap();
            (key.to_vec(), Verdict::decode(element.nested(2).unwrap()))
        })
        .collect();
    assert_eq!(back, elements);
}

#[test]
fn a_transaction_that_is_only_tried_has_no_end() {
    let operations = of(Family::V6, "other", vec![Step::NewTable]);
    let (octets, _) = batch(&operations, None, 1, false);
    let kinds: Vec<u16> = Messages(&octets).map(|message| message.kind).collect();
    assert_eq!(kinds, [BATCH_BEGIN, super::super::message::nftables(NEW_TABLE)]);
}

#[test]
fn time_outs_stay_within_what_the_kernel_takes() {
    let times = [Duration::ZERO, Duration::from_micros(1), LINGER, Duration::MAX];
    assert_eq!(times.map(milliseconds), [1, 1, 3_000, MOST_MILLISECONDS]);
}

#[test]
fn operations_are_told_in_words() {
    let set = Set::new(Key::Hardware, false, false);
    let steps = vec![
        Step::NewSet { name: "s".into(), id: 1, set },
        Step::NewRule { chain: "to_b".into(), rule: table().chains["to_b"].rules[0].clone() },
    ];
    let told: Vec<String> = of(Family::V6, TABLE, steps).iter().map(ToString::to_string).collect();
    let rule = "new rule of chain ip6 ferrolb to_b (counter immediate immediate dup immediate)";
    assert_eq!(told, ["new set ip6 ferrolb s", rule]);
}
