// SPDX-License-Identifier: Apache-2.0
//! BGP identifiers that two nodes of a cluster share, or that older routers refuse, for `ferrolb check --cluster`. RFC
//! 6286 section 2.1 wants each identifier once in an AS. Pure functions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use cluster::Snapshot;
use crds::config::{Peer, PeerAddress};
use speaker::{identifier_of_name, routers_take};

/// The warnings as texts; each stands there once, however many peers it concerns.
pub(crate) fn findings(snapshot: &Snapshot) -> Vec<String> {
    let mut texts = BTreeSet::new();
    for peer in snapshot.config().peers.values() {
        let nodes = nodes_of(peer, snapshot);
        if let Some(identifier) = peer.router_id {
            texts.extend(configured(peer, identifier, &nodes));
        } else if !matches!(peer.address, PeerAddress::Address(IpAddr::V4(_))) {
            texts.extend(shared(&nodes));
        }
    }
    texts.into_iter().collect()
}

/// The nodes that hold a session with the peer and their IPv4 addresses.
fn nodes_of(peer: &Peer, snapshot: &Snapshot) -> BTreeMap<Arc<str>, Option<Ipv4Addr>> {
    let ipv4 = |addresses: &[IpAddr]| {
        addresses.iter().find_map(|address| match address {
            IpAddr::V4(address) if routers_take(*address) => Some(*address),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        })
    };
    let nodes = snapshot.nodes().iter().filter(|(_, node)| peer.selects_node(&node.labels));
    nodes.map(|(name, node)| (Arc::clone(name), ipv4(&node.internal_addresses))).collect()
}

/// Warns about the routerID of a peer.
fn configured(
    peer: &Peer,
    identifier: Ipv4Addr,
    nodes: &BTreeMap<Arc<str>, Option<Ipv4Addr>>,
) -> Vec<String> {
    let mut texts = Vec::new();
    let name = &peer.name;
    if nodes.len() > 1 {
        texts.push(format!(
            "BGPPeer {name}: spec.routerID {identifier} is the BGP identifier of {} nodes, and a router may refuse or mix up all but one; leave it out, or give each node a BGPPeer with nodeSelectors",
            nodes.len()
        ));
    }
    if !routers_take(identifier) {
        texts.push(format!(
            "BGPPeer {name}: spec.routerID {identifier} is refused by older routers (FRR up to 7.4 with NOTIFICATION 2/3); take one of 1.0.0.0 to 223.255.255.255 outside of 127.0.0.0/8"
        ));
    }
    texts
}

/// Warns about nodes without an IPv4 address whose names make the same identifier, or the address of another node.
fn shared(nodes: &BTreeMap<Arc<str>, Option<Ipv4Addr>>) -> Vec<String> {
    let mut holders = BTreeMap::<Ipv4Addr, Vec<&str>>::new();
    for (name, address) in nodes {
        let identifier = address.unwrap_or_else(|| identifier_of_name(name));
        holders.entry(identifier).or_default().push(name);
    }
    holders.retain(|_, names| {
        names.len() > 1 && names.iter().any(|name| matches!(nodes.get(*name), Some(None)))
    });
    holders
        .into_iter()
        .map(|(identifier, names)| {
            format!(
                "nodes {} have the same BGP identifier {identifier}, which is made from the name of a node without an IPv4 address: set spec.routerID in a BGPPeer of one of them, or rename a node",
                names.join(" and ")
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::preflight::{Severity, findings};
    use crate::survey::Survey;

    fn node(name: &str, addresses: &[&str]) -> Value {
        let addresses: Vec<Value> = addresses
            .iter()
            .map(|address| json!({ "type": "InternalIP", "address": address }))
            .collect();
        json!({ "metadata": { "name": name }, "status": { "addresses": addresses } })
    }

    fn peer(name: &str, spec: &Value) -> Value {
        let mut all = json!({ "myASN": 64512, "peerASN": 64513, "peerAddress": "2001:db8::1" });
        for (field, value) in spec.as_object().unwrap() {
            all[field] = value.clone();
        }
        json!({
            "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer",
            "metadata": { "name": name, "namespace": "metallb-system" }, "spec": all,
        })
    }

    /// The warnings about identifiers.
    fn told(nodes: &[Value], peers: &[Value]) -> Vec<String> {
        let survey = Survey::of(&[("nodes", json!(nodes)), ("bgppeers", json!(peers))]);
        let warnings = findings(&survey).into_iter();
        let of_identifiers =
            |text: &String| text.contains("dentifier") || text.contains("routerID");
        warnings
            .filter(|finding| finding.severity == Severity::Warning)
            .map(|finding| finding.text)
            .filter(of_identifiers)
            .collect()
    }

    /// Two names have the same CRC-32, two share the number of the other hash, and one number is an address of the
    /// first two.
    const SAME_NUMBER: [&str; 2] = ["rack-21-node-856", "rack-3-node-6"];
    const SAME_HASH: [&str; 2] = ["rack-58-node-294", "rack-84-node-151"];
    const ADDRESS: &str = "2.135.170.59";

    #[test]
    fn two_nodes_with_one_identifier_are_told_once() {
        let peers = [peer("a", &json!({})), peer("b", &json!({ "peerAddress": "2001:db8::2" }))];
        for names in [SAME_NUMBER, SAME_HASH] {
            let nodes = names.map(|name| node(name, &["2001:db8::7"]));
            let text = told(&nodes, &peers);
            assert_eq!(text.len(), 1, "{text:?}");
            let both = format!("nodes {} and {} have the same BGP identifier", names[0], names[1]);
            assert!(text[0].starts_with(&both), "{text:?}");
        }
        let [first, _] = SAME_NUMBER;
        let beside = [node(first, &["2001:db8::7"]), node("old", &[ADDRESS, "2001:db8::8"])];
        let both = format!("nodes old and {first} have the same BGP identifier {ADDRESS}");
        assert!(told(&beside, &peers)[0].starts_with(&both));
    }

    #[test]
    fn nothing_is_told_where_no_session_has_the_number_of_a_name() {
        let nodes = SAME_NUMBER.map(|name| node(name, &["2001:db8::7"]));
        assert_eq!(told(&nodes, &[]), [] as [String; 0], "no peer");
        let ipv4 = peer("a", &json!({ "peerAddress": "192.0.2.1" }));
        assert_eq!(told(&nodes, &[ipv4]), [] as [String; 0], "a session over IPv4 has an address");
        let one = peer(
            "a",
            &json!({ "nodeSelectors": [{ "matchLabels": { "kubernetes.io/hostname": "none" } }] }),
        );
        assert_eq!(told(&nodes, &[one]), [] as [String; 0], "not both nodes");
        let other = [node("n-1", &["2001:db8::7"]), node("n-2", &["2001:db8::8"])];
        assert_eq!(told(&other, &[peer("a", &json!({}))]), [] as [String; 0]);
        let with_ipv4 = SAME_NUMBER.map(|name| node(name, &["10.0.0.1"]));
        assert_eq!(told(&with_ipv4, &[peer("a", &json!({}))]), [] as [String; 0], "no name counts");
    }

    #[test]
    fn a_router_id_of_several_nodes_and_one_that_older_routers_refuse_are_told() {
        let nodes = [node("n-1", &["10.0.0.1"]), node("n-2", &["10.0.0.2"])];
        let text = told(&nodes, &[peer("a", &json!({ "routerID": "10.9.9.9" }))]);
        assert!(text[0].contains("spec.routerID 10.9.9.9 is the BGP identifier of 2 nodes"));
        assert_eq!(told(&nodes[..1], &[peer("a", &json!({ "routerID": "10.9.9.9" }))]).len(), 0);
        let text = told(&nodes[..1], &[peer("a", &json!({ "routerID": "229.77.251.138" }))]);
        assert!(text[0].contains("spec.routerID 229.77.251.138 is refused by older routers"));
    }
}
