// SPDX-License-Identifier: Apache-2.0
//! The ring's port between nodes: closed, closed one way, or lossy. Everything else passes, so that the client reaches every node.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::Lab;
use super::node::Node;
use super::process::{Process, Rights, Start};
use super::wait::{eventually, now};
use super::watched::{Watched, story};

/// The percentage of the ring's packets that is lost in [`endure`].
pub const LOSS: u32 = 20;

/// What of the ring's packets a node does not get, by rules of nftables over the source's address; replaces what was said before.
///
/// # Errors
/// When nft fails.
pub fn refuse(node: &Node, sources: &[String]) -> anyhow::Result<()> {
    let rules = sources.iter().flat_map(|source| {
        let family = if source.contains(':') { "ip6" } else { "ip" };
        ["dport", "sport"].map(|port| {
            format!("{family} saddr {source} meta l4proto {{ tcp, udp }} th {port} 7946 drop\n")
        })
    });
    install(node, &rules.collect::<String>())
}

/// Loses [`LOSS`] per cent of the ring's packets that come to a node.
///
/// # Errors
/// When nft fails.
pub fn lose(node: &Node) -> anyhow::Result<()> {
    install(
        node,
        &format!("meta l4proto {{ tcp, udp }} th dport 7946 numgen random mod 100 < {LOSS} drop\n"),
    )
}

/// No datagram of the ring comes to a node or goes out of it; TCP passes.
///
/// # Errors
/// When nft fails.
pub fn refuse_datagrams(node: &Node) -> anyhow::Result<()> {
    install(node, "udp dport 7946 drop\nudp sport 7946 drop\n")
}

/// Lets everything pass.
///
/// # Errors
/// When nft fails.
pub fn pass(node: &Node) -> anyhow::Result<()> {
    install(node, "")
}

/// One transaction: there is no moment in between.
fn install(node: &Node, rules: &str) -> anyhow::Result<()> {
    let script = format!(
        "table inet rack {{}}\ndelete table inet rack\ntable inet rack {{\n\
         chain input {{\ntype filter hook input priority -10;\n{rules}}}\n}}"
    );
    let script = format!("nft -f - <<'END'\n{script}\nEND");
    node.namespace.run("sh", ["-c", script.as_str()]).map(drop)
}

/// Parts the nodes: those named and the others get nothing of one another on the ring's port.
///
/// # Errors
/// When nft fails.
pub fn part(lab: &Lab, some: &[&str]) -> anyhow::Result<()> {
    for node in &lab.nodes {
        let side = some.contains(&node.name.as_str());
        let others = lab.nodes.iter().filter(|other| some.contains(&other.name.as_str()) != side);
        refuse(node, &others.map(Node::v4).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Parts a node with so many others from the rest that this part is the largest with it that is no majority: half of them, if the half
/// without the node of the smallest name can be had.
///
/// # Errors
/// When nft fails.
pub fn part_few(lab: &Lab, name: &str) -> anyhow::Result<()> {
    let smallest = lab.nodes.iter().map(|node| node.name.as_str()).min();
    let few = match lab.nodes.len() {
        all if all % 2 == 0 && smallest != Some(name) => all / 2,
        all => all.saturating_sub(1) / 2,
    };
    let others = lab.nodes.iter().map(|node| node.name.as_str());
    let others = others.filter(|other| *other != name && Some(*other) != smallest);
    let some: Vec<&str> = std::iter::once(name).chain(others).take(few).collect();
    part(lab, &some)
}

/// A node gets nothing of the others on the ring's port, if it is `deaf`, or else the others get nothing of it.
///
/// # Errors
/// When nft fails.
pub fn one_way(lab: &Lab, name: &str, deaf: bool) -> anyhow::Result<()> {
    let is_it = |node: &&Node| node.name == name;
    let it: Vec<String> = lab.nodes.iter().filter(is_it).map(Node::v4).collect();
    let others: Vec<String> = lab.nodes.iter().filter(|node| !is_it(node)).map(Node::v4).collect();
    for node in &lab.nodes {
        match is_it(&node) {
            true if deaf => refuse(node, &others)?,
            false if !deaf => refuse(node, &it)?,
            true | false => {}
        }
    }
    Ok(())
}

/// Lets everything pass everywhere.
///
/// # Errors
/// When nft fails.
pub fn heal(lab: &Lab) -> anyhow::Result<()> {
    lab.nodes.iter().try_for_each(pass)
}

/// Loses packets of the ring at every node for this long, with all speakers on one core beside a process that never waits. The
/// address stays where it is. How many questions were asked, and how many not answered.
///
/// # Errors
/// When somebody else claimed the address.
pub fn endure(lab: &mut Lab, watched: &Watched, time: Duration) -> anyhow::Result<(usize, usize)> {
    for node in &lab.nodes {
        lose(node)?;
        let pid = node.speaker.as_ref().context("no speaker")?.pid().to_string();
        node.namespace.run("taskset", ["--all-tasks", "--pid", "--cpu-list", "0", &pid])?;
    }
    let folder = lab.folder().clone();
    let busy = Process::start(
        &folder,
        Start {
            name: "busy".into(),
            namespace: &lab.plane,
            program: "/usr/bin/taskset".as_ref(),
            arguments: ["--cpu-list", "0", "sh", "-c", "while :; do :; done"]
                .map(Into::into)
                .into(),
            environment: Vec::new(),
            rights: Rights::All,
        },
    )?;
    let start = now();
    let strange = |record: &super::watcher::Record| {
        record.first_of_others(&watched.owner, start).map(|sighting| sighting.at)
    };
    let moved = eventually("the time is over", time + Duration::from_secs(60), || {
        let moved: Option<Instant> = watched.watcher.with(strange);
        Ok((moved.is_some() || start.elapsed() >= time).then_some(moved))
    })?;
    drop(busy);
    let end = now();
    heal(lab)?;
    ensure!(
        moved.is_none(),
        "the address moved\n{}",
        watched.watcher.with(|record| story(record, start, end))
    );
    Ok(watched.watcher.with(|record| {
        let asked = record.questions.iter().filter(|asked| **asked >= start).count();
        (asked, record.unanswered(start, end - Duration::from_millis(200)).len())
    }))
}
