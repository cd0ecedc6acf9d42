// SPDX-License-Identifier: Apache-2.0
//! The messages of speakers that keep connections through moves (`--keep-connections`), as notices of the heartbeat.
//! Speakers of older versions pass over them.
//!
//! ```text
//!   kind (1): 7 attachments: asks (1), the number of orders that come beside them (4), for each its hardware address (6), the number of its addresses (1), the addresses as
//!               in PeerMessage, each with the length of its prefix (1)
//!             8 orders: for each an address, generation (8), the number of nodes (1), for each its length (1) and its name
//!             9 ready: for each an address and a generation (8)
//!             12 ended: the rest is the name of a member whose process has ended, and whose node goes on
//!             10 orders in which several nodes serve an address: for each an address, generation (8), hash (1: 0 connection, 1 connection and datagram, 2 client), the number of
//!               nodes (1), for each its length (1) and its name, the number of layers (1), for each the number of its nodes (1), for each its place above (1) and its weight (2)
//!             11 flows of UDP: for each an address, generation (8), the number of clients (1, not 0), for each its address (4 or 16, as the address has) and its port (2)
//! ```

mod flows;
mod layered;

use std::net::IpAddr;
use std::sync::Arc;

use steer::{Attachment, HashBy, LONGEST_ORDER, Layer, Order, Ready, ToldFlows};

use super::message::{OCTET_LIMIT, address, octets};

const ATTACHMENTS: u8 = 7;
const ORDERS: u8 = 8;
const READY: u8 = 9;
const LAYERED: u8 = 10;
const FLOWS: u8 = 11;
const ENDED: u8 = 12;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepingMessage {
    /// The links of the sender, which takes part. With `asks` it has just come, and knows nothing of the receiver.
    Attachments {
        /// True if the receiver is to tell its own attachments and orders.
        asks: bool,
        /// The number of orders that the sender tells beside this message.
        orders: u32,
        /// The links; as many as fit into one notice count.
        attachments: Vec<Attachment>,
    },
    /// The orders of addresses.
    Orders(Vec<Order>),
    /// The sender's table follows these orders.
    Ready(Vec<Ready>),
    /// Flows of UDP that the sender has, or leads on for nodes whose speaker has ended.
    Flows(Vec<ToldFlows>),
    /// The process of this member has ended, and its node goes on.
    Ended(Arc<str>),
}

impl KeepingMessage {
    /// The notices that carry the message: orders, answers and flows are split so that each notice fits. Of the nodes of an order
    /// the last ones are left out if their names are too long for one notice.
    #[must_use]
    pub fn encode(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Attachments { asks, orders, attachments } => {
                let head = [&[ATTACHMENTS, u8::from(*asks)], &orders.to_be_bytes()[..]].concat();
                let fit =
                    attachments.iter().map(attachment_octets).scan(head.len(), |length, octets| {
                        *length += octets.len();
                        (*length <= OCTET_LIMIT).then_some(octets)
                    });
                vec![fit.fold(head, |mut notice, octets| {
                    notice.extend(octets);
                    notice
                })]
            }
            Self::Orders(orders) => {
                let plain = orders.iter().filter_map(|order| order_octets(order, &order.owners()?));
                let layered = orders.iter().filter(|order| order.owners().is_none());
                let mut all = notices(ORDERS, plain);
                all.extend(notices(LAYERED, layered.filter_map(layered::octets_of)));
                all
            }
            Self::Ended(name) => vec![[&[ENDED], name.as_bytes()].concat()],
            Self::Ready(ready) => notices(
                READY,
                ready.iter().map(|Ready { address, generation }| {
                    [octets(*address), generation.to_be_bytes().to_vec()].concat()
                }),
            ),
            Self::Flows(told) => notices(FLOWS, told.iter().flat_map(flows::octets_of)),
        }
    }

    /// Reads a notice; none if its meaning is not known here.
    #[must_use]
    pub fn decode(notice: &[u8]) -> Option<Self> {
        let (kind, mut rest) = notice.split_first()?;
        match *kind {
            ATTACHMENTS => {
                let asks = octet(&mut rest)? != 0;
                let (orders, more) = rest.split_first_chunk::<4>()?;
                let orders = u32::from_be_bytes(*orders);
                Some(Self::Attachments { asks, orders, attachments: all(more, attachment)? })
            }
            ORDERS => all(rest, order).map(Self::Orders),
            LAYERED => all(rest, layered::read).map(Self::Orders),
            ENDED => {
                let name = std::str::from_utf8(rest).ok().filter(|name| !name.is_empty())?;
                Some(Self::Ended(name.into()))
            }
            READY => all(rest, |rest| {
                let (address, generation) = (whole(rest)?, number(rest)?);
                Some(Ready { address, generation })
            })
            .map(Self::Ready),
            FLOWS => all(rest, flows::read).map(Self::Flows),
            _ => None,
        }
    }
}

/// Puts as many entries into each notice as fit.
fn notices(kind: u8, entries: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut notices: Vec<Vec<u8>> = Vec::new();
    for entry in entries {
        match notices.last_mut() {
            Some(last) if last.len() + entry.len() <= OCTET_LIMIT => last.extend(entry),
            _ => notices.push([&[kind], &entry[..]].concat()),
        }
    }
    notices
}

fn attachment_octets(attachment: &Attachment) -> Vec<u8> {
    let mut octets = attachment.hardware_address.to_vec();
    let addresses = attachment.addresses.iter().take(usize::from(u8::MAX));
    octets.push(u8::try_from(addresses.len()).unwrap_or(u8::MAX));
    for (address, length) in addresses {
        octets.extend(self::octets(*address));
        octets.push(*length);
    }
    octets
}

fn order_octets(order: &Order, nodes: &[Arc<str>]) -> Option<Vec<u8>> {
    let mut octets = octets(order.address);
    octets.extend(order.generation.to_be_bytes());
    let count = octets.len();
    octets.push(0);
    let mut number = 0;
    for node in nodes.iter().take(LONGEST_ORDER) {
        if octets.len() + 1 + node.len() >= OCTET_LIMIT {
            break;
        }
        octets.extend(name_octets(node)?);
        number += 1;
    }
    *octets.get_mut(count)? = number;
    Some(octets)
}

fn name_octets(name: &str) -> Option<Vec<u8>> {
    let length = u8::try_from(name.len()).ok()?;
    Some([&[length], name.as_bytes()].concat())
}

/// Reads entries until nothing is left.
fn all<T>(mut rest: &[u8], read: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let mut entries = Vec::new();
    while !rest.is_empty() {
        entries.push(read(&mut rest)?);
    }
    Some(entries)
}

fn attachment(rest: &mut &[u8]) -> Option<Attachment> {
    let (hardware_address, more) = rest.split_first_chunk::<6>()?;
    *rest = more;
    let count = octet(rest)?;
    let addresses =
        (0..count).map(|_| Some((whole(rest)?, octet(rest)?))).collect::<Option<_>>()?;
    Some(Attachment { hardware_address: *hardware_address, addresses })
}

fn order(rest: &mut &[u8]) -> Option<Order> {
    let (address, generation) = (whole(rest)?, number(rest)?);
    let count = octet(rest)?;
    let nodes = (0..count).map(|_| name(rest)).collect::<Option<Vec<_>>>()?;
    let layers: Vec<Layer> = nodes.into_iter().map(Layer::owned).collect();
    let hash = HashBy::default();
    (!layers.is_empty() && layers.len() <= LONGEST_ORDER).then_some(Order {
        address,
        generation,
        hash,
        layers,
    })
}

fn name(rest: &mut &[u8]) -> Option<Arc<str>> {
    let length = octet(rest)?;
    let (name, more) = rest.split_at_checked(usize::from(length))?;
    *rest = more;
    std::str::from_utf8(name).ok().filter(|name| !name.is_empty()).map(Arc::from)
}

fn whole(rest: &mut &[u8]) -> Option<IpAddr> {
    let (address, marked) = address(rest)?;
    (!marked).then_some(address)
}

fn octet(rest: &mut &[u8]) -> Option<u8> {
    let (octet, more) = rest.split_first()?;
    *rest = more;
    Some(*octet)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (number, more) = rest.split_first_chunk::<8>()?;
    *rest = more;
    Some(u64::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_octets_are_those_of_the_head_of_this_file() {
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let attachments = vec![Attachment {
            hardware_address: [2, 0, 0, 0, 0, 1],
            addresses: vec![(address, 24)],
        }];
        let message = KeepingMessage::Attachments { asks: true, orders: 2, attachments };
        assert_eq!(
            message.encode(),
            [b"\x07\x01\0\0\0\x02\x02\0\0\0\0\x01\x01\x04\xc0\0\x02\x01\x18"]
        );
        let nodes = vec!["b".into(), "a1".into()];
        let orders = KeepingMessage::Orders(vec![owned(address, 3, nodes)]);
        let octets = b"\x08\x04\xc0\0\x02\x01\0\0\0\0\0\0\0\x03\x02\x01b\x02a1";
        assert_eq!(orders.encode(), [octets]);
        assert_eq!(KeepingMessage::decode(octets), Some(orders));
        let ready = KeepingMessage::Ready(vec![Ready { address, generation: 3 }]);
        let ended = KeepingMessage::Ended("a1".into());
        assert_eq!(ended.encode(), [b"\x0ca1"]);
        assert_eq!(KeepingMessage::decode(b"\x0ca1"), Some(ended));
        assert_eq!(ready.encode(), [b"\x09\x04\xc0\0\x02\x01\0\0\0\0\0\0\0\x03"]);
        for foreign in [
            &b""[..],
            b"\x06",
            b"\x07",
            b"\x0c",
            b"\x0c\xff",
            b"\x07\x01\0\0\0\x02\x02",
            b"\x08\x04\xc0\0\x02\x01\0\0\0\0\0\0\0\x03\0",
            b"\x08\x04\xc0\0\x02\x01\0\0\0\0\0\0\0\x03\x01\0",
            b"\x08\x84\xc0\0\x02\x01\0\0\0\0\0\0\0\x03\x01\x01b",
            b"\x09\x04\xc0\0\x02\x01\0",
        ] {
            assert_eq!(KeepingMessage::decode(foreign), None, "{foreign:?}");
        }
    }

    fn owned(address: IpAddr, generation: u64, nodes: Vec<Arc<str>>) -> Order {
        let layers = nodes.into_iter().map(Layer::owned).collect();
        Order { address, generation, hash: HashBy::default(), layers }
    }

    fn names() -> impl Strategy<Value = Vec<Arc<str>>> {
        let name = "[a-z0-9.-]{1,253}".prop_map(Arc::from);
        prop::collection::vec(name, 1..=LONGEST_ORDER)
    }

    proptest! {
        #[test]
        fn orders_and_answers_arrive(
            orders in prop::collection::vec((any::<IpAddr>(), any::<u64>(), names()), 0..60),
        ) {
            let orders: Vec<Order> = orders
                .into_iter()
                .map(|(address, generation, nodes)| owned(address, generation, nodes))
                .collect();
            let mut read = Vec::new();
            for notice in KeepingMessage::Orders(orders.clone()).encode() {
                prop_assert!(notice.len() <= OCTET_LIMIT);
                let Some(KeepingMessage::Orders(part)) = KeepingMessage::decode(&notice) else { panic!() };
                read.extend(part);
            }
            prop_assert_eq!(read.len(), orders.len());
            for (read, order) in read.iter().zip(&orders) {
                prop_assert_eq!((read.address, read.generation), (order.address, order.generation));
                prop_assert!(order.layers.starts_with(&read.layers));
            }
            let ready: Vec<Ready> = orders
                .iter()
                .map(|order| Ready { address: order.address, generation: order.generation })
                .collect();
            let mut read = Vec::new();
            for notice in KeepingMessage::Ready(ready.clone()).encode() {
                prop_assert!(notice.len() <= OCTET_LIMIT);
                let Some(KeepingMessage::Ready(part)) = KeepingMessage::decode(&notice) else { panic!() };
                read.extend(part);
            }
            prop_assert_eq!(read, ready);
        }

        #[test]
        fn any_octets_are_read_or_refused(octets: Vec<u8>, kind in 7..13_u8) {
            let _ = KeepingMessage::decode(&octets);
            let _ = KeepingMessage::decode(&[&[kind], &octets[..]].concat());
        }

        #[test]
        fn attachments_of_any_number_fit(attachments in prop::collection::vec(
            (any::<[u8; 6]>(), prop::collection::vec((any::<IpAddr>(), any::<u8>()), 0..20)), 0..20,
        )) {
            let attachments: Vec<Attachment> = attachments
                .into_iter()
                .map(|(hardware_address, addresses)| Attachment { hardware_address, addresses })
                .collect();
            let message = KeepingMessage::Attachments { asks: false, orders: 0, attachments: attachments.clone() };
            let [notice] = &message.encode()[..] else { panic!() };
            prop_assert!(notice.len() <= OCTET_LIMIT);
            let Some(KeepingMessage::Attachments { attachments: read, .. }) = KeepingMessage::decode(notice) else { panic!() };
            prop_assert!(attachments.starts_with(&read));
        }
    }
}
