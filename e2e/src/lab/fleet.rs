// SPDX-License-Identifier: Apache-2.0
//! A fleet in which MetalLB's kind of speaker and ours are beside one another, and who has which address in it.
//!
//! MetalLB's part is played by `e2e/ring`: HashiCorp's library, the election of contract 4.3 and a responder. Like MetalLB's it goes on
//! answering while it leaves, for nobody tells it to stop.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde_json::json;

use super::Lab;
use super::load::Load;
use super::node::{PodAddresses, Proxy};
use super::objects::{POOL_V4, l2_advertisement, pool, service};
use super::wait::{SOON, eventually, eventually_true, now};
use super::watched::{Watched, story};
use super::watcher::Watcher;

/// Addresses, and the nodes in the order in which they get them: by SHA-256 of `<node>#<address>` (contract 4.3), computed by sha256sum.
pub const ORDERS: [(&str, [&str; 4]); 4] = [
    ("172.30.0.200", ["node1", "node3", "node4", "node2"]),
    ("172.30.0.201", ["node3", "node4", "node2", "node1"]),
    ("172.30.0.202", ["node2", "node3", "node1", "node4"]),
    ("172.30.0.203", ["node4", "node1", "node3", "node2"]),
];
/// For so long two may answer: MetalLB's speaker goes on answering while it tells the ring that it leaves, for a second at most.
pub const BOTH: Duration = Duration::from_millis(1_300);
/// So many questions, one every 10 ms, may stay unanswered while a speaker starts.
pub const GAP: usize = 20;
/// The same while one of MetalLB's kind ends in order: it stops when it stops, whether the next one has begun or not.
pub const STOPPED: usize = 10;
/// Requests a second to all addresses together.
const RATE: u32 = 1_000;
/// What MetalLB's kind says when it has decided for the first time.
const READY: &str = r#""event":"ready""#;
/// So long each address must have its owner alone until a step counts as done.
const QUIET: Duration = Duration::from_millis(300);

/// Which program speaks on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Ferrolb,
    /// MetalLB's kind.
    MetalLb,
}

/// What a fleet does.
#[derive(Debug, Default)]
pub struct Fleet {
    /// The member by HashiCorp's library, if there are any.
    program: Option<PathBuf>,
    /// Each address as the client sees it.
    watched: Vec<(&'static str, [&'static str; 4], Watched)>,
    /// Who speaks.
    alive: BTreeSet<String>,
    /// How often MetalLB's kind was started on each node.
    starts: BTreeMap<String, usize>,
    /// Who may claim what is not its own for a while.
    hasty: Option<String>,
}

/// How one address passed from one node to another.
#[derive(Clone, Debug)]
pub struct Passing {
    /// Which.
    pub address: &'static str,
    /// Who had it.
    pub from: String,
    /// Who has it. The same if another only claimed it for a while.
    pub to: String,
    /// From the beginning of the step to the first frame of the new owner.
    pub after: Duration,
    /// From the first frame of the new owner to the last one of the old; or so long the other claimed it.
    pub overlap: Duration,
    /// How many questions nobody answered: one is asked every 10 ms.
    pub unanswered: usize,
}

impl Fleet {
    /// Builds the program, if it is not there yet. Nobody speaks.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn new() -> anyhow::Result<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/ring/build.sh");
        let output = Command::new(script).stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "the member by HashiCorp's memberlist cannot be built");
        let program = Some(PathBuf::from(String::from_utf8(output.stdout)?.trim()));
        Ok(Self { program, ..Self::default() })
    }

    /// As [`Fleet::new`], with controller, nodes without kube-proxy, and the Services.
    ///
    /// # Errors
    /// When something does not start.
    pub fn prepare(lab: &mut Lab, nodes: usize) -> anyhow::Result<Self> {
        lab.client()?;
        lab.start_controller(&[])?;
        lab.start_nodes(nodes, Proxy::Absent)?;
        let pod = PodAddresses {
            node: "node1".into(),
            v4: "10.244.1.99".into(),
            v6: "fd00:244:1::99".into(),
        };
        let fleet = Self::new()?;
        fleet.create_services(lab, &pod)?;
        Ok(fleet)
    }

    /// Pool, advertisement, and a Service for each address with this pod behind it.
    ///
    /// # Errors
    /// When the API refuses.
    pub fn create_services(&self, lab: &Lab, pod: &PodAddresses) -> anyhow::Result<()> {
        lab.kube().apply(&pool("pool", &[POOL_V4]))?;
        lab.kube().apply(&l2_advertisement("all", json!({})))?;
        for (index, (address, _)) in ORDERS.iter().enumerate() {
            let name = format!("web{index}");
            lab.set_endpoints(&name, std::slice::from_ref(pod))?;
            let annotations = json!({"metallb.io/loadBalancerIPs": address});
            let object = json!({
                "metadata": {"annotations": annotations},
                "spec": {"ipFamilies": ["IPv4"]},
            });
            lab.kube().create(&service(&name, object))?;
            lab.expect_addresses(&name, &[address])?;
        }
        Ok(())
    }

    /// Starts a speaker on a node and waits until it says that it is ready. `extra` are further flags.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start(
        &mut self,
        lab: &mut Lab,
        name: &str,
        kind: Kind,
        extra: &[&str],
    ) -> anyhow::Result<()> {
        let addresses = ORDERS.map(|(address, _)| address);
        let node = lab.node(name)?;
        match kind {
            Kind::Ferrolb => {
                node.start_speaker(extra)?;
                node.wait_speaker()?;
            }
            Kind::MetalLb => {
                // The log of an earlier one goes on.
                let starts = self.starts.entry(name.to_owned()).or_default();
                *starts += 1;
                let program = self.program.as_deref().context("a fleet without members")?;
                node.start_metallb(program, &addresses, extra)?;
                let log = lab.folder().join(format!("metallb-{name}.log"));
                let speaker = lab.node(name)?.speaker.as_mut().context("no speaker")?;
                speaker.wait_ready(SOON, || {
                    Ok(std::fs::read_to_string(&log)?.matches(READY).count() >= *starts)
                })?;
            }
        }
        self.started(name);
        Ok(())
    }

    /// A node's speaker was started by somebody else.
    pub fn started(&mut self, name: &str) {
        self.alive.insert(name.to_owned());
    }

    /// From now on this node may claim every address for a while: MetalLB's speaker decides before it has met the others.
    pub fn may_claim(&mut self, node: Option<&str>) {
        self.hasty = node.map(str::to_owned);
    }

    /// Asks a node's speaker to end and waits until it has.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self, lab: &mut Lab, node: &str) -> anyhow::Result<()> {
        self.alive.remove(node);
        let speaker = lab.node(node)?.speaker.as_mut().context("no speaker")?;
        speaker.signal(Signal::SIGTERM)?;
        eventually("the speaker has ended", SOON, || Ok(speaker.ended()))?;
        speaker.kill();
        Ok(())
    }

    /// Kills a node's speaker.
    ///
    /// # Errors
    /// When there is none.
    pub fn kill(&mut self, lab: &mut Lab, node: &str) -> anyhow::Result<()> {
        self.alive.remove(node);
        lab.node(node)?.speaker.as_mut().context("no speaker")?.kill();
        Ok(())
    }

    /// Begins to look at all addresses; each has the owner that it should have.
    ///
    /// # Errors
    /// When one has another.
    pub fn watch(&mut self, lab: &mut Lab) -> anyhow::Result<()> {
        for (address, order) in ORDERS {
            let owner = self.owner(&order)?;
            let watcher = Watcher::start(&lab.client()?.namespace, "eth0", address.parse()?, true)?;
            self.watched.push((address, order, Watched { watcher, owner }));
        }
        let began = now();
        self.settle(began)
    }

    /// Who should have an address: the first in its order of those that speak.
    fn owner(&self, order: &[&str; 4]) -> anyhow::Result<String> {
        let first = order.iter().find(|node| self.alive.contains(**node));
        first.map(|node| (*node).to_owned()).context("nobody speaks")
    }

    fn settle(&self, since: Instant) -> anyhow::Result<()> {
        for (address, order, watched) in &self.watched {
            let owner = self.owner(order)?;
            watched.settle_on(&owner, since, QUIET).with_context(|| (*address).to_owned())?;
        }
        Ok(())
    }

    /// Lets something happen to the fleet, and waits until each address has the owner that it should have: how each passed that did. Those that
    /// should stay where they are have stayed there, and nobody claimed an address besides its old and its new owner.
    ///
    /// # Errors
    /// When that is not so.
    pub fn step(
        &mut self,
        lab: &mut Lab,
        what: &str,
        act: impl FnOnce(&mut Self, &mut Lab) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<Passing>> {
        let began = now();
        act(self, lab).context(what.to_owned())?;
        self.settle(began).context(what.to_owned())?;
        let ended = now();
        let mut passed = Vec::new();
        for index in 0..self.watched.len() {
            let Some((address, order, _)) = self.watched.get(index) else { continue };
            let (address, to) = (*address, self.owner(order)?);
            let Some((_, _, watched)) = self.watched.get_mut(index) else { continue };
            let from = std::mem::replace(&mut watched.owner, to.clone());
            let told = || format!("{what}: {address} from {from} to {to}");
            let seen = watched.watcher.with(|record| record.stations(began, ended));
            let hasty = self.hasty.clone().filter(|hasty| seen.contains_key(hasty));
            let allowed = |station: &String| {
                *station == from || *station == to || Some(station) == hasty.as_ref()
            };
            ensure!(
                seen.keys().all(allowed),
                "{}: {seen:?}\n{}",
                told(),
                watched.watcher.with(|record| story(record, began, ended))
            );
            let passing = watched.watcher.with(|record| {
                let (new, old) = match &hasty {
                    Some(hasty) if from == to => (hasty, hasty),
                    Some(_) | None => (&to, &from),
                };
                let first = match from == to && hasty.is_none() {
                    true => began,
                    false => record.of(new, began).next().context("no frame")?.at,
                };
                let last = record.of(old, first).last().filter(|_| from != to || hasty.is_some());
                // The last questions may still be on their way.
                let asked = ended.checked_sub(Duration::from_millis(100)).unwrap_or(ended);
                anyhow::Ok(Passing {
                    address,
                    from: from.clone(),
                    to: to.clone(),
                    after: first.saturating_duration_since(began),
                    overlap: last.map_or(Duration::ZERO, |last| last.at - first),
                    unanswered: record.unanswered(began, asked).len(),
                })
            });
            let passing = passing.with_context(told)?;
            ensure!(from != to || passing.unanswered == 0, "{}: {passing}", told());
            if from != to || hasty.is_some() {
                println!("     {what}: {passing}");
                passed.push(passing);
            }
        }
        Ok(passed)
    }
}

/// Begins with requests from the client, to each address a part of them, in the order of [`ORDERS`].
///
/// # Errors
/// When the pages do not come.
pub fn start_loads(lab: &mut Lab) -> anyhow::Result<Vec<Load>> {
    let rate = RATE / u32::try_from(ORDERS.len())?;
    let client = &lab.client()?.namespace;
    let start = |(address, _)| Load::start(client, format!("{address}:80").parse()?, rate);
    let loads = ORDERS.map(start).into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    eventually_true("the load runs", SOON, || {
        Ok(loads.iter().all(|load| load.tally().served > 50))
    })?;
    Ok(loads)
}

/// Something moved, and each address was answered for by two no longer than [`BOTH`] and by nobody for at most so many questions.
///
/// # Errors
/// When that is not so.
pub fn judge(passed: &[Passing], unanswered: usize) -> anyhow::Result<()> {
    ensure!(!passed.is_empty(), "nothing moved");
    for passing in passed {
        ensure!(passing.overlap <= BOTH, "two owners for too long: {passing}");
        ensure!(passing.unanswered <= unanswered, "nobody answered: {passing}");
    }
    Ok(())
}

impl std::fmt::Display for Passing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { address, from, to, after, overlap, unanswered } = self;
        let milliseconds = |time: &Duration| time.as_secs_f64() * 1e3;
        if from == to {
            let (after, overlap) = (milliseconds(after), milliseconds(overlap));
            return write!(
                formatter,
                "{address} stays with {to}; claimed after {after:.1} ms for {overlap:.1} ms"
            );
        }
        write!(
            formatter,
            "{address} from {from} to {to} after {:.1} ms, both for {:.1} ms, {unanswered} questions unanswered",
            milliseconds(after),
            milliseconds(overlap),
        )
    }
}
