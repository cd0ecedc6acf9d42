// SPDX-License-Identifier: Apache-2.0
//! Network namespaces for the tests of crates with sockets, and what runs in them. A namespace is taken away on drop,
//! also after a panic. Not here: what a crate's tests put into them, and how they are joined.

#![allow(clippy::unwrap_used, reason = "support of tests, which fail by panicking")]

use std::fs::File;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(10);

static NEXT: AtomicU32 = AtomicU32::new(0);
static STARTS: Mutex<()> = Mutex::new(());

/// A network namespace with a name of its own, in which `lo` is up.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

/// A program in a namespace, ended on drop.
#[derive(Debug)]
pub struct Program(Child);

/// A number that nobody else in this process has.
pub fn unique() -> u32 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// While the guard lives, no process is started by this crate. Between its fork and its exec a process has copies of
/// all sockets of the tests: a port that was just given back would be in use.
pub fn hold_starts() -> MutexGuard<'static, ()> {
    STARTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a process; it is the other program when this returns.
///
/// # Errors
/// When the program cannot be started.
pub fn start(command: &mut Command) -> std::io::Result<Child> {
    let _guard = hold_starts();
    command.spawn()
}

/// Runs a process to its end, and gives what it printed.
///
/// # Errors
/// When the program cannot be started.
pub fn output(command: &mut Command) -> std::io::Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    start(command)?.wait_with_output()
}

/// The output of a program.
///
/// # Panics
/// When the program fails.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = output(Command::new(program).args(arguments)).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}{error}");
    text
}

/// The present.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "a test on the real kernel waits in real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Waits until the condition gives something; its error tells what there was instead.
///
/// # Panics
/// When it gives nothing within this time.
pub fn eventually<T>(
    within: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<T, String>,
) -> T {
    let end = now() + within;
    loop {
        match condition() {
            Ok(found) => return found,
            Err(last) => assert!(now() < end, "not within {within:?}: {what}; last seen: {last}"),
        }
        std::thread::sleep(PAUSE);
    }
}

impl Namespace {
    /// A namespace with the name `PREFIX-PROCESS-NUMBER-SIDE`.
    ///
    /// # Panics
    /// When it cannot be made, which needs root.
    #[must_use]
    pub fn new(prefix: &str, side: &str) -> Self {
        let name = format!("{prefix}-{}-{}-{side}", std::process::id(), unique());
        run("ip", &["netns", "add", &name]);
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The output of `ip` in the namespace.
    ///
    /// # Panics
    /// When `ip` fails.
    pub fn ip(&self, arguments: &[&str]) -> String {
        run("ip", &[&["-n", &self.name], arguments].concat())
    }

    /// A link between two namespaces, up on neither side.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn join(&self, device: &str, other: &Self, other_device: &str) {
        let peer = ["type", "veth", "peer", "name", other_device, "netns", &other.name];
        self.ip(&[&["link", "add", device], peer.as_slice()].concat());
    }

    /// Sets a device up.
    ///
    /// # Panics
    /// When there is none.
    pub fn up(&self, device: &str) {
        self.ip(&["link", "set", device, "up"]);
    }

    /// Gives a device an address with the length of its prefix; one of IPv6 is not looked for on the link before.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn address(&self, device: &str, address: &str) {
        let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
        self.ip(&[&["addr", "add", address, "dev", device], nodad].concat());
    }

    /// A program that runs in it, not started yet.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Starts a program in it; what the program prints is thrown away.
    ///
    /// # Panics
    /// When `ip` cannot be started.
    #[must_use]
    pub fn program(&self, program: &str, arguments: &[&str]) -> Program {
        let mut command = self.command(program);
        command.args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Program(start(&mut command).unwrap())
    }

    /// Runs in it, in a thread of its own; threads started there stay there.
    ///
    /// # Panics
    /// When the thread panics.
    pub fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.spawn(work).join().unwrap()
    }

    /// As [`Namespace::inside`], without waiting for the end.
    ///
    /// # Panics
    /// When the namespace is gone.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let file = File::open(format!("/var/run/netns/{}", self.name)).unwrap();
        std::thread::spawn(move || {
            nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            work()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = output(Command::new("ip").args(["netns", "del", &self.name]));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
