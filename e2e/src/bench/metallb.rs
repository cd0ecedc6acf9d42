// SPDX-License-Identifier: Apache-2.0
//! What MetalLB 0.15.2's own programs and ours take in the same place: started as MetalLB's manifest says, the same Services. Our images are
//! those beside the programs (`make image`).
//!
//! Not part of a run of everything: figures of another project are not a promise of ours.

use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use super::cluster::{MINUTES, addressed, create, with_own};
use super::report::Report;
use super::usage::cpu;
use crate::lab::Lab;
use crate::lab::fleet::Kind;
use crate::lab::metallb::MetalLb;
use crate::lab::node::Proxy;
use crate::lab::objects::{l2_advertisement, pool};
use crate::lab::wait::{eventually, now};

const NODES: usize = 3;
const STEPS: [usize; 2] = [100, 1_000];
const MEASURED: Duration = Duration::from_secs(30);
/// A process is at rest when it uses no more than this in [`WINDOW`]: a garbage collector never rests wholly.
const RESTING: Duration = Duration::from_millis(30);
const WINDOW: Duration = Duration::from_secs(2);

pub(super) fn measure(lab: &mut Lab, report: &mut Report) -> anyhow::Result<()> {
    let metallb = MetalLb::new()?;
    for kind in [Kind::MetalLb, Kind::Ferrolb] {
        let measured = of(lab, report, &metallb, kind).with_context(|| format!("{kind:?}"));
        let restored = lab.control.install();
        measured.and(restored)?;
        lab.reset()?;
    }
    Ok(())
}

fn of(lab: &mut Lab, report: &mut Report, metallb: &MetalLb, kind: Kind) -> anyhow::Result<()> {
    lab.start_nodes(NODES, Proxy::Absent)?;
    metallb.install(lab)?;
    metallb.start_controller(lab, kind)?;
    lab.kube().apply(&pool("pool", &["172.30.16.0/20", "fd30::1000-fd30::ffff"]))?;
    lab.kube().apply(&l2_advertisement("all", json!({})))?;
    for number in 0..NODES {
        metallb.start_speaker(lab, number, kind)?;
    }
    let controller = lab.controller.as_ref().context("no controller")?.pid();
    let speakers: Vec<u32> =
        lab.nodes.iter().filter_map(|node| Some(node.speaker.as_ref()?.pid())).collect();
    let speaker = *speakers.first().context("no speaker")?;
    let both = [("controller", controller), ("speaker", speaker)];
    let rest = || speakers.iter().chain([&controller]).try_for_each(|pid| resting(*pid));
    let mut add =
        |what: String, measured: String| report.add(format!("{kind:?}: {what}"), "", measured);

    rest()?;
    for (name, pid) in both {
        add(format!("{name} resident, no Services (own memory of it)"), with_own(pid)?);
    }
    let (before, start) = ([cpu(controller)?, cpu(speaker)?], now());
    std::thread::sleep(MEASURED);
    for ((name, pid), before) in both.into_iter().zip(before) {
        let share = (cpu(pid)? - before).as_secs_f64() / start.elapsed().as_secs_f64();
        let what = format!("{name} CPU at rest (over {} s)", MEASURED.as_secs());
        add(what, format!("{:.2} % of a core", share * 100.0));
    }
    let mut there = 0;
    for services in STEPS {
        let before = [cpu(controller)?, cpu(speaker)?];
        create(lab, there..services)?;
        addressed(lab, services - 1)?;
        rest()?;
        for ((name, pid), before) in both.into_iter().zip(before) {
            let spent = (cpu(pid)? - before).as_secs_f64();
            let what = format!("{name} CPU while {} Services are created", services - there);
            add(what, format!("{spent:.2} s"));
            let what = format!("{name} resident, {services} Services (own memory of it)");
            add(what, with_own(pid)?);
        }
        there = services;
    }
    Ok(())
}

fn resting(pid: u32) -> anyhow::Result<()> {
    let mut last = (cpu(pid)?, now());
    eventually("the process rests", MINUTES, || {
        let used = cpu(pid)?;
        if used - last.0 > RESTING {
            last = (used, now());
        }
        Ok((last.1.elapsed() > WINDOW).then_some(()))
    })
}
