// SPDX-License-Identifier: Apache-2.0
//! The webhooks on a real API server, with MetalLB's configuration (failure policy Fail) and MetalLB's permissions.
//!
//! Topology: control plane and controller; the API server finds the webhooks by their Service.
//! Steps: the controller is ready, and so the API server can call it; each kind is refused once in MetalLB's words;
//! what refers to objects that come later is accepted; of two pools that overlap, created one right after the other, the second
//! is refused, and a pool is never refused for a rival that was just deleted; a peer goes through both versions
//! of its kind and back and loses nothing; caBundle is put back where it is taken away.

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::lab::kube::{Failure, path};
use crate::lab::objects::{
    bfd_profile, bgp_advertisement, bgp_peer, community, configuration, l2_advertisement, merge, pool,
};
use crate::lab::wait::{eventually, eventually_true};
use crate::lab::webhooks::{CONFIGURATIONS, PEERS_CRD, WEBHOOKS};
use crate::lab::{Lab, SOON, webhooks};

const ROUNDS: usize = 30;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    webhooks::install(lab.kube())?;
    lab.start_controller(&[])?;
    // Ready means that it can be called.
    lab.kube().create(&pool("first", &["198.51.100.0/28"])).context("the first object")?;
    refusals(lab)?;
    one_after_the_other(lab)?;
    conversion(lab)?;
    ca_bundle_is_kept(lab)
}

fn peer(name: &str, change: Value) -> Value {
    let mut spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"});
    merge(&mut spec, change);
    bgp_peer(name, spec)
}

/// What the webhook said; an error if it did not refuse.
pub(super) fn denied(answer: Result<Value, Failure>) -> anyhow::Result<String> {
    match answer {
        Err(Failure { code: Some(403), message }) if message.contains("denied the request: ") => {
            Ok(message)
        }
        Err(failure) => Err(failure.into()),
        Ok(object) => bail!("the API accepted {object}"),
    }
}

fn refusals(lab: &Lab) -> anyhow::Result<()> {
    let kube = lab.kube();
    // References to what is not there yet, and what the others below contradict.
    for object in [
        peer("later", json!({"bfdProfile": "used", "passwordSecret": {"name": "later"}})),
        bgp_advertisement("later", json!({"communities": ["later"], "localPref": 100})),
        l2_advertisement("later", json!({"ipAddressPools": ["later"]})),
        bfd_profile("used", json!({})),
        bfd_profile("unused", json!({})),
        community("alias", "64512:1"),
    ] {
        kube.create(&object).with_context(|| object.to_string())?;
    }
    let cases = [
        (
            pool("bad", &["198.51.100.8/29"]),
            r#"CIDR "198.51.100.8/29" in pool "bad" overlaps with already defined CIDR "198.51.100.0/28""#,
        ),
        (
            pool("bad", &["192.0.2.9-192.0.2.1"]),
            r#"parsing address pool bad: invalid CIDR "192.0.2.9-192.0.2.1" in pool "bad""#,
        ),
        (pool("bad", &["192.0.2.1"]), r#"invalid CIDR "192.0.2.1" in pool "bad""#),
        (
            bgp_advertisement("bad", json!({"aggregationLength": 26})),
            "invalid aggregation length 26: prefix 28 in this pool is more specific than the aggregation length for addresses 198.51.100.0/28",
        ),
        (bgp_advertisement("bad", json!({"localPref": 200})), "invalid local preference 200"),
        (
            bgp_advertisement("bad", json!({"communities": ["64512:1", "64512:1"]})),
            r#"duplicate definition of community "64512:1""#,
        ),
        (
            l2_advertisement("bad", json!({"ipAddressPools": ["a", "a"]})),
            r#"duplicate definition of ipAddressPools "a""#,
        ),
        (
            {
                let mut other = community("alias", "64512:2");
                merge(&mut other, json!({"metadata": {"name": "bad"}}));
                other
            },
            r#"duplicate definition of community "alias""#,
        ),
        (peer("bad", json!({"peerAddress": "nonsense"})), r#"invalid BGPPeer address "nonsense""#),
        (peer("bad", json!({"routerID": "x", "disableMP": true})), r#"invalid router ID "x""#),
    ];
    for (object, text) in cases {
        let said = denied(kube.create(&object)).with_context(|| object.to_string())?;
        ensure!(said.contains(text), "{object}\nwas refused with {said}");
    }
    let mut elsewhere = pool("elsewhere", &["192.0.2.0/24"]);
    merge(&mut elsewhere, json!({"metadata": {"namespace": "default"}}));
    let said = denied(kube.create(&elsewhere))?;
    ensure!(said.contains("resource must be created in metallb-system namespace"), "{said}");
    // Also when what is there is the younger one.
    kube.create(&pool("second", &["203.0.113.0/28"]))?;
    let change = json!({"spec": {"addresses": ["203.0.113.0/24"]}});
    let said = denied(kube.patch(&path(&pool("first", &[])), &change))?;
    ensure!(said.contains("overlaps with already defined CIDR"), "{said}");
    let profile = path(&bfd_profile("used", json!({})));
    let said = denied(kube.delete(&profile).map(|()| Value::Null))?;
    ensure!(said.contains("failed to delete BFDProfile used, used by BGPPeer later"), "{said}");
    kube.delete(&path(&bfd_profile("unused", json!({}))))?;
    kube.delete(&path(&peer("later", json!({}))))?;
    kube.delete(&profile)?;
    kube.delete(&path(&bgp_advertisement("later", json!({}))))?;
    Ok(())
}

/// Neither what a watch has not brought yet nor what it has not taken away yet counts wrongly.
fn one_after_the_other(lab: &Lab) -> anyhow::Result<()> {
    let kube = lab.kube();
    for round in 0..ROUNDS {
        let (one, other) = (pool("one", &["192.0.2.0/25"]), pool("other", &["192.0.2.0/24"]));
        kube.create(&one).with_context(|| format!("round {round}"))?;
        denied(kube.create(&other)).with_context(|| format!("round {round}"))?;
        kube.delete(&path(&one))?;
        kube.create(&other).with_context(|| format!("round {round}"))?;
        kube.delete(&path(&other))?;
    }
    Ok(())
}

fn conversion(lab: &Lab) -> anyhow::Result<()> {
    let kube = lab.kube();
    let as_old = |name: &str| {
        let mut old = configuration("BGPPeer", name, json!({}));
        merge(&mut old, json!({"apiVersion": "metallb.io/v1beta1"}));
        path(&old)
    };
    let new = peer("both", json!({
        "passwordSecret": {"name": "s"},
        "vrf": "red",
        "connectTime": "5s",
        "enableGracefulRestart": true,
        "dualStackAddressFamily": true,
        "localASN": 64514,
        "holdTime": "0s",
        "keepaliveTime": "0s",
        "nodeSelectors": [{"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}],
    }));
    let stored = kube.create(&new)?;
    let mut old = kube.get(&as_old("both"))?;
    ensure!(old.get("apiVersion") == Some(&json!("metallb.io/v1beta1")), "{old}");
    ensure!(old.pointer("/spec/vrf").is_none(), "v1beta1 has no VRF: {old}");
    merge(&mut old, json!({"spec": {"peerPort": 1790}}));
    kube.replace(&old).context("written as v1beta1")?;
    let after = kube.get(&path(&new))?;
    let mut expected = stored.get("spec").cloned().unwrap_or_default();
    merge(&mut expected, json!({"peerPort": 1790}));
    ensure!(after.get("spec") == Some(&expected), "{after}\nis not\n{expected}");
    ensure!(after.pointer("/metadata/annotations").is_none(), "nothing is left behind: {after}");

    // An old object, read and written as a new one.
    let mut plain = peer("plain", json!({"password": "p"}));
    merge(&mut plain, json!({"apiVersion": "metallb.io/v1beta1"}));
    kube.create(&plain).context("created as v1beta1")?;
    let read = kube.get(&path(&peer("plain", json!({}))))?;
    ensure!(read.pointer("/spec/holdTime").is_none(), "no timer became zero: {read}");
    let back = kube.get(&as_old("plain"))?;
    for (field, value) in plain.get("spec").and_then(Value::as_object).into_iter().flatten() {
        ensure!(back.pointer(&format!("/spec/{field}")) == Some(value), "{field}: {back}");
    }
    Ok(())
}

fn ca_bundle_is_kept(lab: &Lab) -> anyhow::Result<()> {
    let kube = lab.kube();
    let bundle = "/spec/conversion/webhook/clientConfig/caBundle";
    let gone = json!({"spec": {"conversion": {"webhook": {"clientConfig": {"caBundle": null}}}}});
    // The CRD stays from scenario to scenario, and trusts the authorities of those before for a while.
    kube.patch(PEERS_CRD, &gone)?;
    let before = eventually("caBundle is in the CRD", SOON, || {
        Ok(kube.get(PEERS_CRD)?.pointer(bundle).filter(|bundle| !bundle.is_null()).cloned())
    })?;
    kube.patch(PEERS_CRD, &gone)?;
    eventually_true("caBundle is back in the CRD", SOON, || {
        Ok(kube.get(PEERS_CRD)?.pointer(bundle) == Some(&before))
    })?;
    // A manifest that is applied anew brings none.
    let configuration = format!("{CONFIGURATIONS}/{WEBHOOKS}");
    let mut webhooks = kube.get(&configuration)?;
    for webhook in webhooks.get_mut("webhooks").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(client) = webhook.get_mut("clientConfig").and_then(Value::as_object_mut) {
            client.remove("caBundle");
        }
    }
    kube.replace(&webhooks)?;
    eventually_true("caBundle is back in all webhooks", SOON, || {
        let webhooks = kube.get(&configuration)?;
        let webhooks = webhooks.get("webhooks").and_then(Value::as_array).cloned();
        Ok(webhooks.is_some_and(|webhooks| {
            webhooks.iter().all(|webhook| webhook.pointer("/clientConfig/caBundle") == Some(&before))
        }))
    })?;
    eventually_true("the webhooks are called again", SOON, || {
        Ok(denied(kube.create(&pool("bad", &["nonsense"]))).is_ok())
    })
}
