// SPDX-License-Identifier: Apache-2.0
//! A stranger holds as many connections to the webhooks and to the health port as it can, and asks for conversions of 60 MB: the API server's
//! reviews are answered all the same.
//!
//! Topology: control plane and controller, with MetalLB's failure policy Fail; strangers on the loopback network beside the controller, one
//! with all its connections, then a hundred of them.
//! Steps: 10,000 connections to each of both ports that say nothing, opened anew when they are closed; beside them pools are created (dry run) and a
//! peer is read in its old version through the API server, and /healthz is asked: none fails. The same while 60 MB are to be converted, of maps
//! and of peers, which cost the controller no more than three times that and what it takes otherwise.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::lab::kube::{SYSTEM, path};
use crate::lab::objects::{bgp_peer, configuration, merge, pool};
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON, webhooks};

const PORTS: [u16; 2] = [9443, 17_472];
const CONNECTIONS: usize = 10_000;
const ROUNDS: usize = 30;
/// What is to be converted, in octets.
const LONG: usize = 60 << 20;
/// What the controller takes otherwise, in octets, 2 x 512 connections included.
const OTHERWISE: usize = 100 << 20;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    // What the kernel lets both ends have; the scenario says how many there were.
    let most = usize::try_from(hard)?.saturating_sub(2_000).min(2 * CONNECTIONS) / 2;
    webhooks::install(lab.kube())?;
    lab.start_controller(&[])?;
    lab.kube().create(&bgp_peer(
        "peer",
        json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"}),
    ))?;
    for sources in [1, 100] {
        let flood = Flood::start(lab, most, sources)?;
        eventually_true("the connections are open", SOON * 3, || Ok(flood.opened() >= 2 * most))?;
        for round in 0..ROUNDS {
            ask(lab).with_context(|| format!("round {round} beside {most} of {sources} sources"))?;
        }
        println!("webhooks_flooded: {} connections of {sources} sources", flood.opened());
    }
    for kind in ["maps", "peers"] {
        let flood = Flood::start(lab, most, 100)?;
        let file = question(lab, kind)?;
        let mut asking = lab.plane.command("curl");
        asking.args(["--insecure", "--silent", "--max-time", "60", "--output", "/dev/null"]);
        asking.args(["--data-binary", &format!("@{file}"), "https://127.0.0.1:9443/convert"]);
        let mut asking = asking.spawn()?;
        while asking.try_wait()?.is_none() {
            ask(lab).with_context(|| format!("while {LONG} octets of {kind} are converted"))?;
        }
        drop(flood);
        std::fs::remove_file(file)?;
        let took = peak(lab)?;
        println!("webhooks_flooded: {kind}: the controller had {} MB at most", took >> 20);
        ensure!(took <= 3 * LONG + OTHERWISE, "the controller took {took} octets");
    }
    Ok(())
}

/// What an API server asks, and a kubelet.
fn ask(lab: &Lab) -> anyhow::Result<()> {
    let dry = format!("/apis/metallb.io/v1beta1/namespaces/{SYSTEM}/ipaddresspools?dryRun=All");
    lab.kube().post(&dry, &pool("load", &["192.0.2.0/24"]))?;
    let mut old = configuration("BGPPeer", "peer", json!({}));
    merge(&mut old, json!({"apiVersion": "metallb.io/v1beta1"}));
    lab.kube().get(&path(&old))?;
    let health = "http://127.0.0.1:17472/healthz";
    lab.plane.run("curl", ["--silent", "--show-error", "--fail", "--max-time", "10", health])?;
    Ok(())
}

/// Writes a ConversionReview of that length; the file.
fn question(lab: &Lab, kind: &str) -> anyhow::Result<String> {
    let mut peer = bgp_peer("peer", json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"}));
    merge(&mut peer, json!({"metadata": {"uid": "u".repeat(500)}}));
    let piece = if kind == "maps" { "{\"\":0},".to_owned() } else { format!("{peer},") };
    let path = lab.folder().join("question").display().to_string();
    let mut file = File::create(&path)?;
    file.write_all(br#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"ConversionReview","request":{"uid":"u","desiredAPIVersion":"metallb.io/v1beta1","objects":["#)?;
    file.write_all(piece.repeat(LONG / piece.len()).trim_end_matches(',').as_bytes())?;
    file.write_all(b"]}}")?;
    Ok(path)
}

/// The most memory that the controller has had, in octets.
fn peak(lab: &Lab) -> anyhow::Result<usize> {
    let pid = lab.controller.as_ref().context("no controller")?.pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<usize>()? * 1024)
}

/// Connections that say nothing, until it is dropped.
struct Flood {
    ended: Arc<AtomicBool>,
    opened: Arc<AtomicUsize>,
    thread: Option<std::thread::JoinHandle<anyhow::Result<()>>>,
}

impl Flood {
    fn start(lab: &Lab, most: usize, sources: usize) -> anyhow::Result<Self> {
        let (ended, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let namespace = File::open(lab.plane.path())?;
        let (end, count) = (Arc::clone(&ended), Arc::clone(&opened));
        let thread = std::thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).context("setns")?;
            let mut held: Vec<Socket> = Vec::new();
            while !end.load(Ordering::Relaxed) {
                if held.len() >= 2 * most {
                    // The oldest ones, which were closed long ago, make room for new ones.
                    held.drain(..held.len() / 2);
                    std::thread::sleep(Duration::from_millis(100));
                }
                for port in PORTS {
                    let number = count.load(Ordering::Relaxed) % sources;
                    // A full queue is no failure of the flood's: it goes on.
                    if let Ok(socket) = connect(u8::try_from(number)?, port) {
                        held.push(socket);
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(())
        });
        Ok(Self { ended, opened, thread: Some(thread) })
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

fn connect(source: u8, port: u16) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 1, source), 0)).into())?;
    socket.connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into(), Duration::from_secs(2))?;
    Ok(socket)
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _: Result<_, _> = thread.join();
        }
    }
}
