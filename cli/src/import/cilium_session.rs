// SPDX-License-Identifier: Apache-2.0
//! A BGP session as Cilium's kinds describe it, as the spec of a BGPPeer.

use std::collections::BTreeMap;

use crds::labels::{Labels, Selector};
use serde_json::{Value, json};

use super::documents::{Fields, labels, present};
use super::notes::Notes;

/// The longest time between attempts to connect, in seconds.
const LONGEST_CONNECT_TIME: i64 = 65_535;

/// The other end of a session.
pub(super) struct Peer<'a> {
    pub(super) asn: Option<i64>,
    pub(super) peer_asn: Option<i64>,
    pub(super) address: Option<&'a str>,
    pub(super) interface: Option<&'a str>,
}

impl Peer<'_> {
    /// The spec of the BGPPeer for this session, or the reason why there is none.
    pub(super) fn spec(
        &self,
        config: &Config,
        port: Option<i64>,
        nodes: Option<Value>,
        listens: Option<i64>,
    ) -> Result<Value, &'static str> {
        let asn = self.asn.ok_or("its own AS number is not in it")?;
        let peer_asn = self.peer_asn.filter(|asn| *asn != 0);
        let peer_asn = peer_asn.ok_or(
            "a peer with any AS number: write a BGPPeer with dynamicASN internal or external",
        )?;
        if self.address.is_none() && self.interface.is_none() {
            return Err(
                "the peer is found by itself, as the gateway: write a BGPPeer with its address",
            );
        }
        let seconds = |time: Option<i64>| time.map(|seconds| json!(format!("{seconds}s")));
        Ok(present([
            ("myASN", Some(json!(asn))),
            ("peerASN", Some(json!(peer_asn))),
            ("peerAddress", self.address.map(Value::from)),
            ("interface", self.interface.filter(|_| self.address.is_none()).map(Value::from)),
            ("peerPort", port.map(Value::from)),
            ("listenPort", listens.map(Value::from)),
            ("holdTime", seconds(config.hold)),
            ("keepaliveTime", seconds(config.keepalive)),
            ("connectTime", seconds(config.connect)),
            ("passwordSecret", config.secret.as_ref().map(|name| json!({ "name": name }))),
            ("enableGracefulRestart", config.restarts.then_some(Value::Bool(true))),
            ("gracefulRestartTime", seconds(config.restart_time.filter(|_| config.restarts))),
            ("ebgpMultiHop", (config.multi_hop && asn != peer_asn).then_some(Value::Bool(true))),
            ("dualStackAddressFamily", config.both_families.then_some(Value::Bool(true))),
            ("nodeSelectors", nodes),
        ]))
    }
}

/// The settings of a session.
#[derive(Debug, Default)]
pub(super) struct Config {
    pub(super) port: Option<i64>,
    hold: Option<i64>,
    keepalive: Option<i64>,
    connect: Option<i64>,
    secret: Option<String>,
    restarts: bool,
    restart_time: Option<i64>,
    multi_hop: bool,
    both_families: bool,
    advertisements: Vec<Selector>,
}

impl Config {
    /// The settings of a CiliumBGPPeerConfig.
    pub(super) fn read(object: &Value, notes: &mut Notes) -> Self {
        let spec = Fields::spec(object);
        let mut config = Self::of(&spec, "ebgpMultihop", notes);
        if let Some(transport) = spec.child("transport") {
            config.port = transport.number("peerPort");
            transport.finish(notes);
        }
        if let Some(timers) = spec.child("timers") {
            config.set_timers(&timers, notes);
            timers.finish(notes);
        }
        spec.finish(notes);
        config
    }

    /// The fields that a CiliumBGPPeerConfig and a neighbour of a CiliumBGPPeeringPolicy have in common.
    pub(super) fn of(fields: &Fields<'_>, multi_hop: &str, notes: &mut Notes) -> Self {
        let mut config = Self::default();
        config.set_timers(fields, notes);
        config.multi_hop = fields.number(multi_hop).is_some_and(|ttl| ttl > 1);
        if let Some(secret) = fields.text("authSecretRef") {
            notes.task(format!("make a Secret {secret:?} of type kubernetes.io/basic-auth with the key password in the namespace of the new objects ({})", fields.at("authSecretRef")));
            config.secret = Some(secret.to_owned());
        }
        if let Some(restart) = fields.child("gracefulRestart") {
            config.restarts = restart.flag("enabled");
            config.restart_time = restart.number("restartTimeSeconds");
            restart.finish(notes);
        }
        let families = fields.list("families");
        let mut known = Vec::new();
        for family in &families {
            match (family.text("afi"), family.text("safi")) {
                (Some(afi @ ("ipv4" | "ipv6")), Some("unicast")) => known.push(afi),
                _ => notes.lost(family.path(), "only IPv4 and IPv6 unicast are spoken"),
            }
            let selector = family.get("advertisements").cloned();
            let selector = selector.and_then(|it| serde_json::from_value(it).ok());
            config.advertisements.extend(selector.and_then(|it| Selector::parse(&it).ok()));
            family.finish(notes);
        }
        config.both_families =
            families.is_empty() || known.contains(&"ipv4") && known.contains(&"ipv6");
        config
    }

    fn set_timers(&mut self, fields: &Fields<'_>, notes: &mut Notes) {
        self.hold = fields.number("holdTimeSeconds");
        self.keepalive = fields.number("keepAliveTimeSeconds");
        self.connect = fields.number("connectRetryTimeSeconds");
        if self.connect.is_some_and(|time| time > LONGEST_CONNECT_TIME) {
            notes.lost(
                fields.at("connectRetryTimeSeconds"),
                "65535 is the most; the default is used",
            );
            self.connect = None;
        }
    }

    pub(super) fn selects(&self, advertisement: &Value) -> bool {
        let labels = labels(advertisement).and_then(|it| serde_json::from_value(it).ok());
        let labels: Labels =
            labels.map(|it: BTreeMap<String, String>| it.into()).unwrap_or_default();
        self.advertisements.iter().any(|selector| selector.matches(&labels))
    }
}
