// SPDX-License-Identifier: Apache-2.0
//! Converts the ConfigMap of MetalLB 0.12 and before.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::documents::present;
use super::notes::{Names, Notes, of_pool};
use super::{BgpAdvertisement, NAMESPACE, bgp_advertisement, object};

/// The hold time of a peer that named none.
const HOLD_TIME: &str = "90s";

#[derive(Deserialize)]
struct ConfigMap {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    data: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    namespace: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[derive(Default)]
struct Configuration {
    peers: Vec<Peer>,
    bgp_communities: BTreeMap<String, String>,
    address_pools: Vec<AddressPool>,
    bfd_profiles: Vec<BfdProfile>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Peer {
    my_asn: u32,
    peer_asn: u32,
    peer_address: String,
    source_address: Option<String>,
    peer_port: Option<u16>,
    hold_time: Option<String>,
    keepalive_time: Option<String>,
    router_id: Option<String>,
    #[serde(default)]
    node_selectors: Vec<NodeSelector>,
    password: Option<String>,
    bfd_profile: Option<String>,
    ebgp_multihop: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[derive(Default)]
struct NodeSelector {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<Expression>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expression {
    key: String,
    operator: String,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct AddressPool {
    protocol: String,
    name: String,
    addresses: Vec<String>,
    avoid_buggy_ips: Option<bool>,
    auto_assign: Option<bool>,
    #[serde(default)]
    bgp_advertisements: Vec<Advertisement>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Advertisement {
    aggregation_length: Option<i32>,
    aggregation_length_v6: Option<i32>,
    localpref: Option<u32>,
    #[serde(default)]
    communities: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct BfdProfile {
    name: String,
    receive_interval: Option<u32>,
    transmit_interval: Option<u32>,
    detect_multiplier: Option<u32>,
    echo_interval: Option<u32>,
    echo_mode: Option<bool>,
    passive_mode: Option<bool>,
    minimum_ttl: Option<u32>,
}

/// Converts a whole ConfigMap, whose key `config` holds the configuration.
pub(super) fn convert_config_map(text: &str, notes: &mut Notes) -> anyhow::Result<Vec<Value>> {
    let map: ConfigMap = serde_saphyr::from_str(text).context("this is no ConfigMap")?;
    let config = map.data.get("config").context("the ConfigMap has no key `config` in its data")?;
    for key in map.data.keys().filter(|key| *key != "config") {
        notes.lost(format!("data.{key}"), "only the key config holds configuration");
    }
    convert(config, map.metadata.namespace.as_deref().unwrap_or(NAMESPACE), notes)
}

/// Converts the text of the key `config`.
pub(super) fn convert(
    text: &str,
    namespace: &str,
    notes: &mut Notes,
) -> anyhow::Result<Vec<Value>> {
    let configuration: Configuration = serde_saphyr::from_str(text).context("data.config")?;
    let profiles = names_of_profiles(&configuration.bfd_profiles, notes);
    // Of two profiles with one name take the first, since MetalLB most likely meant that.
    let mut by_name = BTreeMap::new();
    for (profile, name) in configuration.bfd_profiles.iter().zip(&profiles) {
        by_name.entry(profile.name.as_str()).or_insert(name.as_str());
    }
    let mut objects: Vec<Value> = (1..)
        .zip(&configuration.peers)
        .map(|(number, peer)| peer.convert(namespace, &format!("peer{number}"), &by_name))
        .collect();
    let mut names = Names::new(
        "IPAddressPool",
        configuration.address_pools.iter().map(|pool| pool.name.as_str()),
    );
    let pools: Vec<(&AddressPool, String)> = configuration
        .address_pools
        .iter()
        .map(|pool| {
            let name = names.claim(&pool.name, notes, |from, to| Some(of_pool(from, to)));
            (pool, name)
        })
        .collect();
    objects.extend(pools.iter().map(|(pool, name)| pool.convert(namespace, name)));
    let mut number = 0;
    for (pool, pool_name) in pools.iter().filter(|(pool, _)| pool.protocol == "bgp") {
        // A pool without advertisements had one with the defaults.
        let default = [BgpAdvertisement::default()];
        let own: Vec<BgpAdvertisement> =
            pool.bgp_advertisements.iter().map(Advertisement::convert).collect();
        for advertisement in if own.is_empty() { &default[..] } else { &own } {
            number += 1;
            let name = format!("bgpadvertisement{number}");
            objects.push(bgp_advertisement(namespace, &name, pool_name, advertisement));
        }
    }
    let layer2 = pools.iter().filter(|(pool, _)| pool.protocol == "layer2");
    objects.extend((1..).zip(layer2).map(|(number, (_, pool))| {
        let spec = json!({ "ipAddressPools": [pool] });
        object("v1beta1", "L2Advertisement", namespace, &format!("l2advertisement{number}"), spec)
    }));
    for (pool, _) in pools {
        ensure!(
            matches!(&*pool.protocol, "bgp" | "layer2"),
            "address pool {:?}: the protocol is bgp or layer2, not {:?}",
            pool.name,
            pool.protocol
        );
    }
    objects.extend(
        configuration
            .bfd_profiles
            .iter()
            .zip(&profiles)
            .map(|(profile, name)| profile.convert(namespace, name)),
    );
    if !configuration.bgp_communities.is_empty() {
        let communities: Vec<Value> = configuration
            .bgp_communities
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        let spec = json!({ "communities": communities });
        objects.push(object("v1beta1", "Community", namespace, "communities", spec));
    }
    Ok(objects)
}

fn names_of_profiles(profiles: &[BfdProfile], notes: &mut Notes) -> Vec<String> {
    let mut names = Names::new("BFDProfile", profiles.iter().map(|profile| profile.name.as_str()));
    let named = profiles.iter().map(|profile| names.claim(&profile.name, notes, |_, _| None));
    named.collect()
}

fn value<T: serde::Serialize>(value: &Option<T>) -> Option<Value> {
    value.as_ref().map(|value| json!(value))
}

impl Peer {
    fn convert(&self, namespace: &str, name: &str, profiles: &BTreeMap<&str, &str>) -> Value {
        // A profile that does not exist keeps its name: validation of the result then names what it lacks.
        let profile = self.bfd_profile.as_deref();
        let profile = profile.map(|name| profiles.get(name).copied().unwrap_or(name));
        let selectors: Vec<Value> = self.node_selectors.iter().map(NodeSelector::convert).collect();
        let hold_time = self.hold_time.as_deref().unwrap_or(HOLD_TIME);
        let spec = present([
            ("myASN", Some(json!(self.my_asn))),
            ("peerASN", Some(json!(self.peer_asn))),
            ("peerAddress", Some(json!(self.peer_address))),
            ("sourceAddress", value(&self.source_address)),
            ("peerPort", value(&self.peer_port)),
            ("holdTime", Some(json!(hold_time))),
            ("keepaliveTime", value(&self.keepalive_time)),
            ("routerID", value(&self.router_id)),
            ("nodeSelectors", (!selectors.is_empty()).then(|| json!(selectors))),
            ("password", value(&self.password)),
            ("bfdProfile", profile.map(|name| json!(name))),
            ("ebgpMultiHop", value(&self.ebgp_multihop)),
        ]);
        object("v1beta2", "BGPPeer", namespace, name, spec)
    }
}

impl NodeSelector {
    fn convert(&self) -> Value {
        let expressions: Vec<Value> = self
            .match_expressions
            .iter()
            .map(|Expression { key, operator, values }| {
                json!({ "key": key, "operator": operator, "values": values })
            })
            .collect();
        present([
            ("matchLabels", (!self.match_labels.is_empty()).then(|| json!(self.match_labels))),
            ("matchExpressions", (!expressions.is_empty()).then(|| json!(expressions))),
        ])
    }
}

impl AddressPool {
    fn convert(&self, namespace: &str, name: &str) -> Value {
        let spec = present([
            ("addresses", Some(json!(self.addresses))),
            ("avoidBuggyIPs", value(&self.avoid_buggy_ips)),
            ("autoAssign", value(&self.auto_assign)),
        ]);
        object("v1beta1", "IPAddressPool", namespace, name, spec)
    }
}

impl Advertisement {
    fn convert(&self) -> BgpAdvertisement {
        BgpAdvertisement {
            aggregation_length: self.aggregation_length,
            aggregation_length_v6: self.aggregation_length_v6,
            local_pref: self.localpref,
            communities: self.communities.clone(),
        }
    }
}

impl BfdProfile {
    fn convert(&self, namespace: &str, name: &str) -> Value {
        let spec = present([
            ("receiveInterval", value(&self.receive_interval)),
            ("transmitInterval", value(&self.transmit_interval)),
            ("detectMultiplier", value(&self.detect_multiplier)),
            ("echoInterval", value(&self.echo_interval)),
            ("echoMode", value(&self.echo_mode)),
            ("passiveMode", value(&self.passive_mode)),
            ("minimumTtl", value(&self.minimum_ttl)),
        ]);
        object("v1beta1", "BFDProfile", namespace, name, spec)
    }
}
