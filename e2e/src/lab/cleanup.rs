// SPDX-License-Identifier: Apache-2.0
//! Nothing of a run stays: not after success, failure, panic or Ctrl-C, and what a killed run left is removed
//! by the next one. Namespaces and folders carry the run's pid; processes are known by their own.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What every namespace and folder of the rack begins with.
const MARK: &str = "flbrack-";

static PROCESSES: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// The run is being removed: nothing new is made.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Fails when the run is being removed.
pub(super) fn check() -> std::io::Result<()> {
    match is_ending() {
        true => Err(std::io::Error::other("the run ends")),
        false => Ok(()),
    }
}

fn processes() -> MutexGuard<'static, BTreeSet<i32>> {
    PROCESSES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the run is being removed.
#[must_use]
pub fn is_ending() -> bool {
    ENDING.load(Ordering::SeqCst)
}

/// What the names of this run and lane begin with.
#[must_use]
pub fn prefix(lane: usize) -> String {
    format!("{MARK}{}-{lane}-", std::process::id())
}

/// The folder of a lane; it exists after this.
///
/// # Errors
/// When it cannot be made.
pub fn folder(lane: usize) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    check()?;
    let folder = std::env::temp_dir().join(format!("{}work", prefix(lane)));
    std::fs::create_dir_all(&folder)?;
    // The controller runs as nobody and reads its program and its kubeconfig here.
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

pub(super) fn register(pid: u32) {
    processes().extend(i32::try_from(pid));
}

pub(super) fn forget(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        processes().remove(&pid);
    }
}

/// Removes all of this run; nothing of it can be made any more.
pub fn remove_own() {
    ENDING.store(true, Ordering::SeqCst);
    let own = format!("{MARK}{}-", std::process::id());
    // Once more, for what a lane was just making.
    for _ in 0..2 {
        for pid in std::mem::take(&mut *processes()) {
            // Gone already is as good.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        remove(|name| name.starts_with(&own));
    }
}

/// Removes what runs left that are no more.
pub fn remove_leftovers() {
    remove(|name| owner(name).is_some_and(|pid| !is_running(pid)));
}

/// Whether this process is a run, not a zombie and not another program that got the number since.
fn is_running(pid: u32) -> bool {
    let stat = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let stat_of = stat(&pid.to_string());
    let own = stat("self");
    // "PID (NAME) STATE ..."
    let split = |stat: &str| {
        let (head, rest) = stat.rsplit_once(") ")?;
        let (_, name) = head.split_once('(')?;
        Some((name.to_owned(), rest.chars().next()?))
    };
    match (split(&stat_of), split(&own)) {
        (Some((name, state)), Some((own, _))) => name == own && !matches!(state, 'Z' | 'X'),
        _ => false,
    }
}

fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(MARK)?.split('-').next()?.parse().ok()
}

fn remove(wanted: impl Fn(&str) -> bool) {
    let listed = Command::new("ip").args(["netns", "list"]).output();
    let listed = listed.map(|output| output.stdout).unwrap_or_default();
    for line in String::from_utf8_lossy(&listed).lines() {
        let Some(name) = line.split_whitespace().next().filter(|name| wanted(name)) else {
            continue;
        };
        let inside = Command::new("ip").args(["netns", "pids", name]).output();
        let inside = inside.map(|output| output.stdout).unwrap_or_default();
        for pid in String::from_utf8_lossy(&inside).split_whitespace().flat_map(str::parse) {
            if u32::try_from(pid) != Ok(std::process::id()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let _ = Command::new("ip").args(["netns", "delete", name]).stderr(Stdio::null()).status();
    }
    let folders = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for folder in folders.filter(|folder| folder.file_name().to_str().is_some_and(&wanted)) {
        let _ = std::fs::remove_dir_all(folder.path());
    }
}
