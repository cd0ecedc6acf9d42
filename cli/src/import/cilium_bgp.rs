// SPDX-License-Identifier: Apache-2.0
//! Converts Cilium's BGP: CiliumBGPPeeringPolicy, and its successors CiliumBGPClusterConfig, CiliumBGPPeerConfig and
//! CiliumBGPAdvertisement.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::cilium_selector::advertised;
use super::cilium_session::{Config, Peer};
use super::documents::{Fields, kind, name, present, title};
use super::notes::{Names, Notes};
use super::object;

/// The kinds that are read here.
pub(super) const KINDS: [&str; 4] = [
    "CiliumBGPPeeringPolicy",
    "CiliumBGPClusterConfig",
    "CiliumBGPPeerConfig",
    "CiliumBGPAdvertisement",
];

/// The objects that are made, and the names in use.
struct Output<'a> {
    namespace: &'a str,
    objects: Vec<Value>,
    peers: Names,
    advertisements: Names,
}

impl Output<'_> {
    fn peer(&mut self, wanted: &str, spec: Value) -> String {
        let name = self.peers.invent(wanted);
        self.objects.push(object("v1beta2", "BGPPeer", self.namespace, &name, spec));
        name
    }

    fn advertisement(&mut self, wanted: &str, spec: Value) {
        let name = self.advertisements.invent(wanted);
        self.objects.push(object("v1beta1", "BGPAdvertisement", self.namespace, &name, spec));
    }
}

/// Converts all objects of these kinds.
pub(super) fn convert(all: &[Value], namespace: &str, notes: &mut Notes) -> Vec<Value> {
    let mut output = Output {
        namespace,
        objects: Vec::new(),
        peers: Names::new("BGPPeer", []),
        advertisements: Names::new("BGPAdvertisement", []),
    };
    let of = |wanted: &'static str| all.iter().filter(move |object| kind(object) == wanted);
    for policy in of("CiliumBGPPeeringPolicy") {
        peering_policy(policy, &mut output, notes);
    }
    let configs: BTreeMap<&str, Config> =
        of("CiliumBGPPeerConfig").map(|it| (name(it), Config::read(it, notes))).collect();
    // The peers that get each advertisement.
    let mut audience = BTreeMap::<&str, Vec<String>>::new();
    for cluster in of("CiliumBGPClusterConfig") {
        for (peer, config) in cluster_config(cluster, &configs, &mut output, notes) {
            for advertisement in of("CiliumBGPAdvertisement").filter(|it| config.selects(it)) {
                audience.entry(name(advertisement)).or_default().push(peer.clone());
            }
        }
    }
    for source in of("CiliumBGPAdvertisement") {
        match audience.get(name(source)) {
            Some(peers) => advertisement(source, peers, &mut output, notes),
            None => notes.lost(title(source), "no peer among these objects selects it"),
        }
    }
    output.objects
}

fn peering_policy(policy: &Value, output: &mut Output<'_>, notes: &mut Notes) {
    let spec = Fields::spec(policy);
    let nodes = spec.get("nodeSelector").map(|selector| json!([selector]));
    for router in spec.list("virtualRouters") {
        let asn = router.number("localASN");
        let mut peers = Vec::new();
        for neighbor in router.list("neighbors") {
            // Cilium writes the address as a prefix of one address.
            let address = neighbor.text("peerAddress");
            let address = address.map(|text| text.split('/').next().unwrap_or(text));
            let config = Config::of(&neighbor, "eBGPMultihopTTL", notes);
            let peer = Peer { asn, peer_asn: neighbor.number("peerASN"), address, interface: None };
            let port = neighbor.number("peerPort");
            neighbor.finish(notes);
            match peer.spec(&config, port, nodes.clone(), None) {
                Ok(spec) => peers.push(output.peer(name(policy), spec)),
                Err(why) => notes.lost(neighbor.path(), why),
            }
        }
        let types = router.texts("serviceAdvertisements");
        if types.iter().any(|kind| *kind != "LoadBalancerIP") {
            notes.lost(
                router.at("serviceAdvertisements"),
                "only addresses of load balancers are advertised",
            );
        }
        let selector = router.child("serviceSelector");
        let wanted = types.is_empty() || types.contains(&"LoadBalancerIP");
        if let (Some(selector), true, false) = (&selector, wanted, peers.is_empty())
            && let Some(services) = advertised(Some(selector), notes)
        {
            let spec = present([
                ("peers", Some(json!(peers))),
                ("serviceSelectors", services.map(|selector| json!([selector]))),
                ("nodeSelectors", nodes.clone()),
            ]);
            output.advertisement(name(policy), spec);
        }
        router.finish(notes);
    }
    spec.finish(notes);
}

/// The peers of a cluster's configuration by their new names, each with its kind of session.
fn cluster_config<'a>(
    cluster: &Value,
    configs: &'a BTreeMap<&str, Config>,
    output: &mut Output<'_>,
    notes: &mut Notes,
) -> Vec<(String, &'a Config)> {
    let spec = Fields::spec(cluster);
    let nodes = spec.get("nodeSelector").map(|selector| json!([selector]));
    let mut peers = Vec::new();
    for instance in spec.list("bgpInstances") {
        instance.get("name");
        let asn = instance.number("localASN");
        let listens = instance.number("localPort");
        for peer in instance.list("peers") {
            let discovery = peer.child("autoDiscovery");
            let unnumbered = discovery.as_ref().and_then(|it| it.child("unnumbered"));
            let interface = unnumbered.as_ref().and_then(|it| it.text("interface"));
            let reference = peer.child("peerConfigRef").and_then(|it| it.text("name"));
            let found = reference.and_then(|name| configs.get(name));
            if let (Some(reference), None) = (reference, found) {
                notes.lost(
                    peer.at("peerConfigRef"),
                    format!("there is no CiliumBGPPeerConfig {reference:?} among these objects"),
                );
            }
            let plain = Config::default();
            let session = Peer {
                asn,
                peer_asn: peer.number("peerASN"),
                address: peer.text("peerAddress"),
                interface,
            };
            let wanted = format!("{}-{}", name(cluster), peer.text("name").unwrap_or_default());
            peer.finish(notes);
            let config = found.unwrap_or(&plain);
            match session.spec(config, config.port, nodes.clone(), listens) {
                Ok(spec) => {
                    let name = output.peer(&wanted, spec);
                    peers.extend(found.map(|config| (name, config)));
                }
                Err(why) => notes.lost(peer.path(), why),
            }
        }
        instance.finish(notes);
    }
    spec.finish(notes);
    peers
}

fn advertisement(source: &Value, peers: &[String], output: &mut Output<'_>, notes: &mut Notes) {
    let spec = Fields::spec(source);
    for one in spec.list("advertisements") {
        let service = one.child("service");
        if one.text("advertisementType") != Some("Service") {
            notes.lost(one.path(), "only addresses of Services are advertised");
            continue;
        }
        let types = service.as_ref().map(|it| it.texts("addresses")).unwrap_or_default();
        if types.iter().any(|kind| *kind != "LoadBalancerIP") {
            notes.lost(
                one.at("service.addresses"),
                "only addresses of load balancers are advertised",
            );
        }
        // Without a selector Cilium advertises nothing.
        let selector = one.child("selector");
        let (Some(selector), true) = (selector, types.contains(&"LoadBalancerIP")) else {
            continue;
        };
        let Some(services) = advertised(Some(&selector), notes) else { continue };
        let length = |key| service.as_ref().and_then(|it| it.number(key));
        let (v4, v6) = (length("aggregationLengthIPv4"), length("aggregationLengthIPv6"));
        let aggregates = services.is_none();
        if !aggregates && (v4.is_some() || v6.is_some()) {
            notes.lost(
                one.at("service.aggregationLength"),
                "a prefix is advertised for all its addresses or for none, not for some Services",
            );
        }
        let attributes = one.child("attributes");
        let communities = attributes.as_ref().and_then(|it| it.child("communities"));
        let communities = communities.map(|it| communities_of(&it, notes)).unwrap_or_default();
        let content = present([
            ("peers", Some(json!(peers))),
            ("serviceSelectors", services.map(|selector| json!([selector]))),
            ("aggregationLength", v4.filter(|_| aggregates).map(Value::from)),
            ("aggregationLengthV6", v6.filter(|_| aggregates).map(Value::from)),
            (
                "localPref",
                attributes.as_ref().and_then(|it| it.number("localPreference")).map(Value::from),
            ),
            ("communities", (!communities.is_empty()).then(|| json!(communities))),
        ]);
        output.advertisement(name(source), content);
        one.finish(notes);
    }
    spec.finish(notes);
}

/// The communities as a BGPAdvertisement writes them.
fn communities_of(fields: &Fields<'_>, notes: &mut Notes) -> Vec<String> {
    // A community may be one number of 32 bits.
    let standard = fields.texts("standard").into_iter().map(|text| match text.parse::<u32>() {
        Ok(number) => format!("{}:{}", number >> 16, number & 0xffff),
        Err(_) => text.to_owned(),
    });
    let known = fields.texts("wellKnown").into_iter().map(ToOwned::to_owned);
    let large = fields.texts("large").into_iter().map(|text| format!("large:{text}"));
    let all = standard.chain(known).chain(large).collect();
    fields.finish(notes);
    all
}
