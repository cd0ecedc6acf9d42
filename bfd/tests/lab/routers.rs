// SPDX-License-Identifier: Apache-2.0
//! FRR (zebra and bfdd, each host with a path space of its own) and BIRD inside a host.

#![allow(clippy::unwrap_used, reason = "support of tests, which fail by panicking")]

use std::path::PathBuf;
use std::process::Command;

use testlab::{Program, run};

use super::{Host, eventually};

/// FRR's bfdd with what it needs.
pub(crate) struct Frr {
    path_space: String,
    directory: PathBuf,
    _programs: [Program; 2],
}

/// BIRD.
pub(crate) struct Bird {
    directory: PathBuf,
    _program: Program,
}

impl Frr {
    /// Starts it with this configuration of bfdd.
    pub(crate) fn start(host: &Host, configuration: &str) -> Self {
        let path_space = host.name().to_owned();
        let directory = PathBuf::from(format!("/var/run/frr/{path_space}"));
        std::fs::create_dir_all(&directory).unwrap();
        let file = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        std::fs::write(file("zebra.conf"), "").unwrap();
        std::fs::write(file("bfdd.conf"), configuration).unwrap();
        run("chown", &["-R", "frr:frr", directory.to_str().unwrap()]);
        let zebra =
            host.program("/usr/lib/frr/zebra", &["-N", &path_space, "-f", &file("zebra.conf")]);
        eventually("zebra", || directory.join("zserv.api").exists().then_some(()));
        let bfdd = host.program(
            "/usr/lib/frr/bfdd",
            &["-N", &path_space, "-f", &file("bfdd.conf"), "--bfdctl", &file("bfdctl")],
        );
        let frr = Self { path_space, directory, _programs: [zebra, bfdd] };
        eventually("bfdd", || frr.ask("show bfd peers json").contains("\"peer\"").then_some(()));
        frr
    }

    fn ask(&self, command: &str) -> String {
        let output =
            Command::new("vtysh").args(["-N", &self.path_space, "-c", command]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What it says of the peer.
    pub(crate) fn peer(&self, peer: &str) -> String {
        object(&self.ask("show bfd peers json"), peer)
    }

    /// Waits until it says this of the peer.
    pub(crate) fn says(&self, peer: &str, words: &str) -> String {
        eventually(&format!("FRR to say {words} of {peer}"), || {
            Some(self.peer(peer)).filter(|text| text.contains(words))
        })
    }

    /// A counter of the peer.
    pub(crate) fn counter(&self, peer: &str, name: &str) -> u64 {
        let text = object(&self.ask("show bfd peers counters json"), peer);
        let (_, rest) = text.split_once(&format!("\"{name}\":")).unwrap_or_default();
        let digits: String = rest.trim().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    }
}

/// The innermost braces around the peer's address.
fn object(json: &str, peer: &str) -> String {
    let mark = format!("\"peer\":\"{peer}\"");
    let found = json.split('}').find(|object| object.contains(&mark));
    found.unwrap_or_default().to_owned()
}

impl Bird {
    /// Starts it with this configuration beside the parts that every BIRD needs.
    pub(crate) fn start(host: &Host, configuration: &str) -> Self {
        let directory = std::env::temp_dir().join(host.name());
        std::fs::create_dir_all(&directory).unwrap();
        let file = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        let common = "router id 192.0.2.2; protocol device {}\n";
        std::fs::write(file("bird.conf"), format!("{common}{configuration}")).unwrap();
        let program =
            host.program("bird", &["-f", "-c", &file("bird.conf"), "-s", &file("bird.ctl")]);
        Self { directory, _program: program }
    }

    /// Waits until its session with the peer is in this state.
    pub(crate) fn says(&self, peer: &str, state: &str) {
        let control = self.directory.join("bird.ctl");
        eventually(&format!("BIRD to say {state} of {peer}"), || {
            let output = Command::new("birdc")
                .args(["-s", control.to_str().unwrap(), "show", "bfd", "sessions"])
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let found = text.lines().any(|line| {
                let mut words = line.split_whitespace();
                words.next() == Some(peer) && words.any(|word| word == state)
            });
            found.then_some(())
        });
    }
}

impl Drop for Frr {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Drop for Bird {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
