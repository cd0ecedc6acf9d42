// SPDX-License-Identifier: Apache-2.0
//! TCP MD5 (RFC 2385) and its Secret: without it there is no session and a reason, never an empty password.
//!
//! Topology: one node, BIRD and FRR with the same password.
//! Steps: the peers name a Secret that is not there: no session, the log says so; the Secret has another password: no
//! session; it has the right one: sessions. Both over IPv4 (BIRD) and IPv6 (FRR). A peer without any password, of a
//! router that wants one, gets none either. Then the password of the running sessions is changed, first in the Secret, then in the
//! routers, which end the session for that; their last words have the old key, so that the hold time tells; and
//! once more in the other order: each time there are sessions again.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;

use crate::lab::bgp::ASN;
use crate::lab::node::Proxy;
use crate::lab::objects::{bgp_peer, password_secret};
use crate::lab::router::{Kind, Neighbour, Setup};
use crate::lab::wait::{always, eventually_true};
use crate::lab::{Lab, SOON};

const SESSIONS: [(Kind, &str, &str); 2] =
    [(Kind::Bird, "v4", "172.30.0.11"), (Kind::Frr, "v6", "fd30::11")];

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_for_bgp(1, Proxy::Absent, &[])?;
    lab.node("node1")?.namespace.ip("address add 172.30.0.61/24 dev eth0")?;
    for (kind, name, address) in SESSIONS {
        lab.add_router(kind, &setup(kind, name, address, "right"))?;
        let to = if address.contains(':') { kind.v6() } else { kind.v4() };
        let spec = json!({
            "myASN": ASN, "peerASN": kind.asn(), "peerAddress": to, "connectTime": "1s",
            "sourceAddress": address, "passwordSecret": {"name": "key"}, "holdTime": "6s",
        });
        lab.kube().apply(&bgp_peer(name, spec))?;
    }
    let open = json!({
        "myASN": ASN, "peerASN": Kind::Bird.asn(), "peerAddress": Kind::Bird.v4(),
        "sourceAddress": "172.30.0.61", "connectTime": "1s",
    });
    lab.kube().apply(&bgp_peer("open", open))?;

    said(lab, "secret ref not found for peer config")?;
    none(lab, "without the Secret")?;
    let series = lab.metric_lines("node1", "metallb_bgp_session_up")?;
    for (kind, _, address) in SESSIONS {
        let to = if address.contains(':') { format!("[{}]", kind.v6()) } else { kind.v4() };
        let down = format!("metallb_bgp_session_up{{peer=\"{to}:179\"}} 0");
        ensure!(series.contains(&down), "no {down} in {series:#?}");
    }
    lab.kube().apply(&password_secret("key", "wrong"))?;
    none(lab, "with the wrong password")?;
    lab.kube().apply(&password_secret("key", "right"))?;
    for (kind, name, address) in SESSIONS {
        let key = if kind == Kind::Bird { name } else { address };
        lab.router(kind)?.wait_established(key)?;
    }
    let session = lab.router(Kind::Bird)?.session("open")?;
    ensure!(!session.established, "a session without the password: {session:?}");

    change(lab, "next", &[Side::Secret, Side::Routers])?;
    change(lab, "third", &[Side::Routers, Side::Secret])
}

/// Where a password stands.
#[derive(Clone, Copy)]
enum Side {
    Secret,
    Routers,
}

/// Changes the password of the running sessions in this order; then there are other sessions.
fn change(lab: &mut Lab, password: &str, order: &[Side]) -> anyhow::Result<()> {
    let mut before = Vec::new();
    for (kind, name, address) in SESSIONS {
        let key = if kind == Kind::Bird { name } else { address };
        before.push((kind, key, lab.router(kind)?.session(key)?.since));
    }
    for side in order {
        match side {
            Side::Secret => lab.kube().apply(&password_secret("key", password)).map(drop)?,
            Side::Routers => {
                for (kind, name, address) in SESSIONS {
                    let setup = setup(kind, name, address, password);
                    lab.router_mut(kind)?.reload(&setup.text(kind))?;
                }
            }
        }
    }
    for (kind, key, before) in before {
        let router = lab.router(kind)?;
        eventually_true(&format!("{kind} has a session with {password:?}"), SOON, || {
            let session = router.session(key)?;
            Ok(session.established && session.since != before)
        })?;
    }
    Ok(())
}

fn setup(kind: Kind, name: &str, address: &str, password: &str) -> Setup {
    let mut neighbours = vec![Neighbour::new(name, address, ASN)];
    if kind == Kind::Bird {
        neighbours.push(Neighbour::new("open", "172.30.0.61", ASN));
    }
    for neighbour in &mut neighbours {
        neighbour.password = Some(password.to_owned());
    }
    Setup::new(kind, neighbours)
}

/// Waits until the speaker has said this.
fn said(lab: &mut Lab, words: &str) -> anyhow::Result<()> {
    eventually_true(&format!("the speaker says {words:?}"), SOON, || {
        let node = lab.node("node1")?;
        Ok(node.speaker.as_ref().is_some_and(|speaker| speaker.log().contains(words)))
    })
}

/// No router has a session for a while that is much longer than a session needs to come up.
fn none(lab: &Lab, when: &str) -> anyhow::Result<()> {
    always(&format!("there is no session {when}"), Duration::from_secs(3), || {
        let mut established = lab.router(Kind::Bird)?.sessions()?;
        established.extend(lab.router(Kind::Frr)?.sessions()?);
        Ok(established.values().all(|session| !session.established))
    })
}
