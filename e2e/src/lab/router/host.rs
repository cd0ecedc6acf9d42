// SPDX-License-Identifier: Apache-2.0
//! A router as a namespace with a folder and processes. Not here: anything that depends on the program.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::super::netns::Namespace;
use super::super::process::{Process, Rights, Start};
use super::super::topology::Switch;
use super::kind::Kind;

/// A router.
#[derive(Debug)]
pub struct Router {
    // Before the namespace, so that they end first.
    pub(super) processes: Vec<Process>,
    /// Which program it runs.
    pub kind: Kind,
    /// Where it lives.
    pub namespace: Namespace,
    pub(super) folder: PathBuf,
    pub(super) config: String,
}

impl Router {
    /// Attaches one to the switch with its addresses, not running yet.
    ///
    /// # Errors
    /// When it cannot be attached.
    pub fn new(kind: Kind, switch: &Switch, folder: &Path) -> anyhow::Result<Self> {
        let mac = format!("02:fb:00:00:00:{:02x}", 0xe0 + kind.number());
        let namespace = switch.attach(kind.name(), "eth0", &mac)?;
        namespace.ip(&format!(
            "address add {}/24 dev eth0\naddress add {}/64 dev eth0",
            kind.v4(),
            kind.v6()
        ))?;
        namespace.sysctl(&[
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/eth0/rp_filter", "0"),
            // What it forwards leaves by the link that it came from; nobody shall be told of a shorter way.
            ("net/ipv4/conf/all/send_redirects", "0"),
            ("net/ipv4/conf/eth0/send_redirects", "0"),
            ("net/ipv4/fib_multipath_hash_policy", "1"),
            ("net/ipv6/fib_multipath_hash_policy", "1"),
        ])?;
        Self::within(kind, namespace, folder)
    }

    /// A router in a namespace that has its links already, not running yet.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn within(kind: Kind, namespace: Namespace, folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join(namespace.name());
        fs::create_dir_all(&folder)?;
        Ok(Self { processes: Vec::new(), kind, namespace, folder, config: String::new() })
    }

    pub(super) fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    pub(super) fn spawn(
        &mut self,
        name: &str,
        program: &str,
        arguments: Vec<String>,
    ) -> anyhow::Result<()> {
        // The lane's folder, where the evidence of a failure is looked for.
        let logs = self.folder.parent().context("a folder of the lane")?.to_owned();
        self.processes.push(Process::start(
            &logs,
            Start {
                name: name.to_owned(),
                namespace: &self.namespace,
                program: Path::new(program),
                arguments,
                environment: Vec::new(),
                rights: Rights::All,
            },
        )?);
        Ok(())
    }
}
