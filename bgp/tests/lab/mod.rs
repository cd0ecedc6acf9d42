// SPDX-License-Identifier: Apache-2.0
//! Two network namespaces joined by a link, engines inside them, and real routers. Everything that was made is taken away on
//! drop, also after a panic.

#![allow(clippy::unwrap_used, reason = "support of tests, which fail by panicking")]
#![allow(dead_code, reason = "every test uses some of it")]

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bgp::net::{Engine, Options};
use bgp::{Attributes, Config, PeerAsn, Remote, Routes, State, Status};
use testlab::{Namespace, run};
use tokio::sync::oneshot;

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The node, 192.0.2.1 and 2001:db8::1 on eth0, and the router, 192.0.2.2 and 2001:db8::2 on eth0.
pub(crate) struct Lab {
    pub(crate) node: Namespace,
    pub(crate) router: Namespace,
    pub(crate) folder: PathBuf,
    children: Vec<Child>,
}

/// An engine and the thread that its tasks run in.
pub(crate) struct Speaker {
    pub(crate) engine: Engine,
    end: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Waits until the condition gives something.
pub(crate) fn eventually<T>(what: &str, condition: impl FnMut() -> Result<T, String>) -> T {
    testlab::eventually(DEADLINE, what, condition)
}

impl Lab {
    pub(crate) fn new() -> Self {
        let (node, router) = (Namespace::new("bgpt", "n"), Namespace::new("bgpt", "r"));
        let folder = std::env::temp_dir().join(format!("{}-files", node.name()));
        std::fs::create_dir_all(&folder).unwrap();
        let lab = Self { node, router, folder, children: Vec::new() };
        lab.node.join("eth0", &lab.router, "eth0");
        for (namespace, n) in [(&lab.node, 1), (&lab.router, 2)] {
            namespace.address("eth0", &format!("192.0.2.{n}/24"));
            namespace.address("eth0", &format!("2001:db8::{n}/64"));
            namespace.up("eth0");
        }
        // Until duplicate address detection is through, nothing can be sent from the link-local address.
        for namespace in [&lab.node, &lab.router] {
            eventually("link-local addresses", || {
                let text = namespace.ip(&["-6", "addr", "show", "dev", "eth0", "scope", "link"]);
                if text.contains("fe80") && !text.contains("tentative") {
                    Ok(())
                } else {
                    Err(text)
                }
            });
        }
        lab
    }

    /// Rules for packets to the router.
    pub(crate) fn nft(&self, rules: &str) {
        let file = self.file("rules.nft");
        std::fs::write(&file, rules).unwrap();
        run("ip", &["netns", "exec", self.router.name(), "nft", "-f", &file]);
    }

    /// An engine on one side.
    pub(crate) fn engine(&self, namespace: &Namespace) -> Speaker {
        let (sender, receiver) = mpsc::channel();
        let (end, ended) = oneshot::channel::<()>();
        let seed = u64::from(testlab::unique()) * 1000;
        let thread = namespace.spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                sender.send(Engine::start(Options { seed, ..Options::default() })).unwrap();
                let _ = ended.await;
            });
        });
        Speaker { engine: receiver.recv().unwrap(), end: Some(end), thread: Some(thread) }
    }

    /// Starts a program beside the router, in the foreground.
    pub(crate) fn daemon(&mut self, command: &[&str]) {
        let log = File::create(self.folder.join(format!("log-{}", self.children.len()))).unwrap();
        let (program, arguments) = command.split_first().unwrap();
        let mut command = self.router.command(program);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let child = testlab::start(&mut command).unwrap();
        self.children.push(child);
    }

    /// Kills the program that was started last; what its kernel says about its connections is up to [`Lab::nft`].
    pub(crate) fn kill_last(&mut self) {
        let mut child = self.children.pop().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    /// BIRD with this configuration; asked by [`Lab::birdc`].
    pub(crate) fn bird(&mut self, configuration: &str) {
        let (conf, socket) = (self.file("bird.conf"), self.file("bird.ctl"));
        let text = format!("router id 192.0.2.2;\nprotocol device {{}}\n{configuration}");
        std::fs::write(&conf, text).unwrap();
        self.daemon(&["bird", "-f", "-c", &conf, "-s", &socket]);
    }

    pub(crate) fn birdc(&self, command: &str) -> String {
        let output = Command::new("birdc")
            .args(["-s", &self.file("bird.ctl")])
            .args(command.split(' '))
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// FRR's zebra and bgpd with this configuration of bgpd; asked by [`Lab::vtysh`].
    pub(crate) fn frr(&mut self, configuration: &str) {
        let (folder, zserv) = (self.file("frr"), self.file("frr/zserv.api"));
        std::fs::create_dir_all(&folder).unwrap();
        run("chown", &["-R", "frr:frr", &self.folder.to_string_lossy()]);
        let zebra_pid = self.file("frr/zebra.pid");
        let none = "/dev/null";
        self.daemon(&[
            "/usr/lib/frr/zebra",
            "-f",
            none,
            "-z",
            &zserv,
            "--vty_socket",
            &folder,
            "-i",
            &zebra_pid,
            "-P",
            "0",
        ]);
        eventually("zebra", || {
            if std::fs::exists(&zserv).unwrap() { Ok(()) } else { Err("no socket".to_owned()) }
        });
        self.bgpd(configuration);
    }

    /// FRR's bgpd beside the zebra that runs.
    pub(crate) fn bgpd(&mut self, configuration: &str) {
        let conf = self.file("bgpd.conf");
        std::fs::write(&conf, configuration).unwrap();
        run("chown", &["frr:frr", &conf]);
        let (folder, zserv) = (self.file("frr"), self.file("frr/zserv.api"));
        let bgpd_pid = self.file("frr/bgpd.pid");
        self.daemon(&[
            "/usr/lib/frr/bgpd",
            "--log",
            "stdout",
            "-f",
            &conf,
            "-z",
            &zserv,
            "--vty_socket",
            &folder,
            "-i",
            &bgpd_pid,
            "-P",
            "0",
        ]);
    }

    pub(crate) fn vtysh(&self, command: &str) -> String {
        let output = Command::new("vtysh")
            .args(["--vty_socket", &self.file("frr"), "-c", command])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn logs(&self) -> String {
        (0..self.children.len())
            .map(|n| {
                std::fs::read_to_string(self.folder.join(format!("log-{n}"))).unwrap_or_default()
            })
            .collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Speaker {
    /// The peers that it has, by their names.
    pub(crate) fn peers(&self, configs: impl IntoIterator<Item = Config>) {
        let named = configs.into_iter().map(|config| (Arc::clone(&config.name), Arc::new(config)));
        self.engine.set_peers(named.collect());
    }

    pub(crate) fn status(&self) -> Status {
        self.engine.statuses().into_values().next().unwrap()
    }

    /// Waits until the only peer's status is so.
    pub(crate) fn until(&self, what: &str, condition: impl Fn(&Status) -> bool) -> Status {
        eventually(what, || {
            let status = self.status();
            if condition(&status) { Ok(status) } else { Err(format!("{status:#?}")) }
        })
    }

    pub(crate) fn established(&self) -> Status {
        self.until("Established", |status| status.state == State::Established)
    }

    pub(crate) fn stop(&self, stop: bgp::Stop) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.engine.stop(stop));
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            let _ = end.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The session of the node with the router at this address.
pub(crate) fn node(remote: &str) -> Config {
    let remote = Remote::address(remote.parse::<IpAddr>().unwrap());
    Config::new("router", 64501, PeerAsn::Number(64502), Ipv4Addr::new(192, 0, 2, 1), remote)
}

/// The other side of it, passive, for an engine in the router's place.
pub(crate) fn router(remote: &str) -> Config {
    let remote = Remote::address(remote.parse::<IpAddr>().unwrap());
    let mut config =
        Config::new("node", 64502, PeerAsn::Number(64501), Ipv4Addr::new(192, 0, 2, 2), remote);
    config.passive = true;
    config
}

pub(crate) fn routes(prefixes: &[&str], attributes: &Attributes) -> Arc<Routes> {
    let attributes = Arc::new(attributes.clone());
    let entry = |prefix: &&str| (prefix.parse().unwrap(), Arc::clone(&attributes));
    Arc::new(prefixes.iter().map(entry).collect::<BTreeMap<_, _>>())
}
