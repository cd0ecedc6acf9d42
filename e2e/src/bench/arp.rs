// SPDX-License-Identifier: Apache-2.0
//! ARP as the client sees it: how fast answers come, and what many requests cost.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::json;
use socket2::Socket;

use super::report::Report;
use super::usage::{cpu, middle_and_tail};
use crate::lab::Lab;
use crate::lab::node::{PodAddresses, Proxy, slice};
use crate::lab::objects::{l2_advertisement, pool, service};
use crate::lab::wait::{eventually, now};
use crate::packet;

const FRAME: usize = 42;
const CLIENT: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 100);
const ROUNDS: usize = 2_000;
const FLOOD: usize = 100_000;

/// Measures answers and floods against one node.
pub(super) fn measure(lab: &mut Lab, report: &mut Report) -> anyhow::Result<()> {
    lab.client()?;
    lab.start_controller(&[])?;
    lab.start_nodes(1, Proxy::Absent)?;
    lab.start_speakers(&["--announce-interval=0s"])?;
    lab.kube().apply(&pool("pool", &["172.30.32.0/18"]))?;
    lab.kube().apply(&l2_advertisement("all", json!({})))?;
    let endpoint = PodAddresses {
        node: "node1".into(),
        v4: "10.244.1.10".into(),
        v6: "fd00:244:1::10".into(),
    };
    lab.kube().create(&service(
        "web",
        json!({"metadata": {"annotations": {
            "metallb.io/loadBalancerIPs": "172.30.32.10",
        }}}),
    ))?;
    lab.set_endpoints("web", &[endpoint])?;
    lab.wait_owner("172.30.32.10")?;
    let speaker = lab.node("node1")?.speaker.as_ref().context("no speaker")?.pid();

    let text = in_client(lab, &["compare", "172.30.0.11", "172.30.32.10"])?;
    let mut figures = text.split_whitespace().map(str::parse::<f64>);
    let mut figure = || figures.next().context("too few figures")?.context("no figure");
    let (kernel, kernel_tail, ours, ours_tail): (f64, f64, f64, f64) =
        (figure()?, figure()?, figure()?, figure()?);
    report.add(
        "ARP answer p50, against the kernel's own in the same run",
        "< 1.4 times",
        format!("{:.2} times ({ours:.1} us, kernel {kernel:.1} us)", ours / kernel),
    );
    report.add("ARP answer p99", "", format!("{ours_tail:.1} us, kernel {kernel_tail:.1} us"));

    for (what, goal, address) in [
        ("CPU for 100,000 ARP requests for a foreign address", "< 0.05 s", "172.30.99.99"),
        ("CPU for 100,000 ARP requests for an own address", "< 0.4 s", "172.30.32.10"),
    ] {
        let before = cpu(speaker)?;
        in_client(lab, &["flood", address])?;
        let used = cpu(speaker)? - before;
        report.add(what, goal, format!("{:.2} s", used.as_secs_f64()));
    }
    worst_case(lab, speaker, report)
}

/// More ranges than the filter holds: every other address of a block is owned, so that two thirds of the gaps
/// lie inside a coarsened range.
fn worst_case(lab: &mut Lab, speaker: u32, report: &mut Report) -> anyhow::Result<()> {
    const OWNED: u32 = 3_000;
    let first = u32::from(Ipv4Addr::new(172, 30, 33, 0));
    for number in 0..OWNED {
        let name = format!("gap{number}");
        let address = Ipv4Addr::from(first + 2 * number).to_string();
        lab.kube().create(&service(
            &name,
            json!({"metadata": {"annotations": {
                "metallb.io/loadBalancerIPs": address,
            }}}),
        ))?;
        let endpoint = PodAddresses {
            node: "node1".into(),
            v4: "10.244.1.10".into(),
            v6: "fd00:244:1::10".into(),
        };
        lab.kube().create(&slice(&name, false, &[endpoint]))?;
    }
    lab.wait_owner(&Ipv4Addr::from(first + 2 * (OWNED - 1)).to_string())?;
    // Until the announcements of the last ones are over.
    let mut used = (cpu(speaker)?, now());
    eventually("the speaker is quiet", Duration::from_secs(120), || {
        let current = cpu(speaker)?;
        if current != used.0 {
            used = (current, now());
        }
        Ok((used.1.elapsed() > Duration::from_secs(2)).then_some(()))
    })?;
    let before = cpu(speaker)?;
    in_client(lab, &["flood", &Ipv4Addr::from(first + 1).to_string(), &OWNED.to_string()])?;
    let used = cpu(speaker)? - before;
    report.add(
        "CPU for 100,000 ARP requests for addresses not owned, two thirds of them inside a range of the filter",
        "",
        format!("{:.2} s", used.as_secs_f64()),
    );
    Ok(())
}

fn in_client(lab: &mut Lab, arguments: &[&str]) -> anyhow::Result<String> {
    let e2e = lab.programs.e2e.display().to_string();
    let mut all = vec!["arp"];
    all.extend(arguments);
    let output = lab.client()?.namespace.output(&e2e, all)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Hears the announcements on the client's link.
pub(super) struct Listener {
    child: Child,
    lines: BufReader<ChildStdout>,
    known: std::collections::BTreeSet<String>,
}

impl Listener {
    pub(super) fn start(lab: &mut Lab) -> anyhow::Result<Self> {
        let e2e: &Path = &lab.programs.e2e.clone();
        let mut command = lab.client()?.namespace.command(e2e);
        let mut child =
            command.args(["arp", "listen"]).stdout(Stdio::piped()).stdin(Stdio::null()).spawn()?;
        let stdout = child.stdout.take().context("no output")?;
        let mut lines = BufReader::new(stdout);
        // The first line says that it listens.
        lines.read_line(&mut String::new())?;
        Ok(Self { child, lines, known: std::collections::BTreeSet::new() })
    }

    /// When the first announcement of an address not heard before came.
    pub(super) fn next_new(&mut self, deadline: Duration) -> anyhow::Result<Instant> {
        let start = now();
        while start.elapsed() < deadline {
            let mut line = String::new();
            ensure!(self.lines.read_line(&mut line)? > 0, "the listener ended");
            let heard = now();
            if self.known.insert(line.trim().to_owned()) {
                return Ok(heard);
            }
        }
        bail!("nothing new was announced")
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What runs in the client's namespace.
///
/// # Errors
/// When the link or the permission is missing.
pub fn client(arguments: &[String]) -> anyhow::Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut socket = packet::socket("eth0", packet::ARP)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    match arguments.as_slice() {
        ["listen"] => listen(&mut socket),
        ["compare", kernel, ours] => {
            let targets: [Ipv4Addr; 2] = [kernel.parse()?, ours.parse()?];
            let mut samples = [Vec::new(), Vec::new()];
            for round in 0..ROUNDS {
                for (target, samples) in targets.iter().zip(&mut samples) {
                    let took = ask(&mut socket, *target)?;
                    // The first questions find cold caches.
                    if round >= 100 {
                        samples.push(took);
                    }
                }
            }
            for samples in samples {
                let (middle, tail) = middle_and_tail(samples);
                println!("{:.3} {:.3}", micros(middle), micros(tail));
            }
            Ok(())
        }
        ["flood", target, rest @ ..] => {
            // One address, or every other one of a block in turn.
            let first = u32::from(target.parse::<Ipv4Addr>()?);
            let count: u32 = rest.first().map_or(Ok(1), |count| count.parse())?;
            let questions = (0..count)
                .map(|number| question(Ipv4Addr::from(first + 2 * number)))
                .collect::<anyhow::Result<Vec<_>>>()?;
            for question in questions.iter().cycle().take(FLOOD) {
                // A full queue of the link is waited for; nothing else can go wrong on a veth.
                while socket.write(question).is_err() {
                    std::thread::yield_now();
                }
            }
            Ok(())
        }
        _ => bail!("usage: e2e arp listen | compare KERNEL OURS | flood TARGET [COUNT]"),
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn listen(socket: &mut Socket) -> anyhow::Result<()> {
    println!("listening");
    let mut frame = [0; 128];
    loop {
        let length = socket.read(&mut frame)?;
        // Sender and target of an announcement are the same address.
        let Some(arp) = frame.get(14..length.min(FRAME)) else { continue };
        if let (Some(sender), Some(target)) = (arp.get(14..18), arp.get(24..28))
            && sender == target
        {
            let octets: [u8; 4] = sender.try_into()?;
            println!("{}", Ipv4Addr::from(octets));
        }
    }
}

fn ask(socket: &mut Socket, target: Ipv4Addr) -> anyhow::Result<Duration> {
    let question = question(target)?;
    let mut frame = [0; 128];
    let start = now();
    socket.write_all(&question)?;
    loop {
        let length =
            socket.read(&mut frame).with_context(|| format!("{target} does not answer"))?;
        let reply = length >= FRAME && frame.get(20..22) == Some(&[0, 2]);
        if reply && frame.get(28..32) == Some(&target.octets()) {
            return Ok(start.elapsed());
        }
    }
}

fn question(target: Ipv4Addr) -> anyhow::Result<[u8; FRAME]> {
    let mac = std::fs::read_to_string("/sys/class/net/eth0/address")?;
    let mac: Vec<u8> =
        mac.trim().split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
    let mut frame = Vec::with_capacity(FRAME);
    frame.extend([0xff; 6]);
    frame.extend(&mac);
    // Ethernet, ARP, IPv4 over Ethernet, request (RFC 826).
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(&mac);
    frame.extend(CLIENT.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame.try_into().map_err(|_| anyhow::anyhow!("a link without a hardware address of six bytes"))
}
