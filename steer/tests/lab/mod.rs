// SPDX-License-Identifier: Apache-2.0
//! A node in a network namespace, and what is put into its kernel. The namespace is taken away on drop, also after a panic.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "support of tests, which fail by panicking"
)]

pub(crate) mod trio;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use steer::Station;
use steer::net::{Applied, Error, Keep, Kernel};
use steer::{BUCKETS, HashBy, Spread, Steps};
use testlab::Namespace;

/// The time-out of elements where it does not matter.
pub(crate) const LINGER: Duration = Duration::from_secs(600);

/// The namespace, and a kernel that was opened in it.
pub(crate) struct Lab {
    pub(crate) node: Namespace,
    pub(crate) client: Namespace,
    kernel: Arc<Mutex<Kernel>>,
}

impl Lab {
    /// A node with a device `eth0`, which leads to a client's.
    pub(crate) fn new() -> Self {
        let node = Namespace::new("steer", "node");
        let client = Namespace::new("steer", "client");
        node.join("eth0", &client, "eth0");
        for side in [&node, &client] {
            side.up("eth0");
        }
        let kernel = node.inside(|| Kernel::open().unwrap());
        Self { node, client, kernel: Arc::new(Mutex::new(kernel)) }
    }

    /// Works with the kernel in the namespace.
    pub(crate) fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Kernel) -> T + Send + 'static,
    ) -> T {
        let kernel = Arc::clone(&self.kernel);
        self.node.inside(move || work(&mut kernel.lock().unwrap()))
    }

    pub(crate) fn try_apply(&self, keep: &Keep) -> Result<Applied, Error> {
        let keep = keep.clone();
        self.with(move |kernel| kernel.apply(&keep, LINGER))
    }

    pub(crate) fn apply(&self, keep: &Keep) -> Applied {
        self.try_apply(keep).unwrap()
    }

    /// What was repaired, in words; nothing is left to do afterwards.
    pub(crate) fn repaired(&self, keep: &Keep) -> Vec<String> {
        let applied = self.apply(keep);
        assert_eq!(applied.operations == 0, applied.repaired.is_empty(), "{applied:?}");
        assert_eq!(self.apply(keep), Applied::default());
        applied.repaired.iter().map(ToString::to_string).collect()
    }

    /// The output of nft in the namespace, without the octets at the beginning of lines.
    pub(crate) fn nft(&self, words: &str) -> String {
        let mut command = self.node.command("nft");
        command.args(words.split_whitespace());
        let output = testlab::output(&mut command).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "nft {words}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// One of our tables as nft shows it, without the marks of rules and without the time that is left.
    pub(crate) fn table(&self, family: &str) -> String {
        let listed = self.nft(&format!("-s list table {family} ferrolb"));
        let lines = listed.lines().map(|line| line.split(" comment \"ferrolb ").next().unwrap());
        lines.flat_map(|line| [line, "\n"]).collect()
    }

    /// Whether a program in the namespace ends well.
    pub(crate) fn succeeds(&self, program: &str, arguments: &[&str]) -> bool {
        let mut command: Command = self.node.command(program);
        command.args(arguments).stderr(Stdio::null());
        testlab::output(&mut command).unwrap().status.success()
    }
}

/// The sets and chains of a table, whatever their order: what is made anew comes last.
pub(crate) fn parts(table: &str) -> BTreeSet<&str> {
    table.split("\n\n").map(|part| part.trim_end_matches(['}', '\n', '\t']).trim()).collect()
}

/// A fellow on `eth0`.
pub(crate) fn station(number: u8) -> Station {
    Station {
        interface: "eth0".into(),
        hardware_address: [2, 0xf5, 0, 0, 0, number],
        address_v4: Some([198, 51, 100, number].into()),
        address_v6: Some(format!("2001:db8:1::{number}").parse().unwrap()),
    }
}

/// Nodes `b` and `c`. Clients' frames go to `b`, those of `b` to `c`; for one address of each family.
pub(crate) fn keep() -> Keep {
    let steps =
        Steps { client: Some("b".into()), fellows: BTreeMap::from([("b".into(), "c".into())]) };
    let addresses =
        ["192.0.2.10", "2001:db8::10"].map(|address| (address.parse().unwrap(), steps.clone()));
    Keep {
        fellows: BTreeMap::from([("b".into(), station(2)), ("c".into(), station(3))]),
        addresses: addresses.into(),
        loose: true,
        ..Keep::default()
    }
}

/// An address of each family that several nodes serve: clients' frames of bucket 1 go to `b`, those of bucket 2 to `c`. Node `b`
/// had bucket 0 before; bucket 1023 has a step for frames from `c` as well.
pub(crate) fn spread() -> Keep {
    let mut buckets = vec![None; usize::from(BUCKETS)];
    for (place, fellow) in [(1, "b"), (2, "c")] {
        buckets[place] = Some(fellow.into());
    }
    let first = Steps { client: Some("b".into()), fellows: BTreeMap::new() };
    let last =
        Steps { client: Some("c".into()), fellows: BTreeMap::from([("c".into(), "b".into())]) };
    let steps = BTreeMap::from([(first, vec![0]), (last, vec![1_023])]);
    let spread = Arc::new(Spread { buckets, steps, hash: HashBy::Connection });
    let addresses = ["192.0.2.10", "2001:db8::10"];
    let addresses = addresses.map(|address| (address.parse().unwrap(), Arc::clone(&spread)));
    Keep { addresses: BTreeMap::new(), spread: addresses.into(), ..keep() }
}
