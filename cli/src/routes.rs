// SPDX-License-Identifier: Apache-2.0
//! The decisions of the speakers: by L2 the node that announces; by BGP the prefixes that each peer gets, from which
//! nodes and with which attributes. For BGP these are the speakers' own books, one per node.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bgp::Attributes;
use cluster::{Dirty, ObjectKey};
use ipnet::IpNet;
use serde::Serialize;
use speaker::{Options, RouteBooks, ServicesByAddress, Verdict, Withhold, advertise};

use crate::world::World;

/// A prefix that a peer gets with the same attributes from these nodes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedRoute {
    /// The prefix.
    pub prefix: IpNet,
    /// The BGPPeer.
    pub peer: String,
    /// The nodes that announce it.
    pub nodes: Vec<String>,
    /// LOCAL_PREF, sent to internal peers; none leaves the router's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub med: Option<u32>,
    /// The number of times that the own AS is prepended.
    #[serde(skip_serializing_if = "is_zero")]
    pub as_path_prepend: u8,
    /// Communities of all sorts, as they are written in a BGPAdvertisement.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this form")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// The books of every node.
#[derive(Default)]
pub struct Books {
    /// The books of BGP; empty where BGP is not configured.
    routes: BTreeMap<Arc<str>, RouteBooks>,
    sharing: ServicesByAddress,
    /// The verdicts of L2 for each node that was asked for: Services that share addresses are decided together.
    verdicts: RefCell<BTreeMap<Box<str>, BTreeMap<ObjectKey, Verdict>>>,
}

impl Books {
    /// Makes the books of a settled world.
    #[must_use]
    pub fn of(world: &World) -> Self {
        let sharing = ServicesByAddress::of(&world.snapshot);
        Self { routes: Self::by_bgp(world), sharing, ..Self::default() }
    }

    fn by_bgp(world: &World) -> BTreeMap<Arc<str>, RouteBooks> {
        let config = world.snapshot.config();
        if config.bgp_advertisements.is_empty() || config.peers.is_empty() {
            return BTreeMap::new();
        }
        let everything = Dirty { all: true, ..Dirty::default() };
        let books = world.snapshot.nodes().iter().map(|(name, node)| {
            let peers = config
                .peers
                .iter()
                .filter(|(_, peer)| peer.selects_node(&node.labels))
                .map(|(name, peer)| (Arc::clone(name), speaker::families(peer)))
                .collect();
            let options = Options { node: Arc::clone(name), ..world.options.clone() };
            let mut books = RouteBooks::new(options);
            books.reconcile(&world.snapshot, &everything, &peers);
            (Arc::clone(name), books)
        });
        books.collect()
    }

    /// The decision of `node`'s speaker for a Service by L2, as [`World::verdict`]; `world` is that of the books.
    #[must_use]
    pub fn verdict(&self, world: &World, key: &ObjectKey, node: &str) -> Verdict {
        let mut verdicts = self.verdicts.borrow_mut();
        let of_node = verdicts.entry(node.into()).or_default();
        if !of_node.contains_key(key) {
            of_node.extend(world.verdicts(key, &self.sharing, node));
        }
        of_node.get(key).cloned().unwrap_or_else(|| Withhold::ServiceDeleted.into())
    }

    /// Prefixes of a Service that some node advertises and no peer gets: none carries their family.
    #[must_use]
    pub fn nowhere(&self, service: &ObjectKey) -> BTreeSet<IpNet> {
        let known = self.routes.values().filter_map(|books| books.advertised().get(service));
        let all: BTreeSet<IpNet> =
            known.flat_map(|known| known.paths.iter().map(|path| path.prefix)).collect();
        let told: BTreeSet<IpNet> =
            self.routes(service).into_iter().map(|route| route.prefix).collect();
        all.difference(&told).copied().collect()
    }

    /// True if BGP is not configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// The routes that a Service takes part in.
    #[must_use]
    pub fn routes(&self, service: &ObjectKey) -> Vec<PlannedRoute> {
        let mut nodes: BTreeMap<(IpNet, &str, &Attributes), Vec<String>> = BTreeMap::new();
        for (node, books) in &self.routes {
            let Some(known) = books.advertised().get(service) else { continue };
            let prefixes: BTreeSet<IpNet> = known.paths.iter().map(|path| path.prefix).collect();
            for (peer, table) in books.tables() {
                for prefix in &prefixes {
                    if let Some(attributes) = table.get(prefix) {
                        let route = (*prefix, &**peer, &**attributes);
                        nodes.entry(route).or_default().push(node.to_string());
                    }
                }
            }
        }
        nodes
            .into_iter()
            .map(|((prefix, peer, attributes), nodes)| PlannedRoute {
                prefix,
                peer: peer.to_owned(),
                nodes,
                local_pref: attributes.local_pref(),
                med: attributes.med(),
                as_path_prepend: attributes.as_path_prepend(),
                communities: communities(attributes),
            })
            .collect()
    }
}

/// The reason why a node does not advertise a Service; none if it does.
#[must_use]
pub fn withheld(world: &World, key: &ObjectKey, node: &Arc<str>) -> Option<Withhold> {
    let service = world.snapshot.service(key)?;
    let options = Options { node: Arc::clone(node), ..world.options.clone() };
    advertise(key, service, &world.snapshot, &options).err()
}

fn communities(attributes: &Attributes) -> Vec<String> {
    let standard =
        attributes.communities().iter().map(|value| format!("{}:{}", value >> 16, value & 0xffff));
    let large = attributes.large_communities().iter().map(|[a, b, c]| format!("large:{a}:{b}:{c}"));
    let extended = attributes.extended_communities().iter().map(|octets| {
        let hexadecimal: Vec<String> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        format!("0x{}", hexadecimal.concat())
    });
    standard.chain(large).chain(extended).collect()
}

impl PlannedRoute {
    /// The attributes in one line.
    #[must_use]
    pub fn attributes(&self) -> String {
        let mut text = Vec::new();
        text.extend(self.local_pref.map(|value| format!("localPref {value}")));
        text.extend(self.med.map(|value| format!("med {value}")));
        if self.as_path_prepend > 0 {
            text.push(format!("prepended {} times", self.as_path_prepend));
        }
        if !self.communities.is_empty() {
            text.push(format!("communities {}", self.communities.join(" ")));
        }
        text.join(", ")
    }
}
