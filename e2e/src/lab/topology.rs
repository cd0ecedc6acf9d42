// SPDX-License-Identifier: Apache-2.0
//! What all nodes hang on: a switch, and the programs that run in the rack.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::cleanup;
use super::netns::Namespace;

/// The programs under test and the rack's own, copied so that a build during a run changes nothing.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The lane's folder.
    pub folder: PathBuf,
    /// The controller.
    pub controller: PathBuf,
    /// The speaker.
    pub speaker: PathBuf,
    /// The command line.
    pub ferrolb: PathBuf,
    /// This program, for the pods.
    pub e2e: PathBuf,
    /// The control plane.
    pub cluster: PathBuf,
    /// The file systems of the images, by their names.
    pub images: PathBuf,
}

impl Programs {
    /// Copies them into the lane's folder.
    ///
    /// # Errors
    /// When one is missing.
    pub fn new(folder: &Path, binaries: &Path, cluster: &Path) -> anyhow::Result<Self> {
        let copy = |from: &Path, name: &str| {
            let to = folder.join(name);
            std::fs::copy(from, &to)
                .with_context(|| format!("{} is missing: build it first", from.display()))?;
            anyhow::Ok(to)
        };
        Ok(Self {
            folder: folder.to_owned(),
            controller: copy(&binaries.join("controller"), "controller")?,
            speaker: copy(&binaries.join("speaker"), "speaker")?,
            ferrolb: copy(&binaries.join("ferrolb"), "ferrolb")?,
            e2e: copy(&std::env::current_exe()?, "e2e")?,
            cluster: cluster.to_owned(),
            images: binaries.join("images"),
        })
    }
}

/// A switch of the rack: a bridge in a namespace of its own.
#[derive(Debug)]
pub struct Switch {
    prefix: String,
    bridge: Namespace,
}

impl Switch {
    /// Makes it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(lane: usize, name: &str) -> anyhow::Result<Self> {
        let prefix = cleanup::prefix(lane);
        let bridge = Namespace::new(format!("{prefix}{name}"))?;
        bridge.sysctl(&[("net/ipv6/conf/default/disable_ipv6", "1")])?;
        // Groups are flooded: nobody asks for them here, so snooping would forget them.
        bridge.ip("link add br0 type bridge stp_state 0 mcast_snooping 0\nlink set br0 up")?;
        Ok(Self { prefix, bridge })
    }

    /// A namespace of this lane that hangs on nothing yet.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn namespace(&self, name: &str) -> anyhow::Result<Namespace> {
        Namespace::new(format!("{}{name}", self.prefix))
    }

    /// A new namespace with a link to this switch.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn attach(&self, name: &str, link: &str, mac: &str) -> anyhow::Result<Namespace> {
        let namespace = self.namespace(name)?;
        self.plug(&namespace, name, link, mac)?;
        Ok(namespace)
    }

    /// One more link of a namespace to this switch; `port` names the switch's end.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn plug(
        &self,
        namespace: &Namespace,
        port: &str,
        link: &str,
        mac: &str,
    ) -> anyhow::Result<()> {
        namespace.ip(&format!(
            "link add {link} address {mac} type veth peer name {port} netns {}",
            self.bridge.name()
        ))?;
        self.bridge.ip(&format!("link set {port} master br0 up"))?;
        namespace.ip(&format!("link set {link} up"))
    }

    /// Removes every link to this switch but those at `kept`. A namespace that is deleted takes its links along only
    /// some time later.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn unplug_all_but(&self, kept: &str) -> anyhow::Result<()> {
        let listed = self.bridge.run("ls", ["/sys/class/net/br0/brif"])?;
        for port in listed.split_whitespace().filter(|port| *port != kept) {
            // It may go by itself at this moment.
            let _ = self.bridge.ip(&format!("link delete {port}"));
        }
        Ok(())
    }

    /// No frame passes between these ports and the other nodes' ports; everything else passes. Replaces what was said before.
    ///
    /// # Errors
    /// When nft fails.
    pub fn part(&self, some: &[&str], others: &[&str]) -> anyhow::Result<()> {
        let set = |ports: &[&str]| format!("{{ {} }}", ports.join(", "));
        let rule = |from: &[&str], to: &[&str]| {
            format!("iifname {} oifname {} drop\n", set(from), set(to))
        };
        let rules = match some.is_empty() || others.is_empty() {
            true => String::new(),
            false => rule(some, others) + &rule(others, some),
        };
        let script = format!(
            "nft -f - <<'END'\ntable bridge switch {{}}\ndelete table bridge switch\ntable bridge switch {{\n\
             chain forward {{\ntype filter hook forward priority 0\n{rules}}}\n}}\nEND"
        );
        self.bridge.run("sh", ["-c", script.as_str()]).map(drop)
    }

    /// Pulls or plugs the cable at a port: the other side sees its carrier go or come.
    ///
    /// # Errors
    /// When there is no such port.
    pub fn set_cable(&self, port: &str, plugged: bool) -> anyhow::Result<()> {
        self.bridge.ip(&format!("link set {port} {}", if plugged { "up" } else { "down" }))
    }
}
