// SPDX-License-Identifier: Apache-2.0
//! MetalLB 0.15.2's own manifest, whose webhooks have the failure policy Fail, and custom resources in one file: an apply that is repeated
//! comes through once our controller answers.
//!
//! Topology: control plane without any kind of ours; the controller starts after the first attempts.
//! Steps: `kubectl apply` of all fails twice, as nobody answers; the controller starts: the apply is repeated until it exits with 0; all
//! objects are there, and what is wrong is refused.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::helm_upgrade::delete_crds;
use crate::lab::kube::path;
use crate::lab::metallb::MetalLb;
use crate::lab::objects::{bgp_advertisement, bgp_peer, community, l2_advertisement, pool};
use crate::lab::wait::eventually;
use crate::lab::webhooks::slice_of;
use crate::lab::Lab;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let played = play(lab);
    lab.controller = None;
    // The lane goes on with its own roles and kinds in any case.
    let restored = lab.control.install();
    played.and(restored)
}

fn play(lab: &mut Lab) -> anyhow::Result<()> {
    delete_crds(lab)?;
    let own = [
        pool("one", &["198.51.100.0/24"]),
        l2_advertisement("all", json!({})),
        bgp_advertisement("all", json!({"communities": ["alias"], "peers": ["peer"]})),
        community("alias", "64512:1"),
        bgp_peer("peer", json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"})),
    ];
    let mut objects = MetalLb::new()?.manifest()?;
    objects.push(slice_of("metallb-webhook-service"));
    objects.extend(own.iter().cloned());
    for attempt in ["first", "second"] {
        let answer = lab.kubectl_apply(&objects);
        ensure!(answer.is_err(), "the {attempt} apply came through though nobody answers");
    }
    lab.spawn_controller(&[])?;
    let mut last = None;
    eventually("the apply comes through", Duration::from_secs(60), || {
        Ok(lab.kubectl_apply(&objects).map_err(|error| last = Some(error)).ok())
    })
    .with_context(|| format!("last: {last:?}"))?;
    for object in &own {
        lab.kube().get(&path(object)).with_context(|| object.to_string())?;
    }
    let wrong = lab.kube().create(&pool("wrong", &["198.51.100.0/25"]));
    let said = super::webhooks::denied(wrong.map(|_: Value| Value::Null))?;
    ensure!(said.contains("overlaps with already defined CIDR"), "{said}");
    Ok(())
}
