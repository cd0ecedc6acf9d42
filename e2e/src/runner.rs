// SPDX-License-Identifier: Apache-2.0
//! Plays scenarios, some lanes at a time, and says how it went.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};

use crate::lab::control_plane::{self, Families};
use crate::lab::wait::now;
use crate::lab::{Lab, cleanup};
use crate::roles;
use crate::scenarios::{SCENARIOS, Scenario};

/// What to play, and with what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Only scenarios whose name contains one of these; all when empty.
    pub filters: Vec<String>,
    /// Lanes.
    pub jobs: usize,
    /// Where controller, speaker and ferrolb are.
    pub binaries: PathBuf,
    /// Leave the rack of a failed scenario standing until Ctrl-C.
    pub hold: bool,
}

struct Played {
    name: &'static str,
    /// Why it failed, if it did.
    failure: Option<String>,
    took: Duration,
}

/// Plays; true when all passed.
///
/// # Errors
/// When nothing can be played at all.
pub fn run(plan: &Plan) -> anyhow::Result<bool> {
    let chosen: VecDeque<&Scenario> = SCENARIOS
        .iter()
        .filter(|scenario| {
            plan.filters.is_empty()
                || plan.filters.iter().any(|filter| scenario.name.contains(filter.as_str()))
        })
        .collect();
    anyhow::ensure!(!chosen.is_empty(), "no scenario is named so; see `e2e list`");
    anyhow::ensure!(nix::unistd::Uid::effective().is_root(), "network namespaces need root");
    cleanup::remove_leftovers();
    let cluster = control_plane::binary()?;
    remove_all_at_the_end()?;
    let lanes = plan.jobs.clamp(1, chosen.len());
    let queue = Mutex::new(chosen);
    let played = Mutex::new(Vec::new());
    let calls = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for lane in 0..lanes {
            let (queue, played, cluster, calls) = (&queue, &played, &cluster, &calls);
            scope.spawn(move || {
                play_lane(lane, plan, cluster, queue, played);
                if let Ok(folder) = cleanup::folder(lane) {
                    let made = roles::calls(&folder.join(roles::LOG));
                    calls.lock().unwrap_or_else(PoisonError::into_inner).extend(made);
                }
            });
        }
    });
    cleanup::remove_own();
    let mut played = played.into_inner().unwrap_or_else(PoisonError::into_inner);
    played.sort_by_key(|played| std::cmp::Reverse(played.took));
    let slowest: Vec<String> = played
        .iter()
        .take(10)
        .map(|played| format!("{} {:.1} s", played.name, played.took.as_secs_f32()))
        .collect();
    println!("slowest: {}", slowest.join(", "));
    // Once more at the end: what a CI keeps of a long log is its end.
    let failures =
        || played.iter().filter_map(|played| Some((played.name, played.failure.as_ref()?)));
    for (name, failure) in failures() {
        println!("FAIL {name}: {failure}");
    }
    let mut failed = failures().count();
    if plan.filters.is_empty() {
        // Only all scenarios together need every right.
        let calls = calls.into_inner().unwrap_or_else(PoisonError::into_inner);
        let wrong = roles::judge(&calls)?;
        for line in &wrong {
            println!("FAIL roles: {line}");
        }
        failed += usize::from(!wrong.is_empty());
    }
    println!("{} passed, {failed} failed", played.len() - failed);
    Ok(failed == 0)
}

fn play_lane(
    lane: usize,
    plan: &Plan,
    cluster: &Path,
    queue: &Mutex<VecDeque<&Scenario>>,
    played: &Mutex<Vec<Played>>,
) {
    let mut lab: Option<Lab> = None;
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(scenario) = next else { return };
        if lab.is_none() {
            match Lab::new(lane, &plan.binaries, cluster, scenario.families) {
                Ok(started) => lab = Some(started),
                Err(error) => println!("the control plane does not start: {error:#}"),
            }
        }
        let start = now();
        let result = match &mut lab {
            Some(lab) => play(lab, scenario),
            None => Err(anyhow!("no control plane")),
        };
        let took = start.elapsed();
        while cleanup::is_ending() {
            // What fails now fails because all is being removed; the process ends in a moment.
            std::thread::park();
        }
        let mut report = String::new();
        let word = if result.is_ok() { "ok  " } else { "FAIL" };
        let _ = writeln!(report, "{word} {:<24} {:>5.1} s", scenario.name, took.as_secs_f32());
        if let Err(error) = &result {
            let _ = writeln!(report, "  {error:#}");
            report.extend(lab.as_ref().map(Lab::evidence));
            if plan.hold {
                println!("{report}  the rack stands until Ctrl-C: ip netns list");
                loop {
                    std::thread::park();
                }
            }
        }
        if let Some(rack) = &mut lab
            && let Err(error) = rack.reset()
        {
            let _ = writeln!(report, "  the rack cannot be cleaned and is started anew: {error:#}");
            lab = None;
        }
        print!("{report}");
        let failure = result.err().map(|error| format!("{error:#}"));
        let result = Played { name: scenario.name, failure, took };
        played.lock().unwrap_or_else(PoisonError::into_inner).push(result);
    }
}

fn play(lab: &mut Lab, scenario: &Scenario) -> anyhow::Result<()> {
    lab.require(scenario.families)?;
    // With panic=abort this catches nothing: then the hook cleans up before the end.
    catch_unwind(AssertUnwindSafe(|| (scenario.run)(lab)))
        .unwrap_or_else(|_| Err(anyhow!("panicked")))
}

/// On Ctrl-C, SIGTERM and where a panic ends the process.
fn remove_all_at_the_end() -> anyhow::Result<()> {
    if cfg!(panic = "abort") {
        let say = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            say(panic);
            cleanup::remove_own();
        }));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(async {
                use tokio::signal::unix::{SignalKind, signal};
                let (Ok(mut interrupt), Ok(mut terminate)) =
                    (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
                else {
                    return;
                };
                let code = tokio::select! {
                    _ = interrupt.recv() => 130,
                    _ = terminate.recv() => 143,
                };
                eprintln!("e2e: ended by a signal; the rack is removed");
                cleanup::remove_own();
                std::process::exit(code);
            });
        })
        .context("a thread for signals")?;
    Ok(())
}

/// The families that most scenarios run on.
pub const USUAL: Families = Families::Dual;
