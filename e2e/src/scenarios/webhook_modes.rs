// SPDX-License-Identifier: Apache-2.0
//! The controller's flags about webhooks: `--webhook-mode` in its three values and a fourth that there is not, `--webhook-http2`,
//! `--disable-cert-rotation` with a certificate of the user's.
//!
//! Topology: control plane and controller.
//! Steps: onlywebhook with HTTP/2 refuses what is wrong and gives no addresses; disabled gives them and listens for nobody, and says that
//! peers cannot be converted, until their CRD names no webhook; a certificate of the user's is shown, by HTTP/1.1 only, and the Secret is left alone; a mode that there is not ends the program.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;

use super::cluster_commands::ferrolb;
use crate::lab::kube::{Failure, SYSTEM, path};
use crate::lab::netns::succeeded;
use crate::lab::objects::{POOL_V4, bgp_peer, pool, service};
use crate::lab::wait::{always, eventually, eventually_true};
use crate::lab::webhooks::{PEERS_CRD, manifests};
use crate::lab::{Lab, SOON};

const SECRET: &str = "/api/v1/namespaces/metallb-system/secrets/metallb-webhook-cert";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let played = play(lab);
    let restored = lab.control.install();
    played.and(restored)
}

fn play(lab: &mut Lab) -> anyhow::Result<()> {
    for object in manifests("Ignore")? {
        lab.kube().apply(&object)?;
    }
    lab.kube().apply(&pool("pool", &[POOL_V4]))?;
    lab.kube().create(&service("web", json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    only_webhooks(lab).context("onlywebhook")?;
    disabled(lab).context("disabled")?;
    own_certificate(lab).context("the user's certificate")?;
    lab.controller = None;
    lab.spawn_controller(&["--webhook-mode=sometimes"])?;
    let controller = lab.controller.as_mut().context("no controller")?;
    let ended = eventually("a mode that there is not ends it", SOON, || Ok(controller.ended()))?;
    ensure!(!ended.success(), "it ended with {ended}");
    Ok(())
}

/// A pool with addresses of another one.
fn is_refused(lab: &Lab) -> anyhow::Result<bool> {
    let wrong = pool("wrong", &["172.30.0.210-172.30.0.230"]);
    let answer = lab.kube().create(&wrong);
    if answer.is_ok() {
        lab.kube().delete(&path(&wrong))?;
    }
    Ok(matches!(answer, Err(Failure { code: Some(403), .. })))
}

fn only_webhooks(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_controller(&["--webhook-mode=onlywebhook", "--webhook-http2"])?;
    eventually_true("what is wrong is refused", SOON, || is_refused(lab))?;
    ensure!(handshake(lab)?.contains("ALPN protocol: h2"), "HTTP/2 is not spoken");
    always("no address is given", Duration::from_secs(2), || Ok(lab.addresses("web")?.is_empty()))
}

fn disabled(lab: &mut Lab) -> anyhow::Result<()> {
    lab.controller = None;
    lab.start_controller(&["--webhook-mode=disabled"])?;
    lab.expect_addresses("web", &["172.30.0.200"])?;
    ensure!(!handshake(lab)?.contains("BEGIN CERTIFICATE"), "somebody listens on the port");
    ensure!(!is_refused(lab)?, "somebody was asked");
    let spec = json!({"myASN": 64500, "peerASN": 64501, "peerAddress": "172.30.0.250", "vrf": "red"});
    lab.kube().apply(&bgp_peer("router", spec))?;
    // It looks at its start, and after that but rarely.
    lab.controller = None;
    lab.start_controller(&["--webhook-mode=disabled"])?;
    let controller = lab.controller.as_ref().context("no controller")?;
    eventually_true("it says that nobody converts peers", SOON, || {
        Ok(controller.log().contains("conversionUnanswered"))
    })?;
    let old = format!("/apis/metallb.io/v1beta1/namespaces/{SYSTEM}/bgppeers/router");
    ensure!(lab.kube().get(&old).is_err(), "somebody converts peers");
    let named = |lab: &Lab| {
        let (_, text) = ferrolb(lab, &["check", "--cluster"])?;
        anyhow::Ok(text.contains("BGPPeers cannot be read as metallb.io/v1beta1"))
    };
    ensure!(named(lab)?, "ferrolb check does not name it");
    let strategy = lab.kube().get(PEERS_CRD)?;
    let strategy = strategy.pointer("/spec/conversion/strategy");
    ensure!(strategy == Some(&json!("Webhook")), "the CRD was changed: {strategy:?}");
    // As docs/endpoints.md says.
    let none = json!({"spec": {"conversion": {"strategy": "None", "webhook": null}}});
    lab.kube().patch(PEERS_CRD, &none)?;
    eventually_true("peers can be read as v1beta1", SOON, || {
        let Ok(peer) = lab.kube().get(&old) else { return Ok(false) };
        let says = |pointer| peer.pointer(pointer);
        ensure!(says("/spec/peerASN") == Some(&json!(64501)) && says("/spec/vrf").is_none(), "{peer}");
        Ok(true)
    })?;
    ensure!(!named(lab)?, "ferrolb check still names it");
    Ok(())
}

fn own_certificate(lab: &mut Lab) -> anyhow::Result<()> {
    lab.controller = None;
    let folder = lab.folder().join("own-certificate");
    std::fs::create_dir_all(&folder)?;
    let played = show(lab, &folder);
    let _ = std::fs::remove_dir_all(&folder);
    played
}

fn show(lab: &mut Lab, folder: &Path) -> anyhow::Result<()> {
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -subj /CN=the-users -keyout tls.key -out tls.crt";
    succeeded(&Command::new("sh").args(["-c", script]).current_dir(folder).output()?)?;
    // The controller runs as nobody.
    std::fs::set_permissions(folder.join("tls.key"), std::fs::Permissions::from_mode(0o644))?;
    let before = lab.kube().get(SECRET)?;
    let from = format!("--cert-dir={}", folder.display());
    lab.start_controller(&["--disable-cert-rotation", &from])?;
    let said = handshake(lab)?;
    ensure!(said.contains("the-users"), "another certificate is shown: {said}");
    ensure!(said.contains("ALPN protocol: http/1.1"), "HTTP/2 is spoken: {said}");
    let version = "/metadata/resourceVersion";
    let after = lab.kube().get(SECRET)?;
    ensure!(before.pointer(version) == after.pointer(version), "the Secret was written");
    Ok(())
}

/// What OpenSSL says of the webhooks' port when both versions of HTTP are offered.
fn handshake(lab: &Lab) -> anyhow::Result<String> {
    let script = "openssl s_client -alpn h2,http/1.1 -connect 127.0.0.1:9443 </dev/null 2>&1";
    let output = lab.plane.output("sh", ["-c", script])?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
