// SPDX-License-Identifier: Apache-2.0
//! Converts PureLB: ServiceGroups (v1 and v2), the interface of LBNodeAgents, and the annotations of Services.

use anyhow::ensure;
use crds::config::AddressRange;
use serde_json::{Value, json};

use super::documents::{Fields, kind, name, present, read, title};
use super::notes::{Names, Notes};
use super::object;
use super::services::{Becomes, Dialect};

const DIALECT: Dialect = Dialect {
    prefixes: &["purelb.io/"],
    known: &[
        ("purelb.io/service-group", Becomes::Annotation("metallb.io/address-pool")),
        ("purelb.io/addresses", Becomes::Annotation("metallb.io/loadBalancerIPs")),
        ("purelb.io/allow-shared-ip", Becomes::Annotation("metallb.io/allow-shared-ip")),
        ("purelb.io/allocated-by", Becomes::Nothing),
        ("purelb.io/allocated-from", Becomes::Nothing),
        ("purelb.io/announcing", Becomes::Nothing),
        ("purelb.io/announcing-IPv4", Becomes::Nothing),
        ("purelb.io/announcing-IPv6", Becomes::Nothing),
        ("purelb.io/pool-type", Becomes::Nothing),
    ],
    class: "purelb.io/",
};

/// The group of Services that name none.
const DEFAULT: &str = "default";

/// Converts a stream of documents.
pub(super) fn convert(
    text: &str,
    namespace: &str,
    notes: &mut Notes,
) -> anyhow::Result<Vec<Value>> {
    let all = read(text)?;
    let groups: Vec<&Value> = all.iter().filter(|object| kind(object) == "ServiceGroup").collect();
    ensure!(!groups.is_empty(), "there is no ServiceGroup in it");
    let interface = interface(&all, notes);
    let mut pools = Names::of_objects("IPAddressPool", groups.iter().map(|group| name(group)));
    let mut objects = Vec::new();
    for group in groups {
        let spec = Fields::spec(group);
        let Some((ranges, announcement)) = addresses(&spec, notes) else {
            notes.lost(title(group), "its addresses are not in it: they come from another system");
            continue;
        };
        let follow = |from: &str, to: &str| {
            Some(format!(
                "each Service whose annotation purelb.io/service-group says {from:?} must say {to:?} in metallb.io/address-pool"
            ))
        };
        let pool = pools.claim(name(group), notes, follow);
        let namespaces = spec.texts("namespaces");
        // Only the default group, and the group of a namespace, serve Services that name no group.
        let automatic = name(group) == DEFAULT || !namespaces.is_empty();
        if !namespaces.is_empty() && !spec.flag("enforceNamespaces") {
            notes.lost(spec.at("namespaces"), "other namespaces cannot ask for this pool any more");
        }
        // The pools of a namespace come first in any case.
        spec.get("namespaceDefault");
        spec.finish(notes);
        let pinned = (!namespaces.is_empty()).then(|| json!({ "namespaces": namespaces }));
        let addresses: Vec<&str> = ranges.iter().map(|range| range.pool).collect();
        let content = present([
            ("addresses", Some(json!(addresses))),
            ("autoAssign", (!automatic).then_some(Value::Bool(false))),
            ("serviceAllocation", pinned),
        ]);
        objects.push(object("v1beta1", "IPAddressPool", namespace, &pool, content));
        objects.push(announcement.object(namespace, &pool, &ranges, interface, notes));
    }
    for other in &all {
        if !matches!(kind(other), "ServiceGroup" | "LBNodeAgent" | "Service") {
            notes.lost(
                title(other),
                "only ServiceGroups, LBNodeAgents and annotations of Services are converted",
            );
        }
    }
    DIALECT.tell(&all, notes);
    Ok(objects)
}

/// The way in which a group's addresses are made known.
enum Announcement {
    Layer2,
    /// A routing program of the node reads the addresses from the dummy interface.
    Routed,
}

/// A range of a group, with the length of the prefix that is advertised for its addresses.
struct Range<'a> {
    pool: &'a str,
    aggregation: Option<&'a str>,
    at: String,
}

impl Announcement {
    fn object(
        &self,
        namespace: &str,
        pool: &str,
        ranges: &[Range<'_>],
        interface: Option<&str>,
        notes: &mut Notes,
    ) -> Value {
        let selects = ("ipAddressPools", Some(json!([pool])));
        match self {
            Self::Layer2 => {
                let interfaces = interface.map(|interface| json!([interface]));
                let spec = present([selects, ("interfaces", interfaces)]);
                object("v1beta1", "L2Advertisement", namespace, pool, spec)
            }
            Self::Routed => {
                notes.task(format!(
                    "the addresses of pool {pool:?} were advertised by a routing program of the nodes: write a BGPPeer for each router"
                ));
                let (mut v4, mut v6) = (None, None);
                for range in ranges {
                    let Some(text) = range.aggregation.filter(|text| *text != "default") else {
                        continue;
                    };
                    let length = text.trim_start_matches('/').parse::<u8>().ok();
                    match (length, AddressRange::parse(range.pool)) {
                        // A prefix that reaches beyond the pool is not valid.
                        (Some(length), Ok(whole)) if length >= whole.shortest_prefix() => {
                            let is_v4 = whole.first().is_ipv4();
                            *(if is_v4 { &mut v4 } else { &mut v6 }) = Some(json!(length));
                        }
                        _ => notes.lost(
                            format!("{}.aggregation", range.at),
                            "the pool is smaller than this prefix",
                        ),
                    }
                }
                let spec =
                    present([selects, ("aggregationLength", v4), ("aggregationLengthV6", v6)]);
                object("v1beta1", "BGPAdvertisement", namespace, pool, spec)
            }
        }
    }
}

/// The ranges of a group; none if another system gives its addresses.
fn addresses<'a>(spec: &Fields<'a>, notes: &mut Notes) -> Option<(Vec<Range<'a>>, Announcement)> {
    let (part, announcement) = match (spec.child("local"), spec.child("remote")) {
        (Some(local), _) => (local, Announcement::Layer2),
        (None, Some(remote)) => (remote, Announcement::Routed),
        (None, None) => return None,
    };
    let mut ranges = Vec::new();
    let mut add = |fields: &Fields<'a>, notes: &mut Notes| {
        // The node takes care of the subnet.
        fields.get("subnet");
        let aggregation = fields.text("aggregation");
        if let (Announcement::Layer2, Some(text)) = (&announcement, aggregation)
            && text != "default"
        {
            notes.lost(
                fields.at("aggregation"),
                "addresses that are announced on the link have no prefix",
            );
        }
        match fields.text("pool") {
            Some(pool) => ranges.push(Range { pool, aggregation, at: fields.path().to_owned() }),
            None => notes.lost(fields.path(), "it has no pool"),
        }
    };
    if part.text("pool").is_some() {
        add(&part, notes);
    }
    let lists = ["v4pools", "v6pools"].into_iter().flat_map(|key| part.list(key));
    for child in ["v4pool", "v6pool"].into_iter().filter_map(|key| part.child(key)).chain(lists) {
        add(&child, notes);
        child.finish(notes);
    }
    // ferrolb always looks for duplicate addresses.
    part.get("skipIPv6DAD");
    part.finish(notes);
    (!ranges.is_empty()).then_some((ranges, announcement))
}

/// The interface on which the nodes announce, if one is named.
fn interface<'a>(all: &'a [Value], notes: &mut Notes) -> Option<&'a str> {
    let mut found = None;
    for agent in all.iter().filter(|object| kind(object) == "LBNodeAgent") {
        let spec = Fields::spec(agent);
        if let Some(local) = spec.child("local") {
            let named = local.text("localint").or_else(|| local.text("localInterface"));
            found = found.or(named.filter(|name| *name != DEFAULT));
            // ferrolb puts nothing on a dummy interface.
            for key in ["extlbint", "dummyInterface", "sendgarp", "sendGratuitousARP", "garpConfig"]
            {
                local.get(key);
            }
            local.finish(notes);
        }
        spec.finish(notes);
    }
    found
}
