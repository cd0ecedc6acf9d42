// SPDX-License-Identifier: Apache-2.0
//! Strangers to the ring, at rates as high as the machine gives, against our programs and against MetalLB's own in
//! their place.
//!
//! Topology: three nodes with speakers that have a key, a client that asks for the address every 10 ms, a stranger with
//! sixty addresses; first with ours, then with MetalLB 0.15.2, started as its manifest says.
//! Steps: a while without the stranger; each attack for a while; the owner's speaker is started anew beside held
//! connections; datagrams and forged ICMP at ever higher rates, until a question stays unanswered that otherwise does
//! not.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;
use serde_json::json;

use super::plan::{FLAGS, Plan};
use crate::lab::fleet::Kind as Programs;
use crate::lab::metallb::MetalLb;
use crate::lab::node::{PodAddresses, Proxy};
use crate::lab::objects::{POOL_V4, l2_advertisement, pool, service};
use crate::lab::stranger::{Attack, Done, Kept, Stranger, ended};
use crate::lab::wait::{eventually, now};
use crate::lab::watched::{ADDRESS, Watched};
use crate::lab::watcher::Watcher;
use crate::lab::{Lab, SOON};
use crate::strangers::Kind;

/// Where the table stands in the document.
const BEGIN: &str = "<!-- attacks -->\n";
const END: &str = "<!-- end of attacks -->\n";
const NODES: usize = 3;
const ATTACKS: [Attack; 7] = [
    Attack { kind: Kind::Unreachable, amount: 100 },
    Attack { kind: Kind::Unreachable, amount: 5_000 },
    Attack { kind: Kind::Unreachable, amount: 50_000 },
    Attack { kind: Kind::Datagrams, amount: 50_000 },
    Attack { kind: Kind::Idle, amount: 10_000 },
    Attack { kind: Kind::Slow, amount: 1_000 },
    Attack { kind: Kind::Garbled, amount: 10_000 },
];
/// Those that are held while a speaker starts: 300 a node.
const HELD: Attack = Attack { kind: Kind::Idle, amount: 900 };
/// Packets a second at which it is looked for where questions begin to stay unanswered.
const RATES: [u32; 6] = [10_000, 20_000, 50_000, 100_000, 200_000, 400_000];
/// For so long each of these.
const STEP: Duration = Duration::from_secs(5);

/// What one kind of programs went through.
#[derive(Default)]
struct Played {
    /// The attack, how much it was, and what became of the address.
    attacks: Vec<(String, Option<Done>, Kept)>,
    /// For each kind that was made ever faster: the last rate at which the address was kept, and the next one, if there
    /// was one.
    limits: Vec<String>,
}

/// Plays all and writes the table into the document of the plan.
pub(super) fn play(plan: &Plan, lab: &mut Lab) -> anyhow::Result<()> {
    let time = plan.attacks;
    let watched = Watched::start(lab, NODES, FLAGS)?;
    let ours = all(lab, &watched, time, |lab, owner| {
        let node = lab.node(owner)?;
        node.start_speaker(FLAGS)?;
        node.wait_speaker()
    });
    let ours = ours.context("ours")?;
    drop(watched);
    lab.reset()?;
    let theirs = of_metallb(lab, time).context("MetalLB's");
    let restored = lab.control.install();
    let theirs = theirs.and_then(|theirs| restored.map(|()| theirs))?;
    write(&plan.out, &table(&ours, &theirs, time))
}

fn of_metallb(lab: &mut Lab, time: Duration) -> anyhow::Result<Played> {
    lab.client()?;
    lab.start_nodes(NODES, Proxy::Absent)?;
    let metallb = MetalLb::new()?;
    metallb.install(lab)?;
    metallb.start_controller(lab, Programs::MetalLb)?;
    lab.kube().apply(&pool("pool", &[POOL_V4]))?;
    lab.kube().apply(&l2_advertisement("all", json!({})))?;
    let endpoint = PodAddresses {
        node: "node1".into(),
        v4: "10.244.1.99".into(),
        v6: "fd00:244:1::99".into(),
    };
    lab.set_endpoints("web", &[endpoint])?;
    lab.kube().create(&service("web", json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    lab.expect_addresses("web", &[ADDRESS])?;
    for number in 0..NODES {
        metallb.start_speaker(lab, number, Programs::MetalLb)?;
    }
    let owner = lab.wait_owner(ADDRESS)?;
    let watcher = Watcher::start(&lab.client()?.namespace, "eth0", ADDRESS.parse()?, true)?;
    let watched = Watched { watcher, owner };
    watched.settle(Duration::from_secs(5))?;
    all(lab, &watched, time, |lab, owner| {
        let number =
            lab.nodes.iter().position(|node| node.name == owner).context("no such node")?;
        metallb.start_speaker(lab, number, Programs::MetalLb)
    })
}

/// Every attack on the programs that run. `start` starts a node's speaker.
fn all(
    lab: &mut Lab,
    watched: &Watched,
    time: Duration,
    start: impl Fn(&mut Lab, &str) -> anyhow::Result<()>,
) -> anyhow::Result<Played> {
    let stranger = Stranger::new(lab)?;
    let mut played = Played::default();
    let mut add = |attack: &str, done: Option<Done>, kept: Kept| {
        println!("{attack}, {done:?}: {kept}");
        played.attacks.push((attack.to_owned(), done, kept));
    };
    add("none", None, Kept::quiet(watched, time)?);
    let from = now();
    restart(lab, &watched.owner, &start)?;
    // The rest of the time belongs to it as well.
    eventually("the time is over", time + SOON, || Ok((from.elapsed() >= time).then_some(())))?;
    add("none; the owner's speaker is started anew", None, Kept::of(watched, from));
    for attack in ATTACKS {
        let (kept, done) = stranger.attack(lab, watched, attack, time)?;
        add(attack.kind.name(), Some(done), kept);
        recover(watched);
    }
    let from = now();
    let holding = stranger.start(lab, HELD, time)?;
    restart(lab, &watched.owner, &start)?;
    let held = ended(lab, holding, time)?;
    let name = format!("{}; the owner's speaker is started anew", HELD.kind.name());
    add(&name, Some(held), Kept::of(watched, from));
    recover(watched);
    for kind in [Kind::Unreachable, Kind::Datagrams] {
        let limit = limit(lab, watched, &stranger, kind)?;
        println!("{limit}");
        played.limits.push(limit);
    }
    Ok(played)
}

fn restart(
    lab: &mut Lab,
    owner: &str,
    start: &impl Fn(&mut Lab, &str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let speaker = lab.node(owner)?.speaker.as_mut().context("no speaker")?;
    speaker.signal(Signal::SIGTERM)?;
    eventually("the speaker has ended", SOON, || Ok(speaker.ended()))?;
    start(lab, owner)
}

/// What an attack left behind shall not count for the next one; where it lasts that is told.
fn recover(watched: &Watched) {
    if let Err(error) = watched.settle(Duration::from_secs(1)) {
        println!("not as before: {error:#}");
    }
}

/// Faster and faster, until something else than in a while without the stranger becomes of the address.
fn limit(lab: &Lab, watched: &Watched, stranger: &Stranger, kind: Kind) -> anyhow::Result<String> {
    let quiet = Kept::quiet(watched, STEP)?;
    let mut held = 0;
    for amount in RATES {
        let (kept, done) = stranger.attack(lab, watched, Attack { kind, amount }, STEP)?;
        println!("{}, {done}: {kept}", kind.name());
        recover(watched);
        let Kept { changes, twice, unanswered, asked } = kept;
        if changes > quiet.changes || twice > quiet.twice || unanswered > quiet.unanswered {
            return Ok(format!(
                "{}: held at {held} packets/s, not at {} ({changes} changes of owner, {twice} answered by two, {unanswered} of {asked} unanswered)",
                kind.name(),
                done.amount,
            ));
        }
        // The machine gives no more.
        if done.amount <= held {
            break;
        }
        held = done.amount;
    }
    Ok(format!("{}: held at all rates, up to {held} packets/s", kind.name()))
}

fn table(ours: &Played, theirs: &Played, time: Duration) -> String {
    let mut text = String::from(
        "\n| attack | amount | ferrolb | amount | MetalLB 0.15.2 |\n|---|---|---|---|---|\n",
    );
    let amount = |done: Option<Done>| done.map_or_else(|| "-".to_owned(), |done| done.to_string());
    for ((attack, first, kept), (_, second, other)) in ours.attacks.iter().zip(&theirs.attacks) {
        let (first, second) = (amount(*first), amount(*second));
        let _ = writeln!(text, "| {attack} | {first} | {kept} | {second} | {other} |");
    }
    let _ = write!(
        text,
        "\nIn each field: changes of owner / questions answered by two / questions unanswered of all. A client asks every 10 ms; each attack lasts {} s.\n",
        time.as_secs()
    );
    for (programs, limits) in [("ferrolb", &ours.limits), ("MetalLB", &theirs.limits)] {
        let _ = write!(
            text,
            "\nFaster and faster, {} s each, on {programs}: {}.\n",
            STEP.as_secs(),
            limits.join("; ")
        );
    }
    text.push('\n');
    text
}

/// Puts the table in the place of the one that stands in the document.
fn write(path: &Path, table: &str) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let (head, rest) = text.split_once(BEGIN).context("no place for the attacks")?;
    let (_, tail) = rest.split_once(END).context("no end of the attacks")?;
    std::fs::write(path, format!("{head}{BEGIN}{table}{END}{tail}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_stand_beside_one_another_and_another_run_takes_their_place() {
        let kept = |changes, unanswered| Kept { changes, twice: 2, unanswered, asked: 600 };
        let played = |changes, limit: &str| Played {
            attacks: vec![
                ("none".to_owned(), None, kept(0, 0)),
                ("some".to_owned(), Some(Done { amount: 7, opened: None }), kept(changes, 3)),
            ],
            limits: vec![limit.to_owned()],
        };
        let table = table(&played(0, "a"), &played(5, "b"), Duration::from_secs(60));
        assert!(
            table.contains("| some | 7/s | 0 / 2 / 3 of 600 | 7/s | 5 / 2 / 3 of 600 |\n"),
            "{table}"
        );
        assert!(table.contains("on MetalLB: b.\n"), "{table}");
        let folder = std::env::temp_dir().join(format!("attacks-{}", std::process::id()));
        std::fs::write(&folder, format!("before\n{BEGIN}old\n{END}after\n")).unwrap();
        write(&folder, "new\n").unwrap();
        let written = std::fs::read_to_string(&folder).unwrap();
        std::fs::remove_file(&folder).unwrap();
        assert_eq!(written, format!("before\n{BEGIN}new\n{END}after\n"));
    }
}
