// SPDX-License-Identifier: Apache-2.0
//! FRR 8.4: zebra, bfdd and bgpd with their sockets in a folder of their own, asked through vtysh.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::super::netns::succeeded;
use super::super::wait::{SOON, eventually_true};
use super::host::Router;
use super::neighbour::Setup;
use super::said::{Route, Session};

pub(super) fn start(router: &mut Router) -> anyhow::Result<()> {
    let config = router.file("frr.conf");
    std::fs::write(&config, &router.config)?;
    // The daemons give up root by themselves.
    let folder = router.file("");
    let output = Command::new("chown").args(["-R", "frr:frr", &folder]).output()?;
    succeeded(&output).context("chown")?;
    let space = ["-f", &config, "-z", &router.file("zserv.api"), "--vty_socket", &folder];
    let space: Vec<String> = space.into_iter().map(str::to_owned).collect();
    for (daemon, extra) in [
        ("zebra", Vec::new()),
        ("bfdd", vec!["--bfdctl".to_owned(), router.file("bfdctl")]),
        ("bgpd", Vec::new()),
    ] {
        let pid = ["-i".to_owned(), router.file(&format!("{daemon}.pid"))];
        let arguments = space.iter().cloned().chain(pid).chain(extra).collect();
        let name = format!("frr-{daemon}");
        router.spawn(&name, &format!("/usr/lib/frr/{daemon}"), arguments)?;
        let socket = router.folder.join(format!("{daemon}.vty"));
        let process = router.processes.last_mut().context("it was just started")?;
        process.wait_ready(SOON, || Ok(socket.exists()))?;
    }
    eventually_true("FRR's daemons are joined", SOON, || {
        Ok(ask(router, &["show bgp summary json"]).is_ok())
    })
}

pub(super) fn reload(router: &Router) -> anyhow::Result<()> {
    std::fs::write(router.file("frr.conf"), &router.config)?;
    ask(router, &["configure terminal", &router.config]).map(drop)
}

pub(super) fn config(setup: &Setup) -> String {
    let mut text = String::from("log stdout informational\n");
    let mut line = |words: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{words}");
    };
    if setup.neighbours.iter().any(|neighbour| neighbour.bfd) {
        // Without an `exit`: bgpd does not know `bfd` and would leave its own configuration with it.
        line("bfd\n profile fast\n  transmit-interval 50\n  receive-interval 50".into());
    }
    line("ip nht resolve-via-default\nipv6 nht resolve-via-default".into());
    line(format!("router bgp {}\n bgp router-id {}", setup.asn, setup.identifier));
    line(" no bgp ebgp-requires-policy\n no bgp network import-check".into());
    line(" no bgp default ipv4-unicast\n bgp bestpath as-path multipath-relax".into());
    if setup.neighbours.iter().any(|neighbour| neighbour.long_lived) {
        line(" bgp long-lived-graceful-restart stale-time 600".into());
    }
    for neighbour in &setup.neighbours {
        let address = &neighbour.address;
        let mut say = |words: &str| line(format!(" neighbor {address} {words}"));
        say(&format!("remote-as {}", neighbour.asn));
        if neighbour.port != 179 {
            say(&format!("port {}", neighbour.port));
        }
        if let Some(password) = &neighbour.password {
            say(&format!("password {password}"));
        }
        if neighbour.passive {
            say("passive");
        }
        if let Some(hold) = neighbour.hold_time {
            say(&format!("timers {} {hold}", hold / 3));
        }
        if neighbour.multihop {
            say("ebgp-multihop 255");
        }
        if neighbour.families.v4() && address.contains(':') {
            say("capability extended-nexthop");
        }
        if let Some(role) = &neighbour.role {
            say(&format!("local-role {role} strict-mode"));
        }
        if neighbour.ttl_security {
            say("ttl-security hops 1");
        }
        say("timers connect 2");
        if neighbour.graceful_restart {
            say("graceful-restart-helper");
        }
        if neighbour.bfd {
            say("bfd");
            say("bfd profile fast");
            if neighbour.graceful_restart {
                say("bfd check-control-plane-failure");
            }
        }
    }
    for (family, wanted) in [("ipv4", true), ("ipv6", false)] {
        line(format!(" address-family {family} unicast"));
        for neighbour in &setup.neighbours {
            let families = neighbour.families;
            if if wanted { families.v4() } else { families.v6() } {
                line(format!("  neighbor {} activate", neighbour.address));
            }
        }
        line(" exit-address-family".into());
    }
    text
}

pub(super) fn ask(router: &Router, words: &[&str]) -> anyhow::Result<String> {
    let folder = router.file("");
    let commands = words.iter().flat_map(|word| ["-c", word]);
    let output = Command::new("vtysh").args(["--vty_socket", &folder]).args(commands).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "vtysh {words:?}: {text}");
    Ok(text)
}

fn ask_json(router: &Router, words: &[&str]) -> anyhow::Result<Vec<Value>> {
    let text = ask(router, words)?;
    let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    values.collect::<Result<_, _>>().with_context(|| format!("vtysh {words:?}: {text}"))
}

pub(super) fn refresh(router: &Router, neighbour: &str) -> anyhow::Result<()> {
    ask(router, &[&format!("clear bgp {neighbour} soft in")]).map(drop)
}

fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

fn number(value: &Value, pointer: &str) -> Option<u64> {
    value.pointer(pointer).and_then(Value::as_u64)
}

pub(super) fn sessions(router: &Router) -> anyhow::Result<BTreeMap<String, Session>> {
    let answer = ask_json(router, &["show bgp neighbors json"])?;
    let all = answer.first().and_then(Value::as_object).context("an object of neighbours")?;
    Ok(all.iter().filter(|(_, said)| said.is_object()).map(session).collect())
}

fn session((neighbour, said): (&String, &Value)) -> (String, Session) {
    let state = text(said, "/bgpState");
    let capabilities = said.get("neighborCapabilities").and_then(Value::as_object);
    let capabilities = capabilities.into_iter().flatten().filter(|(_, value)| {
        let value = value.to_string();
        value.contains("eceived")
    });
    let session = Session {
        established: state == "Established",
        state: format!("{state}, last reset: {}", text(said, "/lastResetDueTo")),
        // Its epoch is counted back from now and differs by a second from time to time.
        since: format!(
            "{} established, {} dropped, ports {} and {}",
            text(said, "/connectionsEstablished"),
            text(said, "/connectionsDropped"),
            text(said, "/portLocal"),
            text(said, "/portForeign")
        ),
        hold_time: number(said, "/bgpTimerHoldTimeMsecs").map(|hold| hold / 1000),
        updates: number(said, "/messageStats/updatesRecv"),
        capabilities: capabilities.map(|(name, _)| name.clone()).collect(),
        restarting: said.to_string().contains("\"gracefulRestartTimerMsecs\""),
    };
    (neighbour.clone(), session)
}

pub(super) fn routes(router: &Router) -> anyhow::Result<Vec<Route>> {
    let mut questions = Vec::new();
    for family in ["ipv4", "ipv6"] {
        for table in ask_json(router, &[&format!("show bgp {family} unicast json")])? {
            let routes = table.get("routes").and_then(Value::as_object).cloned();
            let prefixes = routes.unwrap_or_default().into_iter().map(|(prefix, _)| prefix);
            questions
                .extend(prefixes.map(|prefix| format!("show bgp {family} unicast {prefix} json")));
        }
    }
    let mut routes = Vec::new();
    for some in questions.chunks(50) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        for answer in ask_json(router, &some)? {
            let paths = answer.get("paths").and_then(Value::as_array).cloned().unwrap_or_default();
            let prefix = text(&answer, "/prefix");
            routes.extend(paths.iter().map(|path| route(&prefix, path)));
        }
    }
    Ok(routes)
}

fn route(prefix: &str, path: &Value) -> Route {
    let words = |pointer: &str| -> BTreeSet<String> {
        let list = path.pointer(pointer).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(known_community).collect()
    };
    let small = |pointer: &str| number(path, pointer).and_then(|value| u32::try_from(value).ok());
    let next_hops = path.get("nexthops").and_then(Value::as_array).cloned().unwrap_or_default();
    let as_path = text(path, "/aspath/string");
    Route {
        prefix: prefix.to_owned(),
        neighbour: match path.pointer("/peer/interface").and_then(Value::as_str) {
            Some(interface) => interface.to_owned(),
            None => text(path, "/peer/peerId"),
        },
        as_path: if as_path == "Local" { String::new() } else { as_path },
        next_hops: next_hops.iter().map(|hop| text(hop, "/ip")).collect(),
        origin: text(path, "/origin"),
        local_pref: small("/locPrf").or_else(|| small("/localpref")),
        med: small("/metric").or_else(|| small("/med")),
        communities: words("/community/list"),
        large_communities: words("/largeCommunity/list"),
        stale: path.get("stale").and_then(Value::as_bool) == Some(true),
    }
}

/// FRR calls some communities by name.
fn known_community(text: &str) -> String {
    match text {
        "noExport" | "no-export" => "65535:65281".to_owned(),
        "gracefulShutdown" | "graceful-shutdown" => "65535:0".to_owned(),
        other => other.to_owned(),
    }
}

pub(super) fn bfd(router: &Router) -> anyhow::Result<BTreeMap<String, bool>> {
    let answer = ask_json(router, &["show bfd peers json"])?;
    let peers = answer.first().and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(peers.iter().map(|peer| (text(peer, "/peer"), text(peer, "/status") == "up")).collect())
}
