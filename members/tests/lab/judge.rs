// SPDX-License-Identifier: Apache-2.0
//! A member by HashiCorp's memberlist, in a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use super::{DEADLINE, Host, Known, PORT, Ring, eventually, hex};

static BINARY: OnceLock<Result<String, String>> = OnceLock::new();

pub(crate) struct Judge {
    child: Child,
    input: ChildStdin,
    lines: Receiver<Value>,
}

/// The program, built if it was not yet.
fn binary() -> String {
    let built = BINARY.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/ring/build.sh");
        let output = testlab::output(&mut Command::new(script))
            .map_err(|error| format!("{script}: {error}"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    });
    built.clone().unwrap_or_else(|error| panic!("{error}"))
}

impl Judge {
    pub(super) fn start(host: &Host, ring: &Ring, meta: &[u8]) -> Self {
        let folder = &ring.files.0;
        let mut command = host.command(&binary());
        command.args(["-name", &format!("node-{}", host.number)]);
        command.args(["-bind", &ring.address(host.number).ip().to_string()]);
        command.args(["-port", &PORT.to_string(), "-meta", &hex(meta), "-label", ring.label]);
        command.args(["-config", &format!("{folder}/config.json")]);
        if ring.encrypted {
            command.args(["-key-file", &format!("{folder}/secret")]);
        }
        if !ring.compressed {
            command.arg("-no-compression");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = testlab::start(&mut command).expect("ip runs");
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).expect("the judge prints JSON");
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        let judge = Self { child, input, lines };
        judge.next("ready", "");
        judge
    }

    /// Waits for a line with this event, and about this member if a name is given.
    pub(crate) fn next(&self, event: &str, name: &str) -> Value {
        let mut seen = Vec::new();
        loop {
            let line = self.lines.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|_| panic!("no {event} {name} after {seen:?}"));
            if line["event"] == event && (name.is_empty() || line["name"] == name) {
                return line;
            }
            seen.push(line.to_string());
        }
    }

    fn ask(&mut self, command: &str, answer: &str) -> Value {
        writeln!(self.input, "{command}").unwrap();
        self.next(answer, "")
    }

    /// How many members of these addresses were contacted.
    pub(crate) fn join(&mut self, address: &str) -> u64 {
        self.ask(&format!("join {address}"), "joined")["count"].as_u64().unwrap_or(0)
    }

    pub(crate) fn set_meta(&mut self, meta: &[u8]) {
        let answer = self.ask(&format!("meta {}", hex(meta)), "updated");
        assert_eq!(answer["error"], Value::Null, "{answer}");
    }

    pub(crate) fn leave(&mut self) {
        let answer = self.ask("leave", "left");
        assert_eq!(answer["error"], Value::Null, "{answer}");
    }

    /// Who is there, as far as this member knows, itself included.
    pub(crate) fn known(&mut self) -> Vec<Known> {
        let answer = self.ask("members", "members");
        let members = answer["members"].as_array().expect("a list");
        let text = |member: &Value, field: &str| member[field].as_str().unwrap_or("").to_owned();
        let known = members.iter().map(|member| Known {
            name: text(member, "name"),
            address: text(member, "address"),
            meta: text(member, "meta"),
        });
        known.collect()
    }

    pub(crate) fn sees(&mut self, expected: &[Known]) {
        eventually(&format!("a judge sees {expected:?}"), || {
            let known = self.known();
            if known == expected { Ok(()) } else { Err(format!("{known:?}")) }
        });
    }

    /// The versions that it knows of a member.
    pub(crate) fn versions(&mut self, name: &str) -> String {
        let answer = self.ask("members", "members");
        let members = answer["members"].as_array().expect("a list");
        let found = members.iter().find(|member| member["name"] == name).expect("it is known");
        found["versions"].to_string()
    }

    /// Ends it without a word to the others.
    pub(crate) fn kill(self) {}
}

impl Drop for Judge {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
