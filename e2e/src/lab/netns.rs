// SPDX-License-Identifier: Apache-2.0
//! Network namespaces, by iproute2: one value each, gone when it is dropped.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, ensure};

use super::cleanup;

/// A network namespace of the rack.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes it, with its loopback up.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(name: String) -> anyhow::Result<Self> {
        cleanup::check()?;
        let output = Command::new("ip").args(["netns", "add", &name]).output()?;
        succeeded(&output).with_context(|| format!("ip netns add {name}"))?;
        let namespace = Self { name };
        // Before any link is there, so that addresses are usable at once.
        namespace.sysctl(&[
            ("net/ipv6/conf/all/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_dad", "0"),
            ("net/ipv6/conf/all/router_solicitations", "0"),
            ("net/ipv6/conf/default/router_solicitations", "0"),
        ])?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its file is, for setns.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// Runs lines of `ip`, the first that fails ends it.
    ///
    /// # Errors
    /// When one fails.
    pub fn ip(&self, lines: &str) -> anyhow::Result<()> {
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(lines.as_bytes())?;
            input.write_all(b"\n")?;
        }
        let output = child.wait_with_output()?;
        succeeded(&output).with_context(|| format!("ip -n {}: {lines}", self.name))
    }

    /// Writes values under /proc/sys.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn sysctl(&self, values: &[(&str, &str)]) -> anyhow::Result<()> {
        let script: String = values
            .iter()
            .map(|(key, value)| format!("echo {value} >/proc/sys/{key} && "))
            .chain(["true".to_owned()])
            .collect();
        self.run("sh", ["-c", script.as_str()]).map(drop)
    }

    /// A command to be run inside.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs a program to its end and hands back what it did, whatever that was.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn output<A: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<Output> {
        self.command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {program}"))
    }

    /// Runs a program that must succeed; what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn run<A: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<String> {
        let output = self.output(program, arguments)?;
        succeeded(&output).with_context(|| format!("{program} in {}", self.name))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The hardware address of one of its links.
    ///
    /// # Errors
    /// When there is no such link.
    pub fn mac(&self, link: &str) -> anyhow::Result<String> {
        let text = self.run("cat", [format!("/sys/class/net/{link}/address")])?;
        Ok(text.trim().to_owned())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ =
            Command::new("ip").args(["netns", "delete", &self.name]).stderr(Stdio::null()).status();
    }
}

/// An error with what the program said, if it failed.
pub(crate) fn succeeded(output: &Output) -> anyhow::Result<()> {
    ensure!(
        output.status.success(),
        "{}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout),
    );
    Ok(())
}
