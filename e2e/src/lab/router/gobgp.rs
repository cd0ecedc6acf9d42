// SPDX-License-Identifier: Apache-2.0
//! GoBGP 3.10, asked through gobgp.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Context;
use serde_json::Value;

use super::host::Router;
use super::neighbour::Setup;
use super::said::{Route, Session};

pub(super) fn start(router: &mut Router) -> anyhow::Result<()> {
    let config = router.file("gobgp.toml");
    std::fs::write(&config, &router.config)?;
    let arguments = ["-f", &config, "--api-hosts", "127.0.0.1:50051"].map(str::to_owned);
    router.spawn("gobgp", "/usr/bin/gobgpd", arguments.into())
}

pub(super) fn config(setup: &Setup) -> String {
    let mut text =
        format!("[global.config]\n  as = {}\n  router-id = \"{}\"\n", setup.asn, setup.identifier);
    // Writing to a String cannot fail.
    let mut line = |words: &str| {
        let _ = writeln!(text, "{words}");
    };
    for neighbour in &setup.neighbours {
        line("[[neighbors]]\n  [neighbors.config]");
        line(&format!("    neighbor-address = \"{}\"", neighbour.address));
        line(&format!("    peer-as = {}", neighbour.asn));
        if let Some(password) = &neighbour.password {
            line(&format!("    auth-password = \"{password}\""));
        }
        line("  [neighbors.transport.config]");
        line(&format!("    passive-mode = {}", neighbour.passive));
        if neighbour.port != 179 {
            line(&format!("    remote-port = {}", neighbour.port));
        }
        line(
            "  [neighbors.timers.config]\n    connect-retry = 2\n    idle-hold-time-after-reset = 1",
        );
        if let Some(hold) = neighbour.hold_time {
            line(&format!("    hold-time = {hold}\n    keepalive-interval = {}", hold / 3));
        }
        if neighbour.multihop {
            line("  [neighbors.ebgp-multihop.config]\n    enabled = true\n    multihop-ttl = 255");
        }
        if neighbour.ttl_security {
            line("  [neighbors.ttl-security.config]\n    enabled = true\n    ttl-min = 255");
        }
        if neighbour.graceful_restart {
            line(
                "  [neighbors.graceful-restart.config]\n    enabled = true\n    helper-only = true",
            );
            line("    restart-time = 120");
        }
        let families = neighbour.families;
        for (name, wanted) in [("ipv4", families.v4()), ("ipv6", families.v6())] {
            if wanted {
                line("  [[neighbors.afi-safis]]\n    [neighbors.afi-safis.config]");
                line(&format!("      afi-safi-name = \"{name}-unicast\""));
                if neighbour.graceful_restart {
                    line(
                        "    [neighbors.afi-safis.mp-graceful-restart.config]\n      enabled = true",
                    );
                }
            }
        }
    }
    text
}

pub(super) fn ask(router: &Router, words: &[&str]) -> anyhow::Result<String> {
    router.namespace.run("gobgp", words)
}

pub(super) fn sessions(router: &Router) -> anyhow::Result<BTreeMap<String, Session>> {
    let neighbours: Vec<Value> = serde_json::from_str(&ask(router, &["neighbor", "-j"])?)?;
    neighbours.iter().map(session).collect()
}

fn number(value: &Value, pointer: &str) -> Option<u64> {
    value.pointer(pointer).and_then(Value::as_u64)
}

fn session(said: &Value) -> anyhow::Result<(String, Session)> {
    let address =
        said.pointer("/state/neighbor_address").or(said.pointer("/conf/neighbor_address"));
    let address = address.and_then(Value::as_str).context("a neighbour's address")?;
    let state = number(said, "/state/session_state");
    let capabilities = said.pointer("/state/remote_cap").and_then(Value::as_array);
    let name = |capability: &Value| {
        let url = capability.get("type_url").and_then(Value::as_str)?;
        url.rsplit('.').next().map(str::to_owned)
    };
    let session = Session {
        // The last of the states of RFC 4271, counted from Idle = 1.
        established: state == Some(6),
        state: format!("{state:?}"),
        since: format!(
            "{:?}, {:?} flops",
            number(said, "/timers/state/uptime/seconds"),
            number(said, "/state/flops")
        ),
        hold_time: number(said, "/timers/state/negotiated_hold_time"),
        updates: Some(number(said, "/state/messages/received/update").unwrap_or(0)),
        capabilities: capabilities.into_iter().flatten().filter_map(name).collect(),
        restarting: said.pointer("/graceful_restart/peer_restarting") == Some(&Value::Bool(true)),
    };
    Ok((address.to_owned(), session))
}

pub(super) fn routes(router: &Router) -> anyhow::Result<Vec<Route>> {
    let mut routes = Vec::new();
    for family in ["ipv4", "ipv6"] {
        let text = ask(router, &["global", "rib", "-a", family, "-j"])?;
        let table: Option<BTreeMap<String, Vec<Value>>> = serde_json::from_str(&text)?;
        for (prefix, paths) in table.unwrap_or_default() {
            routes.extend(paths.iter().map(|path| route(&prefix, path)));
        }
    }
    Ok(routes)
}

fn route(prefix: &str, path: &Value) -> Route {
    let text = |key: &str| path.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut route = Route {
        prefix: prefix.to_owned(),
        neighbour: text("neighbor-ip"),
        stale: path.get("stale") == Some(&Value::Bool(true)),
        ..Route::default()
    };
    let attributes = path.get("attrs").and_then(Value::as_array);
    for attribute in attributes.into_iter().flatten() {
        attribute_of(&mut route, attribute);
    }
    route
}

/// By the type of RFC 4271, 4760, 1997 and 8092.
fn attribute_of(route: &mut Route, attribute: &Value) {
    let numbers = |value: &Value| -> Vec<u64> {
        value.as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
    };
    let value = || {
        let value = attribute.get("value").or(attribute.get("metric"))?;
        u32::try_from(value.as_u64()?).ok()
    };
    match number(attribute, "/type") {
        Some(1) => {
            let names = ["IGP", "EGP", "INCOMPLETE"];
            let name = value().and_then(|value| names.get(usize::try_from(value).ok()?));
            route.origin = name.copied().unwrap_or("IGP").to_owned();
        }
        Some(2) => {
            let segments = attribute.get("as_paths").and_then(Value::as_array);
            let numbers = segments.into_iter().flatten().filter_map(|segment| segment.get("asns"));
            let all: Vec<String> = numbers.flat_map(asns).map(|asn| asn.to_string()).collect();
            route.as_path = all.join(" ");
        }
        Some(3 | 14) => {
            let hop = attribute.get("nexthop").and_then(Value::as_str).unwrap_or_default();
            route.next_hops = vec![hop.to_owned()];
        }
        Some(4) => route.med = value(),
        Some(5) => route.local_pref = value(),
        Some(8) => {
            let all = attribute.get("communities").map(numbers).unwrap_or_default();
            let words = all.iter().map(|value| format!("{}:{}", value >> 16, value & 0xffff));
            route.communities = words.collect();
        }
        Some(32) => route.large_communities = large(attribute.get("value")),
        _ => {}
    }
}

fn asns(list: &Value) -> Vec<u64> {
    list.as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
}

fn large(value: Option<&Value>) -> BTreeSet<String> {
    let part = |one: &Value, key: &str| one.get(key).and_then(Value::as_u64).unwrap_or(0);
    let all = value.and_then(Value::as_array).into_iter().flatten();
    all.map(|one| {
        format!("{}:{}:{}", part(one, "ASN"), part(one, "LocalData1"), part(one, "LocalData2"))
    })
    .collect()
}
