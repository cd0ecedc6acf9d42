// SPDX-License-Identifier: Apache-2.0
//! A newcomer's installation in one apply: the CRDs are there, everything else comes in random order, custom resources
//! included.
//!
//! Topology: control plane; the controller runs, or starts after the apply (`APPLY_LATE` seconds, 0 if not given).
//! Steps: some rounds (`APPLY_ROUNDS`) of `kubectl apply` of our own manifest without its CRDs, and one object of each kind, shuffled:
//! exit 0, all objects are there, and what is wrong is refused once the controller is ready.

use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use crate::lab::kube::{Failure, SYSTEM, documents, path};
use crate::lab::objects::{
    bfd_profile, bgp_advertisement, bgp_peer, community, delete_all, l2_advertisement, password_secret, pool,
};
use crate::lab::wait::eventually_true;
use crate::lab::webhooks::slice_of;
use crate::lab::{Lab, SOON};

const MANIFEST: &str = include_str!("../../../manifests/ferrolb.yaml");
const ROUNDS: u64 = 6;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let played = play(lab);
    lab.controller = None;
    lab.kube().delete(&format!("/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"))?;
    // The lane goes on with MetalLB's roles in any case.
    let restored = lab.control.install();
    played.and(restored)
}

fn play(lab: &mut Lab) -> anyhow::Result<()> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let late = Duration::from_secs(number("APPLY_LATE").unwrap_or(0));
    for round in 0..number("APPLY_ROUNDS").unwrap_or(ROUNDS) {
        let is_late = round % 2 == 0;
        one(lab, round, is_late.then_some(late))
            .with_context(|| format!("round {round}, late: {is_late}"))?;
    }
    Ok(())
}

fn one(lab: &mut Lab, round: u64, late: Option<Duration>) -> anyhow::Result<()> {
    lab.controller = None;
    delete_all(lab.kube())?;
    if late.is_none() {
        lab.spawn_controller(&[])?;
    }
    let mut objects = documents(MANIFEST)?;
    let kind = |object: &Value| object.get("kind").and_then(Value::as_str).map(str::to_owned);
    objects.retain(|object| kind(object).as_deref() != Some("CustomResourceDefinition"));
    objects.push(slice_of("metallb-webhook-service"));
    let own = [
        pool("one", &["198.51.100.0/24"]),
        pool("two", &["203.0.113.0/25", "fd00::1-fd00::ff"]),
        l2_advertisement("all", json!({})),
        bgp_advertisement("all", json!({"communities": ["alias"], "peers": ["peer"]})),
        community("alias", "64512:1"),
        bfd_profile("fast", json!({"receiveInterval": 100})),
        password_secret("password", "secret"),
        bgp_peer("peer", json!({
            "myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1", "bfdProfile": "fast",
            "passwordSecret": {"name": "password"},
        })),
    ];
    objects.extend(own.iter().cloned());
    shuffle(&mut objects, round);
    lab.kubectl_apply(&objects)?;
    for object in &own {
        lab.kube().get(&path(object)).with_context(|| object.to_string())?;
    }
    if let Some(late) = late {
        std::thread::sleep(late);
        lab.spawn_controller(&[])?;
    }
    lab.wait_controller()?;
    eventually_true("what is wrong is refused", SOON, || {
        let answer = lab.kube().create(&pool("wrong", &["198.51.100.0/25"]));
        if answer.is_ok() {
            // Nobody was asked yet.
            lab.kube().delete(&path(&pool("wrong", &[])))?;
        }
        Ok(matches!(answer, Err(Failure { code: Some(403), .. })))
    })
}

/// Another order for each seed (a linear congruential generator, and Fisher and Yates).
fn shuffle(objects: &mut [Value], seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for last in (1..objects.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = usize::try_from(state >> 33).unwrap_or(0) % (last + 1);
        objects.swap(last, other);
    }
}
