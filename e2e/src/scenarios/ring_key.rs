// SPDX-License-Identifier: Apache-2.0
//! The ring's key is changed while all speakers run, in the three steps of docs/ring.md, each of which the speakers see at
//! different moments: nothing moves, and no question is answered by two.
//!
//! Topology: three nodes with speakers that have a key, a client that asks for the address every 10 ms.
//! Steps: the new key is accepted; it is sent with; the old one is gone. After each step every speaker has read its files again, the
//! owner is the same and nobody was missed. In the end a speaker that starts with the new key alone is one of the ring.

use std::path::Path;

use anyhow::{Context, ensure};

use super::ring_strangers::{FLAGS, PLANNED, nobody_died, start_anew};
use crate::lab::watched::{Watched, story};
use crate::lab::process::Process;
use crate::lab::stranger::Kept;
use crate::lab::wait::{eventually_true, now};
use crate::lab::{Lab, SOON};

const NEW: &str = "YW5vdGhlciBzZWNyZXQgdGhhdCBub2JvZHkga25vd3M";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let watched = Watched::start(lab, 3, FLAGS)?;
    let folder = lab.folder().join("memberlist");
    let old = std::fs::read_to_string(folder.join("secretkey"))?;
    let from = now();
    let put = |name: &str, key: &str| -> anyhow::Result<()> {
        let beside = folder.with_extension("new");
        std::fs::write(&beside, key)?;
        std::fs::rename(&beside, folder.join(name)).context("in its place")
    };
    step(lab, "the new key is accepted", || put("secretkey.new", NEW))?;
    step(lab, "the new key is sent with", || {
        put("secretkey.old", &old)?;
        put("secretkey", NEW)?;
        remove(&folder.join("secretkey.new"))
    })?;
    step(lab, "the old key is gone", || remove(&folder.join("secretkey.old")))?;
    watched.settle(std::time::Duration::from_secs(1))?;
    let kept = Kept::of(&watched, from);
    println!("     the key changed: {kept}");
    let told = || watched.watcher.with(|record| story(record, from, now()));
    ensure!(kept.changes == 0 && kept.twice == 0, "it moved: {kept}\n{}", told());
    nobody_died(lab)?;
    let started = start_anew(lab, &watched).context("with the new key alone")?;
    ensure!(started.twice <= PLANNED, "answered by two: {started}");
    Ok(())
}

fn remove(path: &Path) -> anyhow::Result<()> {
    std::fs::remove_file(path).with_context(|| path.display().to_string())
}

/// Changes the files, and waits until every speaker has read them as they are now.
fn step(lab: &Lab, what: &str, change: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let read = |log: String| log.lines().filter(|line| line.contains("memberlistKeys\"")).count();
    let counts = || -> Vec<usize> {
        let speakers = lab.nodes.iter().filter_map(|node| node.speaker.as_ref());
        speakers.map(Process::log).map(read).collect()
    };
    let before = counts();
    change()?;
    eventually_true(what, SOON, || {
        Ok(counts().iter().zip(&before).all(|(after, before)| after > before))
    })
}
