// SPDX-License-Identifier: Apache-2.0
//! A node of the rack: a namespace on the switch with kube-proxy, a speaker and pods behind it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::control_plane::{Families, Identity, kubeconfig};
use super::kube::{Kube, SYSTEM};
use super::netns::Namespace;
use super::process::{Process, Rights, Start};
use super::topology::{Programs, Switch};

const START: Duration = Duration::from_secs(20);

/// How kube-proxy carries traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// With nftables.
    Nftables,
    /// With iptables.
    Iptables,
    /// Not at all.
    Absent,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    /// node1, node2, ...
    pub name: String,
    /// Its number.
    pub number: usize,
    /// Where it lives.
    pub namespace: Namespace,
    /// Its speaker, while it runs.
    pub speaker: Option<Process>,
    /// Its kube-proxy, if it has one.
    pub proxy: Option<Process>,
    pods: Vec<Pod>,
    /// The speaker's pod has it: the memberlist listens there.
    pod_address: String,
    programs: Programs,
}

#[derive(Debug)]
struct Pod {
    // Before its namespace, so that it ends first.
    _server: Process,
    _namespace: Namespace,
}

/// A pod's addresses.
#[derive(Clone, Debug)]
pub struct PodAddresses {
    /// On which node.
    pub node: String,
    /// 10.244.n.k
    pub v4: String,
    /// fd00:244:n::k
    pub v6: String,
}

impl Node {
    /// Makes the namespace, its links and routes to all other possible nodes' pods.
    ///
    /// # Errors
    /// When something cannot be made.
    pub fn new(
        switch: &Switch,
        programs: &Programs,
        number: usize,
        families: Families,
    ) -> anyhow::Result<Self> {
        let name = format!("node{number}");
        let namespace = switch.attach(&name, "eth0", &format!("02:fb:00:00:00:{number:02x}"))?;
        let mut lines = vec![
            format!("address add fd30::{}/64 dev eth0", 10 + number),
            "link add cni0 type bridge".to_owned(),
            "link set cni0 up".to_owned(),
            format!("address add fd00:244:{number}::1/64 dev cni0"),
        ];
        if families == Families::Dual {
            lines.push(format!("address add 172.30.0.{}/24 dev eth0", 10 + number));
            lines.push(format!("address add 10.244.{number}.1/24 dev cni0"));
        }
        for other in (1..=5).filter(|other| *other != number) {
            lines.push(format!("route add fd00:244:{other}::/64 via fd30::{}", 10 + other));
            if families == Families::Dual {
                lines.push(format!("route add 10.244.{other}.0/24 via 172.30.0.{}", 10 + other));
            }
        }
        namespace.ip(&lines.join("\n"))?;
        namespace.sysctl(&[
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
            ("net/ipv4/conf/eth0/rp_filter", "0"),
            ("net/ipv4/conf/cni0/rp_filter", "0"),
        ])?;
        let programs = programs.clone();
        Ok(Self {
            name,
            number,
            namespace,
            speaker: None,
            proxy: None,
            pods: Vec::new(),
            pod_address: String::new(),
            programs,
        })
    }

    /// Its Node object and its status.
    ///
    /// # Errors
    /// When the API refuses.
    pub fn register(&mut self, kube: &Kube, families: Families) -> anyhow::Result<()> {
        kube.create(&json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": {"kubernetes.io/hostname": self.name}},
        }))?;
        let v6 = json!({"type": "InternalIP", "address": format!("fd30::{}", 10 + self.number)});
        let v4 = json!({"type": "InternalIP", "address": self.v4()});
        let addresses = match families {
            Families::Dual => vec![v4, v6],
            Families::Ipv6 => vec![v6],
        };
        let status = json!({"status": {
            "addresses": addresses,
            "conditions": [{"type": "Ready", "status": "True"}],
        }});
        kube.patch(&format!("/api/v1/nodes/{}/status", self.name), &status)?;
        // The speaker's pod: owner of its status objects.
        kube.create(&json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": format!("speaker-{}", self.name),
                "namespace": SYSTEM,
                "labels": {"app": "metallb", "component": "speaker"},
            },
            "spec": {
                "nodeName": self.name,
                "hostNetwork": true,
                "containers": [{"name": "speaker", "image": "speaker"}],
            },
        }))?;
        let pod = match families {
            Families::Dual => self.v4(),
            Families::Ipv6 => format!("fd30::{}", 10 + self.number),
        };
        kube.patch(
            &format!("/api/v1/namespaces/{SYSTEM}/pods/speaker-{}/status", self.name),
            &json!({"status": {"podIP": pod, "podIPs": [{"ip": pod}], "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}]}}),
        )?;
        self.pod_address = pod;
        Ok(())
    }

    /// The API says that the node, and its speaker's pod, has another IPv4 address; a speaker that is started from now on listens there.
    ///
    /// # Errors
    /// When the API refuses.
    pub fn readdress(&mut self, kube: &Kube, address: &str) -> anyhow::Result<()> {
        let v6 = json!({"type": "InternalIP", "address": format!("fd30::{}", 10 + self.number)});
        let status = json!({"status": {
            "addresses": [{"type": "InternalIP", "address": address}, v6],
        }});
        kube.patch(&format!("/api/v1/nodes/{}/status", self.name), &status)?;
        kube.patch(
            &format!("/api/v1/namespaces/{SYSTEM}/pods/speaker-{}/status", self.name),
            &json!({"status": {"podIP": address, "podIPs": [{"ip": address}]}}),
        )?;
        self.pod_address = address.to_owned();
        Ok(())
    }

    /// Starts kube-proxy.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_proxy(&mut self, mode: Proxy, families: Families) -> anyhow::Result<()> {
        let mode = match mode {
            Proxy::Nftables => "nftables",
            Proxy::Iptables => "iptables",
            Proxy::Absent => return Ok(()),
        };
        let folder = &self.programs.folder;
        let bind = match families {
            Families::Dual => "0.0.0.0",
            Families::Ipv6 => "::",
        };
        let config = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": mode,
            "hostnameOverride": self.name,
            "bindAddress": bind,
            "clusterCIDR": match families {
                Families::Dual => "10.244.0.0/16,fd00:244::/32",
                Families::Ipv6 => "fd00:244::/32",
            },
            "clientConnection": {"kubeconfig": kubeconfig(folder, Identity::Proxy)},
            "conntrack": {
                "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
            },
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
        });
        let path = folder.join(format!("kube-proxy-{}.json", self.name));
        std::fs::write(&path, config.to_string())?;
        self.proxy = Some(Process::start(
            folder,
            Start {
                name: format!("kube-proxy-{}", self.name),
                namespace: &self.namespace,
                program: &self.programs.cluster,
                arguments: vec!["kube-proxy".into(), format!("--config={}", path.display())],
                environment: Vec::new(),
                rights: Rights::All,
            },
        )?);
        Ok(())
    }

    /// Starts the speaker as the DaemonSet does, without waiting for it. With the flag `--keep-connections`, written without a value, it gets the
    /// capability that this needs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_speaker(&mut self, extra: &[&str]) -> anyhow::Result<()> {
        let folder: &PathBuf = &self.programs.folder;
        let secret = self.memberlist_secret()?;
        let keeps = extra.contains(&"--keep-connections");
        let mut arguments = ["--port=9120", "--log-level=debug", "--metrics-plain-http"]
            .map(str::to_owned)
            .to_vec();
        arguments.extend(extra.iter().map(|argument| (*argument).to_owned()));
        self.speaker = Some(Process::start(
            folder,
            Start {
                name: format!("speaker-{}", self.name),
                namespace: &self.namespace,
                program: &self.programs.speaker,
                arguments,
                environment: vec![
                    ("METALLB_NODE_NAME", self.name.clone()),
                    ("METALLB_POD_NAME", format!("speaker-{}", self.name)),
                    ("METALLB_HOST", self.pod_address.clone()),
                    ("METALLB_NAMESPACE", SYSTEM.to_owned()),
                    ("METALLB_ML_BIND_ADDR", self.pod_address.clone()),
                    ("METALLB_ML_LABELS", "app=metallb,component=speaker".to_owned()),
                    ("METALLB_ML_SECRET_KEY_PATH", secret.display().to_string()),
                    ("KUBECONFIG", kubeconfig(folder, Identity::Speaker).display().to_string()),
                ],
                rights: if keeps { Rights::NetAdmin } else { Rights::NetRaw },
            },
        )?);
        Ok(())
    }

    /// The folder in which this node's speaker may keep its state; made at the first call.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn state_folder(&self) -> anyhow::Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let folder = self.programs.folder.join(format!("state-{}", self.name));
        std::fs::create_dir_all(&folder)?;
        // The speaker has no right but one, whoever it runs as.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777))?;
        Ok(folder)
    }

    /// Starts a member by HashiCorp's memberlist that plays MetalLB's speaker for these addresses (`e2e/ring/speaker.go`), in the speaker's
    /// place and without waiting for it. All nodes are asked to let it join.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_metallb(
        &mut self,
        program: &Path,
        addresses: &[&str],
        extra: &[&str],
    ) -> anyhow::Result<()> {
        let key = self.memberlist_secret()?.join("secretkey");
        let others = (1..=5).filter(|other| *other != self.number);
        let others: Vec<String> = others.map(|other| format!("172.30.0.{}", 10 + other)).collect();
        let mut arguments = vec![
            format!("-name={}", self.name),
            format!("-bind={}", self.pod_address),
            format!("-key-file={}", key.display()),
            format!("-join={}", others.join(",")),
            format!("-answer={}", addresses.join(",")),
        ];
        arguments.extend(extra.iter().map(|argument| (*argument).to_owned()));
        self.speaker = Some(Process::start(
            &self.programs.folder,
            Start {
                name: format!("metallb-{}", self.name),
                namespace: &self.namespace,
                program,
                arguments,
                environment: Vec::new(),
                rights: Rights::NetRaw,
            },
        )?);
        Ok(())
    }

    /// As the Secret that the controller makes is mounted.
    fn memberlist_secret(&self) -> anyhow::Result<PathBuf> {
        let secret = self.programs.folder.join("memberlist");
        // Once: a speaker that is starting may be reading it.
        if !secret.exists() {
            std::fs::create_dir_all(&secret)?;
            std::fs::write(secret.join("secretkey"), "bm90IGEgc2VjcmV0IGF0IGFsbA")?;
        }
        Ok(secret)
    }

    /// Waits until the speaker says that it is ready.
    ///
    /// # Errors
    /// When it ended or is not ready in time.
    pub fn wait_speaker(&mut self) -> anyhow::Result<()> {
        let namespace = &self.namespace;
        let speaker = self.speaker.as_mut().context("no speaker runs here")?;
        speaker.wait_ready(START, || Ok(is_ready(namespace)))
    }

    /// Starts a web server in a pod behind this node, port 8080, that answers with the node's name.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_pod(&mut self, switch: &Switch) -> anyhow::Result<PodAddresses> {
        let (node, number) = (self.number, 10 + self.pods.len());
        let name = format!("{}-pod{number}", self.name);
        let namespace = switch.namespace(&name)?;
        self.namespace.ip(&format!(
            "link add pod{number} type veth peer name eth0 netns {}\n\
             link set pod{number} master cni0 up",
            namespace.name()
        ))?;
        let addresses = PodAddresses {
            node: self.name.clone(),
            v4: format!("10.244.{node}.{number}"),
            v6: format!("fd00:244:{node}::{number}"),
        };
        namespace.ip(&format!(
            "link set eth0 up\n\
             address add {}/24 dev eth0\n\
             address add {}/64 dev eth0\n\
             route add default via 10.244.{node}.1\n\
             route add default via fd00:244:{node}::1",
            addresses.v4, addresses.v6
        ))?;
        let mut server = Process::start(
            &self.programs.folder,
            Start {
                name: name.clone(),
                namespace: &namespace,
                program: &self.programs.e2e,
                arguments: vec!["serve".into(), "[::]:8080".into(), self.name.clone()],
                environment: Vec::new(),
                rights: Rights::All,
            },
        )?;
        server.wait_ready(START, || Ok(fetch(&namespace, "http://[::1]:8080/").is_some()))?;
        self.pods.push(Pod { _server: server, _namespace: namespace });
        Ok(addresses)
    }

    /// The text of the speaker's metrics.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn metrics(&self) -> anyhow::Result<String> {
        fetch(&self.namespace, "http://127.0.0.1:9120/metrics").context("the speaker's metrics")
    }

    /// Its IPv4 address on the switch.
    #[must_use]
    pub fn v4(&self) -> String {
        format!("172.30.0.{}", 10 + self.number)
    }

    /// The hardware address of its eth0.
    ///
    /// # Errors
    /// When the link is gone.
    pub fn mac(&self) -> anyhow::Result<String> {
        self.namespace.mac("eth0")
    }
}

/// Whether the program in this namespace says on its health port that it is ready.
pub fn is_ready(namespace: &Namespace) -> bool {
    fetch(namespace, "http://127.0.0.1:17472/readyz").is_some()
}

/// What a URL answers, if it answers 200 within two seconds.
#[must_use]
pub fn fetch(namespace: &Namespace, url: &str) -> Option<String> {
    let arguments = ["--silent", "--fail", "--max-time", "2", url];
    let output = namespace.output("curl", arguments).ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The endpoints of a Service as one EndpointSlice of one family.
#[must_use]
pub fn slice(service: &str, v6: bool, pods: &[PodAddresses]) -> Value {
    let endpoints: Vec<Value> = pods
        .iter()
        .map(|pod| {
            json!({
                "addresses": [if v6 { &pod.v6 } else { &pod.v4 }],
                "nodeName": pod.node,
                "conditions": {"ready": true, "serving": true, "terminating": false},
            })
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-{}", if v6 { "v6" } else { "v4" }),
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": if v6 { "IPv6" } else { "IPv4" },
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    })
}
