// SPDX-License-Identifier: Apache-2.0
//! A program of the rack that runs until it is ended; its output goes to a file of the lane's folder.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cleanup;
use super::netns::Namespace;
use super::wait::eventually;

/// What a program may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// All that the rack itself may.
    All,
    /// Root with `NET_RAW` only, as the speaker's container.
    NetRaw,
    /// As [`Self::NetRaw`], and `NET_ADMIN`, as the speaker's container with `--keep-connections`.
    NetAdmin,
    /// nobody, without capabilities, as the controller's container.
    Nobody,
}

impl Rights {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::All => &[],
            Self::NetRaw => &["--bounding-set=-all,+net_raw", "--inh-caps=-all", "--no-new-privs"],
            Self::NetAdmin => {
                &["--bounding-set=-all,+net_raw,+net_admin", "--inh-caps=-all", "--no-new-privs"]
            }
            Self::Nobody => &[
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "--bounding-set=-all",
                "--inh-caps=-all",
                "--no-new-privs",
            ],
        }
    }
}

/// How to start a program.
#[derive(Debug)]
pub struct Start<'a> {
    /// The name of its log.
    pub name: String,
    /// Where it runs.
    pub namespace: &'a Namespace,
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its whole environment, apart from PATH.
    pub environment: Vec<(&'a str, String)>,
    /// What it may do.
    pub rights: Rights,
}

/// A running program; it is killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it. It ends with the thread that called this at the latest.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(folder: &Path, start: Start<'_>) -> anyhow::Result<Self> {
        cleanup::check()?;
        let log = folder.join(format!("{}.log", start.name));
        let output = File::options().create(true).append(true).open(&log)?;
        let mut command: Command = start.namespace.command("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .args(start.rights.arguments())
            .arg(start.program)
            .args(&start.arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(start.environment)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let child = command.spawn().with_context(|| format!("cannot start {}", start.name))?;
        cleanup::register(child.id());
        Ok(Self { name: start.name, child, log })
    }

    /// The name of its log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        cleanup::forget(self.child.id());
    }

    /// Asks it to end and waits for that.
    ///
    /// # Errors
    /// When it does not end within `deadline`.
    pub fn terminate(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        let status = eventually("the program ends on SIGTERM", deadline, || Ok(self.ended()))
            .with_context(|| self.name.clone())?;
        cleanup::forget(self.child.id());
        Ok(status)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?;
        Ok(())
    }

    /// All it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until `ready` is true; fails at once when the program ends before.
    ///
    /// # Errors
    /// When the program ended or is not ready within `deadline`.
    pub fn wait_ready(
        &mut self,
        deadline: Duration,
        mut ready: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let ended =
            eventually(&format!("{} is ready", self.name), deadline, || match self.ended() {
                Some(status) => Ok(Some(Some(status))),
                None => Ok(ready()?.then_some(None)),
            })?;
        if let Some(status) = ended {
            bail!("{} ended at its start: {status}\n{}", self.name, tail(&self.log(), 20));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Words of lines that come a hundred times a second and say nothing new: etcd's client in the API server talks to itself, a speaker
/// tells each answer, and watches fail while the API server is away.
const CHATTER: [&str; 4] =
    ["[core] [Channel", "got ARP request", "\"watchFailed\"", "a watch of the webhooks"];

/// The last lines of a log, without chatter.
#[must_use]
pub fn tail(log: &str, lines: usize) -> String {
    let says = |line: &&str| !CHATTER.iter().any(|chatter| line.contains(chatter));
    let all: Vec<&str> = log.lines().filter(says).collect();
    all.iter().skip(all.len().saturating_sub(lines)).map(|line| format!("    {line}\n")).collect()
}
