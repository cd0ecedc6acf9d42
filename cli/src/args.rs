// SPDX-License-Identifier: Apache-2.0
//! The flags of `ferrolb`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand};
use daemon::log::Threshold;
use speaker::net::Fencing;
use speaker::net::args::MEMBERLIST_PORT;

/// Load-balancer addresses for Kubernetes on bare metal, and for hosts without Kubernetes.
#[derive(Clone, Debug, Parser)]
#[command(name = "ferrolb", version, about)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Give and announce addresses as a folder of Kubernetes manifests says, and follow its changes.
    Run(RunArgs),
    /// Check manifests (every mistake with file, line, object and field, and hints at what cannot work), or with --cluster a live
    /// cluster: what would keep addresses from working there. Exit code 1 if there is a mistake or a hint.
    Check(CheckArgs),
    /// Show what would be given and announced, where and why. Exit code 1 if the manifests have a mistake.
    Plan(PlanArgs),
    /// Say why an object is as it is.
    Explain(ExplainArgs),
    /// Show pools, Services and who announces them, sessions and errors of the cluster of the kubeconfig.
    Status(StatusArgs),
    /// Print what antctl prints: serviceexternalip lists the Services of type LoadBalancer with pool, address and node.
    Get(GetArgs),
    /// Write a support bundle about the cluster of the kubeconfig: objects, events and logs, without secrets.
    Collect(CollectArgs),
    /// Print a completion script for a shell.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Convert configuration of an older MetalLB, of kube-vip, Cilium or PureLB into the objects of today.
    Import(ImportArgs),
    /// Asks for an address to be announced from another node, in the cluster of the kubeconfig.
    Move(MoveArgs),
    /// Asks for a node to be emptied of what is announced from it, in the cluster of the kubeconfig.
    Drain(DrainArgs),
    /// Take the addresses out of all Services that have one of a pool, in the cluster of the kubeconfig, after the controller was
    /// removed. Without it they keep them.
    Clear(ClearArgs),
}

/// How a folder is seen.
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct View {
    /// The own node's name; this host's name by default.
    #[arg(long)]
    pub node: Option<String>,
    /// Whose defaults BGP takes: native, frr or frr-k8s.
    #[arg(long, env = "METALLB_BGP_TYPE")]
    pub bgp_type: Option<String>,
    /// Where addresses and status are kept, outside the folder.
    #[arg(long, value_name = "DIR")]
    pub folder_state: Option<PathBuf>,
    /// Serve only Services with this loadBalancerClass.
    #[arg(long)]
    pub lb_class: Option<String>,
    /// A Service without EndpointSlices in the folder counts as not served, instead of as served here.
    #[arg(long)]
    pub require_endpoints: bool,
    /// Announce from nodes with the label node.kubernetes.io/exclude-from-external-load-balancers as well.
    #[arg(long)]
    pub ignore_exclude_lb: bool,
}

/// Flags of `ferrolb run`.
#[derive(Clone, Debug, ClapArgs)]
pub struct RunArgs {
    /// The folder of manifests.
    pub folder: PathBuf,
    /// How the folder is seen.
    #[command(flatten)]
    pub view: View,
    /// The other hosts that serve a copy of the folder.
    #[command(flatten)]
    pub ring: RingArgs,
    /// Make this host accept the traffic: a local route per owned address. Needs NET_ADMIN.
    #[arg(long)]
    pub accept: bool,
    /// Add a route for each advertised aggregate that discards what no Service owns. Needs NET_ADMIN.
    #[arg(long)]
    pub discard_aggregates: bool,
    /// Announce every owned address again once in this time, such as 60s; 0s turns it off.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    pub announce_interval: Duration,
    /// How long a node that is being drained still announces its BGP routes, marked with GRACEFUL_SHUTDOWN (RFC 8326).
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub drain_time: Duration,
    /// File of interfaces to leave alone, as MetalLB has it.
    #[arg(long, default_value = speaker::net::EXCLUSION_FILE)]
    pub exclude_interfaces: PathBuf,
    /// Port of the metrics endpoint; 0 turns it off.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// all, debug, info, warn, error or none.
    #[arg(long, default_value = "warn")]
    pub log_level: Threshold,
}

/// Flags of `ferrolb run` about other hosts.
#[derive(Clone, Debug, ClapArgs)]
pub struct RingArgs {
    /// Another host that serves a copy of the folder, as ADDR or ADDR:PORT; may be given for each. Of all hosts one announces an
    /// address.
    #[arg(long, value_name = "ADDR")]
    pub join: Vec<String>,
    /// The own address in the ring; without it, and with 0.0.0.0 or ::, which listen on every address, the one that is used towards the
    /// others.
    #[arg(long, requires = "join", value_parser = crds::address::flag)]
    pub ml_bindaddr: Option<IpAddr>,
    /// The own port in the ring, over UDP and TCP.
    #[arg(long, default_value_t = MEMBERLIST_PORT)]
    pub ml_bindport: u16,
    /// Folder with the file `secretkey` (16 octets or more), the same on all hosts.
    #[arg(long, requires = "join")]
    pub ml_secret_key_path: Option<PathBuf>,
    /// What makes this host fall silent: majority (being with fewer than half of the hosts, or having stood still), stall (only
    /// the latter), off.
    #[arg(long, default_value = "majority")]
    pub fencing: Fencing,
    /// Of two hosts that lost one another only that with the smaller name goes on; without it both do.
    #[arg(long)]
    pub fence_two: bool,
    /// Owners of L2 addresses stay: a host that comes back takes nothing back. Only while every host has this flag.
    #[arg(long, requires = "join")]
    pub sticky: bool,
    /// Spread L2 addresses: no host owns more than 1.25 times the mean, rounded up. Only while every host has this flag.
    #[arg(long, requires = "join")]
    pub spread: bool,
}

/// Flags of `ferrolb check`.
#[derive(Clone, Debug, ClapArgs)]
pub struct CheckArgs {
    /// Files, or folders with .yaml, .yml and .json files.
    #[arg(required_unless_present = "cluster")]
    pub paths: Vec<PathBuf>,
    /// Look at the cluster of the kubeconfig instead.
    #[arg(long, conflicts_with = "paths")]
    pub cluster: bool,
    /// Namespace in which the programs read their configuration.
    #[arg(long, env = "METALLB_NAMESPACE", default_value = "metallb-system")]
    pub namespace: String,
    /// Whether hints alone make the exit code 1.
    #[arg(long, value_enum, default_value_t = Hints::Fail)]
    pub hints: Hints,
    /// text, json, or github for annotations in a workflow.
    #[arg(short, long, value_enum, default_value_t = Style::Text)]
    pub output: Style,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// For people: a line each.
    #[default]
    Text,
    /// For programs: one object with the lists `mistakes`, `hints` and `notes`.
    Json,
    /// For a workflow of GitHub: each stands beside its line in the review.
    Github,
}

/// The effect of hints on the exit code of `ferrolb check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Hints {
    /// It is 1 if there are any.
    Fail,
    /// They are told, and it is 0.
    Ok,
}

/// How a plan is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Flags of `ferrolb plan`.
#[derive(Clone, Debug, ClapArgs)]
pub struct PlanArgs {
    /// The folder of manifests.
    pub folder: PathBuf,
    /// How the folder is seen.
    #[command(flatten)]
    pub view: View,
    /// Show only what would change against this other folder.
    #[arg(long, value_name = "OTHER_DIR")]
    pub against: Option<PathBuf>,
    /// table or json.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Flags of `ferrolb explain`.
#[derive(Clone, Debug, ClapArgs)]
pub struct ExplainArgs {
    /// What to explain.
    #[command(subcommand)]
    pub subject: Subject,
}

/// What can be explained.
#[derive(Clone, Debug, Subcommand)]
pub enum Subject {
    /// Why a Service has or lacks its address, and who announces it or why nobody does.
    Service(ExplainServiceArgs),
}

/// Flags of `ferrolb explain service`.
#[derive(Clone, Debug, ClapArgs)]
pub struct ExplainServiceArgs {
    /// NAMESPACE/NAME, or a NAME in `default`.
    pub service: String,
    /// A folder of manifests; without it, the cluster of the kubeconfig.
    #[arg(short, long)]
    pub folder: Option<PathBuf>,
    /// Namespace of the configuration objects in the cluster.
    #[arg(long, env = "METALLB_NAMESPACE", default_value = "metallb-system")]
    pub namespace: String,
    /// How a folder is seen.
    #[command(flatten)]
    pub view: View,
}

/// Flags of `ferrolb move`.
#[derive(Clone, Debug, ClapArgs)]
#[command(group(clap::ArgGroup::new("where").required(true).args(["to", "back"])))]
pub struct MoveArgs {
    /// The address; a Service that shares it moves along.
    #[arg(value_parser = crds::address::flag)]
    pub address: IpAddr,
    /// The node that is to announce it, while it can.
    #[arg(long, value_name = "NODE")]
    pub to: Option<String>,
    /// Only for this time, such as 2h.
    #[arg(long = "for", value_name = "TIME", requires = "to", value_parser = humantime::parse_duration)]
    pub time: Option<Duration>,
    /// Take an earlier wish back.
    #[arg(long)]
    pub back: bool,
}

/// Flags of `ferrolb drain`.
#[derive(Clone, Debug, ClapArgs)]
pub struct DrainArgs {
    /// The node.
    pub node: String,
    /// Let it announce again.
    #[arg(long)]
    pub undo: bool,
}

/// Flags of `ferrolb clear`.
#[derive(Clone, Debug, ClapArgs)]
pub struct ClearArgs {
    /// Only print the Services that would be cleared.
    #[arg(long)]
    pub dry_run: bool,
    /// Namespace in which the programs ran.
    #[arg(long, env = "METALLB_NAMESPACE", default_value = "metallb-system")]
    pub namespace: String,
}

/// Flags of `ferrolb import`.
#[derive(Clone, Debug, ClapArgs)]
pub struct ImportArgs {
    /// What is converted.
    #[command(subcommand)]
    pub source: Import,
}

/// What can be converted.
#[derive(Clone, Debug, Subcommand)]
pub enum Import {
    /// The ConfigMap that MetalLB 0.12 and before was configured by.
    Configmap(ImportSource),
    /// AddressPool objects of MetalLB 0.13.
    Addresspool(ImportSource),
    /// The ConfigMap of kube-vip's cloud provider, and the annotations of Services.
    KubeVip(ImportObjects),
    /// Cilium's pools, L2 policies and BGP kinds, and the annotations of Services.
    Cilium(ImportObjects),
    /// PureLB's ServiceGroups, and the annotations of Services.
    Purelb(ImportObjects),
}

/// Where objects of another load balancer are.
#[derive(Clone, Debug, ClapArgs)]
pub struct ImportObjects {
    /// The manifests, as `kubectl get -o yaml` prints them; with the Services, what has to change in their annotations is told.
    pub file: PathBuf,
    /// The namespace of the new objects; metallb-system by default.
    #[arg(long)]
    pub namespace: Option<String>,
}

/// Where it is.
#[derive(Clone, Debug, ClapArgs)]
pub struct ImportSource {
    /// The manifest.
    pub file: PathBuf,
    /// The file is only what the ConfigMap's key `config` holds.
    #[arg(long)]
    pub only_data: bool,
    /// The namespace of the new objects; that of the source by default.
    #[arg(long)]
    pub namespace: Option<String>,
}

/// Flags of `ferrolb status`.
#[derive(Clone, Debug, ClapArgs)]
pub struct StatusArgs {
    /// Namespace of the configuration objects in the cluster.
    #[arg(long, env = "METALLB_NAMESPACE", default_value = "metallb-system")]
    pub namespace: String,
    /// table or json.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Show it again every two seconds.
    #[arg(short, long)]
    pub watch: bool,
}

/// Flags of `ferrolb collect`.
#[derive(Clone, Debug, ClapArgs)]
pub struct CollectArgs {
    /// Namespace of the configuration objects in the cluster.
    #[arg(long, env = "METALLB_NAMESPACE", default_value = "metallb-system")]
    pub namespace: String,
    /// Where the bundle is written; `ferrolb-report-TIME.tar` here by default.
    #[arg(short, long)]
    pub file: Option<PathBuf>,
}

/// Flags of `ferrolb get`.
#[derive(Clone, Debug, ClapArgs)]
pub struct GetArgs {
    /// What to list.
    #[arg(value_enum)]
    pub what: GetKind,
    /// Only the Service of this name; needs -n.
    pub name: Option<String>,
    /// Only Services of this namespace.
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// The namespace in which ferrolb runs.
    #[arg(long, default_value = "metallb-system")]
    pub system_namespace: String,
    /// table, json or yaml.
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: GetOutput,
}

/// What `ferrolb get` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum GetKind {
    /// Services of type LoadBalancer.
    #[value(name = "serviceexternalip", aliases = ["serviceexternalips", "seip"])]
    ServiceExternalIp,
}

/// How `ferrolb get` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum GetOutput {
    /// For people.
    Table,
    /// A list of objects.
    Json,
    /// The same as YAML.
    Yaml,
}
