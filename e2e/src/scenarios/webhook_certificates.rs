// SPDX-License-Identifier: Apache-2.0
//! Certificates of the webhooks come and go under load, and no request is lost.
//!
//! Topology: control plane and controller; a second controller on a node.
//! Load: pools are created (dry run) and a peer is read in its old version through the API server; and connections are
//! made anew all the time with the authorities that the API server is told to trust at that moment.
//! Steps: the Secret is deleted; it is filled by another rotator, with an RSA authority as MetalLB's makes it; its server's
//! certificate is one that ends in 30 days, then one that has ended; each time the webhooks show what the Secret holds, and the load saw no failure. What is
//! made is trusted as MetalLB's rotator has it, and no key of an authority is in the Secret: a MetalLB that finds none makes all anew. Two
//! controllers that start with an empty Secret agree.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::control_plane::{Identity, kubeconfig};
use crate::lab::kube::{Kube, SYSTEM, path};
use crate::lab::netns::{Namespace, succeeded};
use crate::lab::node::{Proxy, is_ready};
use crate::lab::objects::{bgp_peer, configuration, merge, pool};
use crate::lab::process::{Process, Rights, Start};
use crate::lab::wait::{always, eventually_true};
use crate::lab::webhooks::{CONFIGURATIONS, PEERS_CRD, SERVER, WEBHOOKS};
use crate::lab::{Lab, SOON, webhooks};

const SECRET: &str = "/api/v1/namespaces/metallb-system/secrets/metallb-webhook-cert";
/// Requests of each kind that the load makes at least around each change.
const REQUESTS: usize = 20;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let folder = lab.folder().join("webhook-certificates");
    std::fs::create_dir_all(&folder)?;
    let played = play(lab, &folder);
    let _ = std::fs::remove_dir_all(&folder);
    played
}

fn play(lab: &mut Lab, folder: &Path) -> anyhow::Result<()> {
    webhooks::install(lab.kube())?;
    lab.start_controller(&[])?;
    without_key(lab, folder)?;
    lab.kube().create(&bgp_peer(
        "peer",
        json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"}),
    ))?;
    let load = Load::start(lab, folder)?;
    load.wait()?;

    let before = authority(lab)?;
    lab.kube().delete(SECRET)?;
    eventually_true("the Secret is there again", SOON, || {
        Ok(authority(lab).is_ok_and(|now| now != before))
    })?;
    shown(lab, folder)?;
    load.wait()?;

    let theirs = other_rotator(folder, 365)?;
    put(lab, &theirs)?;
    shown(lab, folder)?;
    ensure!(secret(lab)?.get("data") == Some(&theirs), "what another rotator made is left as it is");
    load.wait()?;

    for days in [30, -1] {
        let ending = other_rotator(folder, days)?;
        put(lab, &ending)?;
        eventually_true("the server's certificate is renewed", SOON, || {
            let data = secret(lab)?.get("data").cloned().unwrap_or_default();
            Ok(data.get("tls.crt").is_some() && data.get("tls.crt") != ending.get("tls.crt"))
        })?;
        shown(lab, folder)?;
        let data = secret(lab)?.get("data").cloned().unwrap_or_default();
        ensure!(data.get("ca.crt") != ending.get("ca.crt"), "its authority is another one");
        ensure!(data.get("ca.key").is_none(), "the authority's key is left in the Secret");
        load.wait()?;
    }
    load.end()?;
    two_controllers(lab, folder)
}

fn secret(lab: &Lab) -> anyhow::Result<Value> {
    Ok(lab.kube().get(SECRET)?)
}

fn authority(lab: &Lab) -> anyhow::Result<Value> {
    secret(lab)?.pointer("/data/ca.crt").cloned().context("no ca.crt")
}

fn put(lab: &Lab, data: &Value) -> anyhow::Result<()> {
    lab.kube().patch(SECRET, &json!({"data": data}))?;
    Ok(())
}

/// Waits until the webhooks show the certificate of the Secret.
fn shown(lab: &Lab, folder: &Path) -> anyhow::Result<()> {
    eventually_true("the Secret's certificate is shown", SOON, || {
        Ok(fingerprint(&lab.plane)? == stored(lab, folder)?)
    })
}

fn stored(lab: &Lab, folder: &Path) -> anyhow::Result<String> {
    let data = secret(lab)?.get("data").cloned().unwrap_or_default();
    files(folder, &data)?;
    shell(folder, "openssl x509 -in tls.crt -noout -fingerprint -sha256")
}

fn fingerprint(namespace: &Namespace) -> anyhow::Result<String> {
    let script = "openssl s_client -connect 127.0.0.1:9443 </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256";
    let output = namespace.output("sh", ["-c", script])?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Writes what a Secret holds as files.
fn files(folder: &Path, data: &Value) -> anyhow::Result<()> {
    for (name, value) in data.as_object().into_iter().flatten() {
        std::fs::write(folder.join("encoded"), value.as_str().unwrap_or_default())?;
        shell(folder, &format!("base64 -d encoded >{name}"))?;
    }
    Ok(())
}

fn shell(folder: &Path, script: &str) -> anyhow::Result<String> {
    let output = Command::new("sh").args(["-c", script]).current_dir(folder).output()?;
    succeeded(&output).with_context(|| script.to_owned())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The certificates are what MetalLB's rotator would make, but for the key of the authority, which nobody has.
fn without_key(lab: &Lab, folder: &Path) -> anyhow::Result<()> {
    let secret = secret(lab)?;
    let data = secret.get("data").context("the Secret is empty")?;
    ensure!(data.get("ca.key").is_none(), "the authority's key is in the Secret");
    files(folder, data)?;
    let script = format!(
        "set -e
         openssl verify -CAfile ca.crt -verify_hostname cert ca.crt
         openssl verify -CAfile ca.crt -purpose sslserver -verify_hostname {SERVER} tls.crt
         test \"$(openssl pkey -in tls.key -pubout)\" = \"$(openssl x509 -in tls.crt -noout -pubkey)\"
         openssl x509 -in ca.crt -noout -checkend $((364 * 86400))
         openssl x509 -in tls.crt -noout -checkend $((364 * 86400))
         ! openssl x509 -in tls.crt -noout -checkend $((366 * 86400))
         openssl x509 -in ca.crt -noout -subject"
    );
    let said = shell(folder, &script)?;
    ensure!(said.contains("CN = cert") && said.contains("O = metallb"), "{said}");
    Ok(())
}

/// What the rotator that MetalLB uses would write: RSA everywhere.
fn other_rotator(folder: &Path, days: i32) -> anyhow::Result<Value> {
    let script = format!(
        "set -e
         if [ ! -e their.key ]; then
             openssl genrsa -traditional -out their.key 2048
             openssl req -x509 -new -key their.key -days 3650 -subj /O=metallb/CN=cert -out their.crt \
                 -addext basicConstraints=critical,CA:TRUE -addext subjectAltName=DNS:cert \
                 -addext keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign
         fi
         openssl genrsa -traditional -out server.key 2048
         openssl req -new -key server.key -subj /CN={SERVER} -out server.csr
         printf 'subjectAltName=DNS:{SERVER}\nextendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:FALSE\nauthorityKeyIdentifier=keyid\n' >server.ext
         openssl x509 -req -in server.csr -CA their.crt -CAkey their.key -CAcreateserial -days {days} \
             -extfile server.ext -out server.crt"
    );
    shell(folder, &script)?;
    let encoded = |name: &str| shell(folder, &format!("base64 -w0 {name}"));
    Ok(json!({
        "ca.crt": encoded("their.crt")?, "ca.key": encoded("their.key")?,
        "tls.crt": encoded("server.crt")?, "tls.key": encoded("server.key")?,
    }))
}

/// Requests without a break, from two threads.
struct Load {
    ended: Arc<AtomicBool>,
    counts: [Arc<AtomicUsize>; 2],
    failures: Arc<Mutex<Vec<String>>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(lab: &Lab, folder: &Path) -> anyhow::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let failures = Arc::new(Mutex::new(Vec::new()));
        let counts = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
        let kube = lab.kube().clone();
        let through_the_api = move || asked(&kube);
        let (kube, own) = (lab.kube().clone(), folder.join("load"));
        std::fs::create_dir_all(&own)?;
        let plane = lab.plane.name().to_owned();
        let anew = move || connected(&kube, &plane, &own);
        let jobs: [Box<dyn Fn() -> anyhow::Result<()> + Send>; 2] =
            [Box::new(through_the_api), Box::new(anew)];
        let threads = jobs
            .into_iter()
            .zip(counts.clone())
            .map(|(job, count)| {
                let (ended, failures) = (Arc::clone(&ended), Arc::clone(&failures));
                std::thread::spawn(move || {
                    while !ended.load(Ordering::Relaxed) {
                        if let Err(error) = job()
                            && let Ok(mut failures) = failures.lock()
                        {
                            failures.push(format!("{error:#}"));
                        }
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        Ok(Self { ended, counts, failures, threads })
    }

    /// Waits for some more requests of each kind.
    fn wait(&self) -> anyhow::Result<()> {
        for count in &self.counts {
            let before = count.load(Ordering::Relaxed);
            eventually_true("the load goes on", SOON * 2, || {
                Ok(count.load(Ordering::Relaxed) >= before + REQUESTS)
            })?;
        }
        Ok(())
    }

    fn end(mut self) -> anyhow::Result<()> {
        self.ended.store(true, Ordering::Relaxed);
        for thread in std::mem::take(&mut self.threads) {
            let _ = thread.join();
        }
        let made: Vec<usize> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let failures = self.failures.lock().map(|failures| failures.clone()).unwrap_or_default();
        ensure!(failures.is_empty(), "of {made:?} requests {} failed: {failures:#?}", failures.len());
        Ok(())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

fn asked(kube: &Kube) -> anyhow::Result<()> {
    let dry = format!("/apis/metallb.io/v1beta1/namespaces/{SYSTEM}/ipaddresspools?dryRun=All");
    kube.post(&dry, &pool("load", &["192.0.2.0/24"]))?;
    let mut old = configuration("BGPPeer", "peer", json!({}));
    merge(&mut old, json!({"apiVersion": "metallb.io/v1beta1"}));
    kube.get(&path(&old))?;
    Ok(())
}

/// One new connection, as an API server makes it that has just read its configuration.
fn connected(kube: &Kube, plane: &str, folder: &Path) -> anyhow::Result<()> {
    let webhooks = kube.get(&format!("{CONFIGURATIONS}/{WEBHOOKS}"))?;
    let bundle = webhooks.pointer("/webhooks/0/clientConfig/caBundle").and_then(Value::as_str);
    std::fs::write(folder.join("bundle.b64"), bundle.context("no caBundle")?)?;
    let body = r#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"ConversionReview","request":{"uid":"u","desiredAPIVersion":"metallb.io/v1beta1","objects":[]}}"#;
    let script = format!(
        "base64 -d bundle.b64 >bundle.pem && ip netns exec {plane} curl --silent --show-error --fail --max-time 5 \
         --cacert bundle.pem --connect-to {SERVER}:443:127.0.0.1:9443 --data '{body}' https://{SERVER}/convert"
    );
    let output = Command::new("sh").args(["-c", &script]).current_dir(folder).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Both begin with an empty Secret; in the end both show the same, and nobody writes any more.
fn two_controllers(lab: &mut Lab, folder: &Path) -> anyhow::Result<()> {
    lab.controller = None;
    lab.kube().patch(SECRET, &json!({"data": null}))?;
    lab.start_nodes(1, Proxy::Absent)?;
    let second = &lab.nodes.first().context("no node")?.namespace;
    let kubeconfig = kubeconfig(lab.folder(), Identity::Controller).display().to_string();
    let mut other = Process::start(
        lab.folder(),
        Start {
            name: "controller-2".into(),
            namespace: second,
            program: &lab.programs.controller,
            arguments: vec!["--webhook-mode=onlywebhook".into(), "--log-level=debug".into()],
            environment: vec![("METALLB_NAMESPACE", SYSTEM.to_owned()), ("KUBECONFIG", kubeconfig)],
            rights: Rights::Nobody,
        },
    )?;
    lab.spawn_controller(&[])?;
    lab.wait_controller()?;
    let second = &lab.nodes.first().context("no node")?.namespace;
    other.wait_ready(SOON, || Ok(is_ready(second)))?;
    eventually_true("both show the Secret's certificate", SOON, || {
        let stored = stored(lab, folder)?;
        Ok(fingerprint(&lab.plane)? == stored && fingerprint(second)? == stored)
    })?;
    let versions = || -> anyhow::Result<Vec<Option<Value>>> {
        let webhooks = format!("{CONFIGURATIONS}/{WEBHOOKS}");
        [SECRET, &webhooks, PEERS_CRD]
            .iter()
            .map(|path| Ok(lab.kube().get(path)?.pointer("/metadata/resourceVersion").cloned()))
            .collect()
    };
    let before = versions()?;
    always("nobody writes any more", Duration::from_secs(3), || Ok(versions()? == before))
}
