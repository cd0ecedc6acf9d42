// SPDX-License-Identifier: Apache-2.0
//! `AddressPool` (v1alpha1, v1beta1) of MetalLB 0.13, which 0.14 removed: a pool that says itself how it is advertised.
//!
//! It is read, never written: there is no schema of it here.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{BgpAdvertisementSpec, L2AdvertisementSpec};

/// The fields of an AddressPool, as of both versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressPoolSpec {
    /// How its addresses are announced.
    pub protocol: Protocol,
    /// CIDRs and ranges, as in an IPAddressPool.
    pub addresses: Vec<String>,
    /// Whether it is used for Services that ask for nothing in particular; so by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_assign: Option<bool>,
    /// How its prefixes are advertised, with protocol `bgp`; without any, once with the defaults.
    #[serde(default)]
    pub bgp_advertisements: Vec<PoolAdvertisement>,
}

/// How the addresses of an AddressPool are announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// By ARP and NDP, from one of all nodes.
    Layer2,
    /// By BGP.
    Bgp,
}

/// One advertisement of an AddressPool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolAdvertisement {
    /// As in a BGPAdvertisement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregation_length: Option<i32>,
    /// As in a BGPAdvertisement.
    #[serde(rename = "aggregationLengthV6", skip_serializing_if = "Option::is_none")]
    pub aggregation_length_v6: Option<i32>,
    /// As in a BGPAdvertisement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<u32>,
    /// As in a BGPAdvertisement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<String>,
}

/// The advertisements that an AddressPool stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Advertised {
    /// One by layer 2.
    Layer2(Box<L2AdvertisementSpec>),
    /// These by BGP, one at least.
    Bgp(Vec<BgpAdvertisementSpec>),
}

impl AddressPoolSpec {
    /// How the pool of this name and spec is advertised, in the terms of today: what selects this pool alone.
    #[must_use]
    pub fn advertised(&self, pool: &str) -> Advertised {
        let pools = Some(vec![pool.to_owned()]);
        match self.protocol {
            Protocol::Layer2 => Advertised::Layer2(Box::new(L2AdvertisementSpec {
                ip_address_pools: pools,
                ..L2AdvertisementSpec::default()
            })),
            Protocol::Bgp => {
                let default = [PoolAdvertisement::default()];
                let own = &self.bgp_advertisements[..];
                let all = if own.is_empty() { &default[..] } else { own };
                let today = |one: &PoolAdvertisement| BgpAdvertisementSpec {
                    aggregation_length: one.aggregation_length,
                    aggregation_length_v6: one.aggregation_length_v6,
                    local_pref: one.local_pref,
                    communities: Some(one.communities.clone()).filter(|all| !all.is_empty()),
                    ip_address_pools: pools.clone(),
                    ..BgpAdvertisementSpec::default()
                };
                Advertised::Bgp(all.iter().map(today).collect())
            }
        }
    }
}

/// An AddressPool.
#[derive(Clone, Debug, PartialEq)]
pub struct AddressPool {
    metadata: Value,
    /// What it asks for.
    pub spec: AddressPoolSpec,
}

impl AddressPool {
    /// Reads an object.
    ///
    /// # Errors
    /// When a field is missing or of another type.
    pub fn parse(object: &Value) -> Result<Self, serde_json::Error> {
        let spec = object.get("spec").cloned().unwrap_or_default();
        let metadata = object.get("metadata").cloned().unwrap_or_default();
        Ok(Self { metadata, spec: serde_json::from_value(spec)? })
    }

    fn name(&self) -> &str {
        self.metadata.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// The same as objects of today: an IPAddressPool of its name, and its advertisements.
    #[must_use]
    pub fn objects(&self) -> Vec<Value> {
        let mut pool = json!({ "addresses": self.spec.addresses });
        if let (Some(auto_assign), Some(pool)) = (self.spec.auto_assign, pool.as_object_mut()) {
            pool.insert("autoAssign".into(), json!(auto_assign));
        }
        let mut objects = vec![self.object("IPAddressPool", self.name(), pool)];
        objects.extend(self.advertisements());
        objects
    }

    /// Its advertisements as objects of today, which select this pool alone.
    #[must_use]
    pub fn advertisements(&self) -> Vec<Value> {
        match self.spec.advertised(self.name()) {
            Advertised::Layer2(spec) => {
                vec![self.object("L2Advertisement", self.name(), json!(spec))]
            }
            Advertised::Bgp(specs) => {
                let name = |number: usize| match number {
                    0 => self.name().to_owned(),
                    _ => format!("{}-{}", self.name(), number + 1),
                };
                let named = specs.iter().enumerate();
                named
                    .map(|(number, spec)| {
                        self.object("BGPAdvertisement", &name(number), json!(spec))
                    })
                    .collect()
            }
        }
    }

    fn object(&self, kind: &str, name: &str, spec: Value) -> Value {
        let mut metadata: Map<String, Value> = ["namespace", "labels", "creationTimestamp"]
            .into_iter()
            .filter_map(|key| Some((key.to_owned(), self.metadata.get(key)?.clone())))
            .collect();
        metadata.insert("name".into(), json!(name));
        json!({
            "apiVersion": "metallb.io/v1beta1", "kind": kind, "metadata": metadata, "spec": spec,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(spec: Value) -> AddressPool {
        let metadata = json!({ "name": "old", "namespace": "metallb-system" });
        AddressPool::parse(&json!({ "metadata": metadata, "spec": spec })).unwrap()
    }

    #[test]
    fn a_layer2_pool_is_announced_by_all_nodes() {
        let pool = pool(json!({ "protocol": "layer2", "addresses": ["192.0.2.0/24"] }));
        let [addresses, advertisement] = <[Value; 2]>::try_from(pool.objects()).unwrap();
        assert_eq!(addresses["spec"], json!({ "addresses": ["192.0.2.0/24"] }));
        assert_eq!(advertisement["kind"], "L2Advertisement");
        assert_eq!(advertisement["spec"], json!({ "ipAddressPools": ["old"] }));
    }

    #[test]
    fn a_bgp_pool_has_an_advertisement_for_each_of_its_own_or_one() {
        let plain =
            json!({ "protocol": "bgp", "addresses": ["192.0.2.0/24"], "autoAssign": false });
        let one = pool(plain.clone()).objects();
        assert_eq!(one.len(), 2);
        assert_eq!(one[0]["spec"]["autoAssign"], false);
        let mut two = plain;
        two["bgpAdvertisements"] = json!([
            { "aggregationLength": 24, "localPref": 100, "communities": ["64512:1"] },
            { "aggregationLengthV6": 64 },
        ]);
        let two = pool(two).advertisements();
        assert_eq!(two[0]["spec"]["localPref"], 100);
        assert_eq!(two[1]["metadata"]["name"], "old-2");
        assert_eq!(two[1]["spec"], json!({ "aggregationLengthV6": 64, "ipAddressPools": ["old"] }));
    }

    #[test]
    fn a_protocol_is_needed() {
        let spec = json!({ "protocol": "l2", "addresses": [] });
        assert!(AddressPool::parse(&json!({ "spec": spec })).is_err());
    }
}
