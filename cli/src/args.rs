// SPDX-License-Identifier: Apache-2.0
//! The flags of `ferrolb`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand};
use daemon::log::Threshold;
use speaker::Fencing;
use speaker::net::args::MEMBERLIST_PORT;

/// Load-balancer addresses for Kubernetes on bare metal, and for hosts without Kubernetes.
#[derive(Clone, Debug, Parser)]
#[command(name = "ferrolb", version, about)]
pub struct Args {
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The command to run.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Give and announce addresses from a folder of Kubernetes manifests, and follow the folder's changes.
    Run(RunArgs),
    /// Check manifests: print every mistake with file, line, object and field, and hints at settings that cannot
    /// work. With --cluster check a live cluster: print what would keep addresses from working there. Exit code 1 if
    /// there is a mistake or a hint.
    Check(CheckArgs),
    /// Show which addresses a folder of manifests would give, and which nodes would announce them and why. Exit code
    /// 1 if the manifests have a mistake.
    Plan(PlanArgs),
    /// Explain the state of an object.
    Explain(ExplainArgs),
    /// Show the pools, the Services with their announcers, the sessions and the errors in the kubeconfig's cluster.
    Status(StatusArgs),
    /// Print a list as antctl prints it: serviceexternalip lists the Services of type LoadBalancer with pool, address
    /// and node.
    Get(GetArgs),
    /// Write a support bundle about the kubeconfig's cluster: objects, events and logs, without secrets.
    Collect(CollectArgs),
    /// Print a completion script for a shell.
    Completion {
        /// The shell that is to read the script.
        shell: clap_complete::Shell,
    },
    /// Convert the configuration of an older MetalLB, of kube-vip, Cilium or PureLB into today's objects.
    Import(ImportArgs),
    /// Ask that another node announce an address, in the kubeconfig's cluster.
    Move(MoveArgs),
    /// Ask that a node give away all that it announces, in the kubeconfig's cluster.
    Drain(DrainArgs),
    /// Take the addresses of pools out of all Services, in the kubeconfig's cluster, after the controller was
    /// removed. Without this command the Services keep their addresses.
    Clear(ClearArgs),
}

/// The options for reading a folder of manifests.
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct View {
    /// Name of the node that this host stands for; default: this host's name.
    #[arg(long)]
    pub node: Option<String>,
    /// Mode of MetalLB whose BGP defaults are used: native, frr or frr-k8s; default: native.
    #[arg(long, env = "METALLB_BGP_TYPE")]
    pub bgp_type: Option<String>,
    /// Folder in which addresses and status are kept, outside the manifests; default: /var/lib/ferrolb/NAME for root,
    /// else ~/.local/state/ferrolb/NAME.
    #[arg(long, value_name = "DIR")]
    pub folder_state: Option<PathBuf>,
    /// Serve only Services with this loadBalancerClass; without it only Services without a class.
    #[arg(long)]
    pub lb_class: Option<String>,
    /// Take a Service without EndpointSlices in the folder as not served; without this flag it counts as served on
    /// this node.
    #[arg(long)]
    pub require_endpoints: bool,
    /// Announce also from nodes with the label node.kubernetes.io/exclude-from-external-load-balancers; without this
    /// flag those announce nothing.
    #[arg(long)]
    pub ignore_exclude_lb: bool,
}

/// Flags of `ferrolb run`.
#[derive(Clone, Debug, ClapArgs)]
pub struct RunArgs {
    /// The folder of manifests (.yaml, .yml and .json files).
    pub folder: PathBuf,
    /// The options for reading the folder.
    #[command(flatten)]
    pub view: View,
    /// The options for other hosts that serve a copy of the folder.
    #[command(flatten)]
    pub ring: RingArgs,
    /// Make this host accept the traffic, by a local route for each owned address; needs the capability NET_ADMIN.
    #[arg(long)]
    pub accept: bool,
    /// Add a route for each advertised aggregate that discards packets to addresses of no Service; needs the
    /// capability NET_ADMIN.
    #[arg(long)]
    pub discard_aggregates: bool,
    /// Time between two announcements of each owned address, such as 60s; 0s turns the repetition off.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    pub announce_interval: Duration,
    /// Time for which a drained node still announces its BGP routes, such as 5s, marked with GRACEFUL_SHUTDOWN (RFC
    /// 8326).
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub drain_time: Duration,
    /// File that names the interfaces on which L2 announces nothing, in MetalLB's format.
    #[arg(long, default_value = speaker::net::EXCLUSION_FILE)]
    pub exclude_interfaces: PathBuf,
    /// TCP port of the metrics endpoint; 0 turns the endpoint off.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Lowest level that is logged: all, debug, info, warn, error or none.
    #[arg(long, default_value = "warn")]
    pub log_level: Threshold,
}

/// Flags of `ferrolb run` for several hosts.
#[derive(Clone, Debug, ClapArgs)]
pub struct RingArgs {
    /// Another host that serves a copy of the folder, as ADDR or ADDR:PORT; repeat the flag for each host. One of all
    /// hosts announces an address.
    #[arg(long, value_name = "ADDR")]
    pub join: Vec<String>,
    /// IP address of this host in the ring; default, and with 0.0.0.0 or ::, which listen on every address: the
    /// address that this host uses towards the others.
    #[arg(long, requires = "join", value_parser = crds::address::flag)]
    pub ml_bindaddr: Option<IpAddr>,
    /// Port of this host in the ring, over UDP and TCP.
    #[arg(long, default_value_t = MEMBERLIST_PORT)]
    pub ml_bindport: u16,
    /// Folder with the file `secretkey` (16 octets or more), the same on all hosts; without it the ring is not
    /// encrypted.
    #[arg(long, requires = "join")]
    pub ml_secret_key_path: Option<PathBuf>,
    /// Rule that makes this host silent: link (it sees fewer than half of the hosts and another station of its links
    /// answers for the address, or it stood still), majority (it sees fewer than half of the hosts, or it stood
    /// still), stall (it stood still), off (no rule).
    #[arg(long, default_value = "link")]
    pub fencing: Fencing,
    /// Of two hosts that lost one another, only the one with the smaller name goes on; without this flag both go on.
    #[arg(long)]
    pub fence_two: bool,
    /// Keep the owner of each L2 address, so that a host that comes back takes nothing back; holds only while every
    /// host has this flag.
    #[arg(long, requires = "join")]
    pub sticky: bool,
    /// Spread L2 addresses, so that no host owns more than 1.25 times the mean, rounded up; holds only while every
    /// host has this flag.
    #[arg(long, requires = "join")]
    pub spread: bool,
}

/// Flags of `ferrolb check`.
#[derive(Clone, Debug, ClapArgs)]
pub struct CheckArgs {
    /// The files to check, or folders with .yaml, .yml and .json files.
    #[arg(required_unless_present = "cluster")]
    pub paths: Vec<PathBuf>,
    /// Check the kubeconfig's cluster instead of files.
    #[arg(long, conflicts_with = "paths")]
    pub cluster: bool,
    /// Namespace from which the controller and the speaker read their configuration.
    #[arg(long, env = "METALLB_NAMESPACE", default_value = "metallb-system")]
    pub namespace: String,
    /// Effect of hints without a mistake on the exit code: fail makes it 1, ok makes it 0.
    #[arg(long, value_enum, default_value_t = Hints::Fail)]
    pub hints: Hints,
    /// Form of the report: text, json, or github for annotations in a workflow.
    #[arg(short, long, value_enum, default_value_t = Style::Text)]
    pub output: Style,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// For people: one line for each finding.
    #[default]
    Text,
    /// For programs: one object with the lists `mistakes`, `hints` and `notes`.
    Json,
    /// For a workflow of GitHub: the review shows each finding beside its line.
    Github,
}

/// The effect of hints on the exit code of `ferrolb check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Hints {
    /// Hints make the exit code 1.
    Fail,
    /// Hints are printed, and the exit code is 0.
    Ok,
}

/// The form of a plan or a status.
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
    /// The folder of manifests (.yaml, .yml and .json files).
    pub folder: PathBuf,
    /// The options for reading the folder.
    #[command(flatten)]
    pub view: View,
    /// Show only the changes from this other folder to FOLDER.
    #[arg(long, value_name = "OTHER_DIR")]
    pub against: Option<PathBuf>,
    /// Form of the output: table for people, json for programs.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Flags of `ferrolb explain`.
#[derive(Clone, Debug, ClapArgs)]
pub struct ExplainArgs {
    /// The object to explain.
    #[command(subcommand)]
    pub subject: Subject,
}

/// The kinds of object that can be explained.
#[derive(Clone, Debug, Subcommand)]
pub enum Subject {
    /// Explain why a Service has or lacks its address, and which node announces it or why none does.
    Service(ExplainServiceArgs),
}

/// Flags of `ferrolb explain service`.
#[derive(Clone, Debug, ClapArgs)]
pub struct ExplainServiceArgs {
    /// The Service as NAMESPACE/NAME; NAME alone is looked for in `default`.
    pub service: String,
    /// A folder of manifests to look in; without it the kubeconfig's cluster.
    #[arg(short, long)]
    pub folder: Option<PathBuf>,
    /// Namespace of the configuration objects in the cluster.
    #[arg(long, env = "METALLB_NAMESPACE", default_value = "metallb-system")]
    pub namespace: String,
    /// The options for reading the folder.
    #[command(flatten)]
    pub view: View,
}

/// Flags of `ferrolb move`.
#[derive(Clone, Debug, ClapArgs)]
#[command(group(clap::ArgGroup::new("where").required(true).args(["to", "back"])))]
pub struct MoveArgs {
    /// The address to move; every Service that shares it moves along.
    #[arg(value_parser = crds::address::flag)]
    pub address: IpAddr,
    /// The node that is to announce the address for as long as it can.
    #[arg(long, value_name = "NODE")]
    pub to: Option<String>,
    /// Time after which the address goes back to its own election, such as 2h; without it the wish holds until
    /// --back.
    #[arg(long = "for", value_name = "TIME", requires = "to", value_parser = humantime::parse_duration)]
    pub time: Option<Duration>,
    /// Take back an earlier --to.
    #[arg(long)]
    pub back: bool,
}

/// Flags of `ferrolb drain`.
#[derive(Clone, Debug, ClapArgs)]
pub struct DrainArgs {
    /// The name of the node.
    pub node: String,
    /// Take back an earlier drain, so that the node announces again.
    #[arg(long)]
    pub undo: bool,
}

/// Flags of `ferrolb clear`.
#[derive(Clone, Debug, ClapArgs)]
pub struct ClearArgs {
    /// Print the Services that would be cleared, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Namespace in which the controller and the speaker ran.
    #[arg(long, env = "METALLB_NAMESPACE", default_value = "metallb-system")]
    pub namespace: String,
}

/// Flags of `ferrolb import`.
#[derive(Clone, Debug, ClapArgs)]
pub struct ImportArgs {
    /// The configuration to convert.
    #[command(subcommand)]
    pub source: Import,
}

/// The kinds of configuration that can be converted.
#[derive(Clone, Debug, Subcommand)]
pub enum Import {
    /// The ConfigMap of MetalLB 0.12 and before.
    Configmap(ImportSource),
    /// The AddressPool objects of MetalLB 0.13.
    Addresspool(ImportSource),
    /// The ConfigMap of kube-vip's cloud provider, and the annotations of Services.
    KubeVip(ImportObjects),
    /// Cilium's pools, L2 policies and BGP kinds, and the annotations of Services.
    Cilium(ImportObjects),
    /// PureLB's ServiceGroups, and the annotations of Services.
    Purelb(ImportObjects),
}

/// Flags for objects of another load balancer.
#[derive(Clone, Debug, ClapArgs)]
pub struct ImportObjects {
    /// The manifests, as `kubectl get -o yaml` prints them; if Services are among them, the command prints what must
    /// change in their annotations.
    pub file: PathBuf,
    /// Namespace of the new objects; default: metallb-system.
    #[arg(long)]
    pub namespace: Option<String>,
}

/// Flags for a ConfigMap or AddressPools of MetalLB.
#[derive(Clone, Debug, ClapArgs)]
pub struct ImportSource {
    /// The file with the manifest.
    pub file: PathBuf,
    /// The file holds only the text of the ConfigMap's key `config`, not the ConfigMap.
    #[arg(long)]
    pub only_data: bool,
    /// Namespace of the new objects; default: the namespace of the source.
    #[arg(long)]
    pub namespace: Option<String>,
}

/// Flags of `ferrolb status`.
#[derive(Clone, Debug, ClapArgs)]
pub struct StatusArgs {
    /// Namespace of the configuration objects in the cluster.
    #[arg(long, env = "METALLB_NAMESPACE", default_value = "metallb-system")]
    pub namespace: String,
    /// Form of the output: table for people, json for programs.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Show the status again every two seconds, until the command is stopped.
    #[arg(short, long)]
    pub watch: bool,
}

/// Flags of `ferrolb collect`.
#[derive(Clone, Debug, ClapArgs)]
pub struct CollectArgs {
    /// Namespace of the configuration objects in the cluster.
    #[arg(long, env = "METALLB_NAMESPACE", default_value = "metallb-system")]
    pub namespace: String,
    /// File to which the bundle is written; default: `ferrolb-report-TIME.tar` in the current folder.
    #[arg(short, long)]
    pub file: Option<PathBuf>,
}

/// Flags of `ferrolb get`.
#[derive(Clone, Debug, ClapArgs)]
pub struct GetArgs {
    /// The kind of objects to list.
    #[arg(value_enum)]
    pub what: GetKind,
    /// List only the Service of this name; needs -n.
    pub name: Option<String>,
    /// List only the Services of this namespace; without it those of all namespaces.
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Namespace in which ferrolb runs.
    #[arg(long, default_value = "metallb-system")]
    pub system_namespace: String,
    /// Form of the output: table for people, json or yaml for programs.
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: GetOutput,
}

/// The kinds of object that `ferrolb get` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum GetKind {
    /// Services of type LoadBalancer.
    #[value(name = "serviceexternalip", aliases = ["serviceexternalips", "seip"])]
    ServiceExternalIp,
}

/// The form of the output of `ferrolb get`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum GetOutput {
    /// For people.
    Table,
    /// For programs: a list of objects, as JSON.
    Json,
    /// For programs: the same list, as YAML.
    Yaml,
}
