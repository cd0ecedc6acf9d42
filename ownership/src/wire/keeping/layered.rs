// SPDX-License-Identifier: Apache-2.0
//! Orders in which several nodes serve an address: the names once, then the layers by the names' places.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use steer::{HashBy, Layer, MOST_LAYERS, Order};

use super::super::message::{OCTET_LIMIT, octets};
use super::{name, name_octets, number, octet, whole};

/// The octets of an order. The oldest layers are left out as long as they are too many for one notice.
pub(super) fn octets_of(order: &Order) -> Option<Vec<u8>> {
    let most = order.layers.len().min(MOST_LAYERS);
    (1..=most).rev().find_map(|count| {
        let octets = octets_with(order, order.layers.get(..count)?)?;
        (octets.len() < OCTET_LIMIT).then_some(octets)
    })
}

fn octets_with(order: &Order, layers: &[Layer]) -> Option<Vec<u8>> {
    let names: BTreeSet<&Arc<str>> = layers.iter().flat_map(Layer::nodes).collect();
    let places: BTreeMap<&Arc<str>, u8> = names.iter().copied().zip(0..=u8::MAX).collect();
    let mut octets = octets(order.address);
    octets.extend(order.generation.to_be_bytes());
    octets.push(match order.hash {
        HashBy::Connection => 0,
        HashBy::ConnectionAndDatagram => 1,
        HashBy::Client => 2,
    });
    octets.push(u8::try_from(names.len()).ok()?);
    for name in names {
        octets.extend(name_octets(name)?);
    }
    octets.push(u8::try_from(layers.len()).ok()?);
    for layer in layers {
        octets.push(u8::try_from(layer.weights().len()).ok()?);
        for (node, weight) in layer.weights() {
            octets.push(*places.get(node)?);
            octets.extend(u16::try_from(*weight).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    Some(octets)
}

pub(super) fn read(rest: &mut &[u8]) -> Option<Order> {
    let (address, generation) = (whole(rest)?, number(rest)?);
    let hash = match octet(rest)? {
        0 => HashBy::Connection,
        1 => HashBy::ConnectionAndDatagram,
        2 => HashBy::Client,
        _ => return None,
    };
    let count = octet(rest)?;
    let names = (0..count).map(|_| name(rest)).collect::<Option<Vec<_>>>()?;
    let count = octet(rest)?;
    let layers = (0..count).map(|_| layer(rest, &names)).collect::<Option<Vec<_>>>()?;
    let fits = !layers.is_empty() && layers.len() <= MOST_LAYERS;
    fits.then_some(Order { address, generation, hash, layers })
}

fn layer(rest: &mut &[u8], names: &[Arc<str>]) -> Option<Layer> {
    let count = octet(rest)?;
    let mut weights = BTreeMap::new();
    for _ in 0..count {
        let node = names.get(usize::from(octet(rest)?))?;
        let (weight, more) = rest.split_first_chunk::<2>()?;
        *rest = more;
        weights.insert(Arc::clone(node), u32::from(u16::from_be_bytes(*weight)));
    }
    Layer::told(weights)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::super::KeepingMessage;
    use super::*;

    fn layer_of(weights: &[(&str, u32)]) -> Layer {
        let weights = weights.iter().map(|(node, weight)| ((*node).into(), *weight));
        Layer::spread(weights.collect()).unwrap()
    }

    #[test]
    fn the_octets_are_those_of_the_head_of_the_file_above() {
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let layers = vec![layer_of(&[("a1", 1), ("b", 260)]), layer_of(&[("b", 1)])];
        let order = Order { address, generation: 3, hash: HashBy::Client, layers };
        let message = KeepingMessage::Orders(vec![order]);
        let octets = b"\x0a\x04\xc0\0\x02\x01\0\0\0\0\0\0\0\x03\x02\x02\x02a1\x01b\x02\x02\0\0\x01\x01\x01\x04\x01\x01\0\x01";
        assert_eq!(message.encode(), [octets]);
        assert_eq!(KeepingMessage::decode(octets), Some(message));
        for place in 1..octets.len() {
            assert_eq!(KeepingMessage::decode(&octets[..place]).is_some(), place == 1, "{place}");
        }
        for (place, octet) in [(14, 3), (21, 0), (22, 0), (23, 2), (25, 0)] {
            let mut foreign = octets.to_vec();
            foreign[place] = octet;
            assert_eq!(KeepingMessage::decode(&foreign), None, "{place}");
        }
    }

    proptest! {
        #[test]
        fn the_newest_layers_arrive(
            address: IpAddr,
            layers in prop::collection::vec(
                prop::collection::btree_map("[a-z0-9.-]{1,253}", 1..u32::MAX, 2..80), 1..MOST_LAYERS,
            ),
        ) {
            let layers: Vec<Layer> = layers
                .into_iter()
                .filter_map(|layer| Layer::spread(layer.into_iter().map(|(node, weight)| (node.into(), weight)).collect()))
                .collect();
            let order = Order { address, generation: 1, hash: HashBy::Connection, layers };
            let notices = KeepingMessage::Orders(vec![order.clone()]).encode();
            prop_assert_eq!(notices.len(), 1);
            prop_assert!(notices[0].len() <= OCTET_LIMIT);
            let Some(KeepingMessage::Orders(read)) = KeepingMessage::decode(&notices[0]) else { panic!() };
            prop_assert!(order.layers.starts_with(&read[0].layers) && !read[0].layers.is_empty());
        }
    }
}
