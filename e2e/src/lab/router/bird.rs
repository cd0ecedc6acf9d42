// SPDX-License-Identifier: Apache-2.0
//! BIRD 2.0, asked through birdc.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::Command;

use anyhow::ensure;

use super::super::process::Process;
use super::host::Router;
use super::neighbour::Setup;
use super::said::{Route, Session};

pub(super) fn start(router: &mut Router) -> anyhow::Result<()> {
    let (config, control) = (router.file("bird.conf"), router.file("bird.ctl"));
    std::fs::write(&config, &router.config)?;
    let arguments = ["-f", "-c", &config, "-s", &control].map(str::to_owned);
    router.spawn("bird", "/usr/sbin/bird", arguments.into())
}

pub(super) fn reload(router: &Router) -> anyhow::Result<()> {
    std::fs::write(router.file("bird.conf"), &router.config)?;
    let said = ask(router, &["configure"])?;
    ensure!(said.contains("Reconfigur"), "{said}");
    Ok(())
}

pub(super) fn config(setup: &Setup) -> String {
    let mut text = format!(
        "router id {};\nlog stderr all;\ntimeformat protocol iso long ms;\nprotocol device {{}}\n",
        setup.identifier
    );
    // Writing to a String cannot fail.
    let mut line = |words: &str| {
        let _ = writeln!(text, "{words}");
    };
    if setup.neighbours.iter().any(|neighbour| neighbour.bfd) {
        line("protocol bfd {");
        line(" interface \"*\" { interval 50 ms; multiplier 3; };");
        line(" multihop { interval 50 ms; multiplier 3; };\n}");
    }
    // Next hops are looked up among the addresses of the links.
    line("protocol direct { ipv4; ipv6; }");
    if setup.forward {
        for family in ["ipv4", "ipv6"] {
            line(&format!(
                "protocol kernel {{ merge paths on; {family} {{ export where source = RTS_BGP; }}; }}"
            ));
        }
    }
    for neighbour in &setup.neighbours {
        line(&format!("protocol bgp {} {{\n debug {{ states }};", neighbour.name));
        let local = neighbour.local.clone().unwrap_or_default();
        line(&format!(" local {local} as {};", neighbour.local_asn.unwrap_or(setup.asn)));
        line(&format!(
            " neighbor {} port {} as {};",
            neighbour.address, neighbour.port, neighbour.asn
        ));
        line(" connect retry time 2; connect delay time 1; error wait time 1, 3;");
        if neighbour.passive {
            line(" passive on;");
        }
        if let Some(password) = &neighbour.password {
            line(&format!(" password \"{password}\";"));
        }
        if let Some(hold) = neighbour.hold_time {
            line(&format!(" hold time {hold};"));
        }
        line(if neighbour.multihop { " multihop;" } else { " direct;" });
        if neighbour.ttl_security {
            line(" ttl security on;");
        }
        if neighbour.graceful_restart {
            line(" graceful restart aware;");
        }
        if neighbour.long_lived {
            line(" long lived graceful restart aware;");
        }
        if let Some(role) = &neighbour.role {
            line(&format!(" local role {role}; require roles on;"));
        }
        if neighbour.bfd {
            line(if neighbour.graceful_restart { " bfd graceful;" } else { " bfd on;" });
        }
        let families = neighbour.families;
        if families.v4() {
            let extended = if families.v6() { " extended next hop on;" } else { "" };
            line(&format!(" ipv4 {{ import all; export none;{extended} }};"));
        }
        if families.v6() {
            line(" ipv6 { import all; export none; };");
        }
        line("}");
    }
    text
}

pub(super) fn ask(router: &Router, words: &[&str]) -> anyhow::Result<String> {
    let control = router.file("bird.ctl");
    let output = Command::new("birdc").args(["-s", &control]).args(words).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success() && text.contains("BIRD"), "birdc {words:?}: {text}");
    Ok(text)
}

pub(super) fn sessions(router: &Router) -> anyhow::Result<BTreeMap<String, Session>> {
    let mut sessions = parse_sessions(&ask(router, &["show", "protocols", "all"])?);
    // The time that it shows is counted back from now and differs by a millisecond from time to time: its log tells.
    for (name, session) in &mut sessions {
        let times = times_up(router, name);
        ensure!(times > 0 || !session.established, "BIRD's log does not tell of {name}");
        session.since = format!("{times} times up");
    }
    Ok(sessions)
}

/// How often a session came up since the first program of the scenario began, by the log.
pub(super) fn times_up(router: &Router, name: &str) -> usize {
    let log = router.processes.first().map(Process::log).unwrap_or_default();
    let up = format!(" {name}: State changed to up");
    log.lines().filter(|line| line.ends_with(&up)).count()
}

fn parse_sessions(text: &str) -> BTreeMap<String, Session> {
    let mut sessions: BTreeMap<String, Session> = BTreeMap::new();
    let mut current: Option<String> = None;
    let mut of_neighbour = false;
    for line in text.lines() {
        if !line.starts_with(' ') {
            let words: Vec<&str> = line.split_whitespace().collect();
            current = None;
            if let [name, "BGP", _, _, date, time, rest @ ..] = words.as_slice() {
                let state = rest.join(" ");
                let established = state.starts_with("Established");
                let state = format!("{state} since {date} {time}");
                let session = Session { established, state, ..Session::default() };
                sessions.insert((*name).to_owned(), session);
                current = Some((*name).to_owned());
            }
            continue;
        }
        let Some(session) = current.as_ref().and_then(|name| sessions.get_mut(name)) else {
            continue;
        };
        let trimmed = line.trim();
        match trimmed.split_once(':').map(|(key, value)| (key, value.trim())) {
            Some(("Hold timer", value)) => {
                session.hold_time = value.rsplit('/').next().and_then(|hold| hold.parse().ok());
            }
            Some(("Import updates", value)) => {
                let received =
                    value.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
                session.updates = session.updates.max(Some(0)).zip(received).map(|(a, b)| a + b);
            }
            _ => {}
        }
        match trimmed {
            "Neighbor capabilities" => of_neighbour = true,
            "Local capabilities" => of_neighbour = false,
            "Neighbor graceful restart active" => session.restarting = true,
            _ if line.starts_with("      ") && of_neighbour => {
                session.capabilities.insert(trimmed.to_owned());
            }
            _ => of_neighbour &= line.starts_with("      "),
        }
    }
    sessions
}

pub(super) fn routes(router: &Router) -> anyhow::Result<Vec<Route>> {
    Ok(parse_routes(&ask(router, &["show", "route", "all"])?))
}

fn parse_routes(text: &str) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    let mut prefix = String::new();
    let mut is_bgp = false;
    for line in text.lines() {
        if let Some(attribute) = line.strip_prefix('\t') {
            if let Some(route) = routes.last_mut().filter(|_| is_bgp) {
                attribute_of(route, attribute);
            }
            continue;
        }
        let Some((before, rest)) = line.split_once('[') else { continue };
        if !line.starts_with(' ') {
            prefix = before.split_whitespace().next().unwrap_or_default().to_owned();
        }
        let protocol = rest.split_whitespace().next().unwrap_or_default();
        // Only what BGP brought ends in an AS or the letter of the origin: "[AS64512i]", "[i]".
        is_bgp = line.trim_end().ends_with("i]") || line.trim_end().ends_with("?]");
        if is_bgp {
            routes.push(Route {
                prefix: prefix.clone(),
                neighbour: protocol.to_owned(),
                ..Route::default()
            });
        }
    }
    routes
}

fn attribute_of(route: &mut Route, line: &str) {
    let Some((key, value)) = line.split_once(':') else { return };
    let value = value.trim();
    match key.trim_start_matches("BGP.") {
        "origin" => value.clone_into(&mut route.origin),
        "as_path" => value.clone_into(&mut route.as_path),
        "next_hop" => route.next_hops = value.split_whitespace().map(str::to_owned).collect(),
        "local_pref" => route.local_pref = value.parse().ok(),
        "med" => route.med = value.parse().ok(),
        "community" => route.communities = communities(value),
        "large_community" => route.large_communities = communities(value),
        _ => {}
    }
}

/// `(1234,5) (65535,65281)` or `(1, 2, 3)`
fn communities(value: &str) -> BTreeSet<String> {
    value
        .split(')')
        .map(|one| one.trim().trim_start_matches('(').replace([' '], "").replace(',', ":"))
        .filter(|one| !one.is_empty())
        .collect()
}

pub(super) fn bfd(router: &Router) -> anyhow::Result<BTreeMap<String, bool>> {
    let text = ask(router, &["show", "bfd", "sessions"])?;
    let sessions = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [address, _, state, _, ..] if address.parse::<std::net::IpAddr>().is_ok() => {
                Some(((*address).to_owned(), *state == "Up"))
            }
            _ => None,
        }
    });
    Ok(sessions.collect())
}

#[cfg(test)]
mod tests {
    use super::{communities, parse_routes, parse_sessions};

    // captured: BIRD 2.0.12, "show route all" and "show protocols all"
    const ROUTES: &str = "BIRD 2.0.12 ready.\nTable master4:\n\
        10.60.0.1/32         unicast [e1 2026-11-23 09:06:13.697] * (100) [AS64512i]\n\
        \tvia 172.30.0.11 on eth0\n\tType: BGP univ\n\tBGP.origin: IGP\n\tBGP.as_path: 64512\n\
        \tBGP.next_hop: 172.30.0.11\n\tBGP.local_pref: 100\n\tBGP.community: (1234,5) (65535,65281)\n\
        \tBGP.large_community: (1, 2, 3) (4, 5, 6)\n                     \
        unicast [i1 2026-11-23 09:06:13.697] (100) [i]\n\tBGP.local_pref: 0\n\
        10.0.0.0/8           blackhole [s4 09:06:13.697] * (200)\n\tType: static univ\n\tBGP.med: 5\n";

    #[test]
    fn paths_of_one_prefix_are_told_apart() {
        let routes = parse_routes(ROUTES);
        assert_eq!(routes.len(), 2);
        let e1 = &routes[0];
        assert_eq!((e1.prefix.as_str(), e1.neighbour.as_str()), ("10.60.0.1/32", "e1"));
        assert_eq!((e1.as_path.as_str(), e1.local_pref), ("64512", Some(100)));
        assert_eq!(e1.next_hops, ["172.30.0.11"]);
        assert!(e1.communities.contains("65535:65281") && e1.communities.len() == 2);
        assert!(e1.large_communities.contains("1:2:3") && e1.large_communities.len() == 2);
        let i1 = &routes[1];
        assert_eq!((i1.prefix.as_str(), i1.neighbour.as_str()), ("10.60.0.1/32", "i1"));
        assert_eq!((i1.as_path.as_str(), i1.local_pref, i1.med), ("", Some(0), None));
        assert!(communities("").is_empty());
    }

    #[test]
    fn a_session_has_its_time_and_its_neighbours_capabilities() {
        let text = "device1    Device     ---        up     2026-11-23 09:06:13.697  \n\n\
            e1         BGP        ---        up     2026-11-23 09:06:14.780  Established   \n  \
            BGP state:          Established\n    Local capabilities\n      Long-lived graceful restart\n    \
            Neighbor capabilities\n      Multiprotocol\n        AF announced: ipv4\n      4-octet AS numbers\n    \
            Session:          external AS4\n    Hold timer:       166.546/180\n  Channel ipv4\n    \
            State:          UP\n      Import updates:              3          0\n";
        let sessions = parse_sessions(text);
        let e1 = &sessions["e1"];
        assert!(e1.established && !e1.restarting);
        assert_eq!(e1.state, "Established since 2026-11-23 09:06:14.780");
        assert_eq!((e1.hold_time, e1.updates), (Some(180), Some(3)));
        let capabilities: Vec<&str> = e1.capabilities.iter().map(String::as_str).collect();
        assert_eq!(capabilities, ["4-octet AS numbers", "AF announced: ipv4", "Multiprotocol"]);
    }
}
