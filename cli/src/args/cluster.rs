// SPDX-License-Identifier: Apache-2.0
//! The flags of the commands about the kubeconfig's cluster: what they ask it, and what they change there.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};

use super::{FolderOptions, Output};

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
    pub view: FolderOptions,
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
    /// Wait until the node announces nothing by layer 2, and none of the connections that it keeps (--keep-connections
    /// of the speakers) is left.
    #[arg(long, conflicts_with = "undo")]
    pub wait: bool,
    /// Time after which the wait ends in failure and tells what is left, such as 10m; without it the wait has no end.
    #[arg(long, value_name = "TIME", requires = "wait", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    /// Namespace in which the speakers run.
    #[arg(long, env = "METALLB_NAMESPACE", default_value = "metallb-system")]
    pub namespace: String,
}

/// Flags of `ferrolb clear`.
#[derive(Clone, Debug, ClapArgs)]
pub struct ClearArgs {
    /// Print the Services that would be cleared, and change nothing.
    #[arg(long, conflicts_with = "node")]
    pub dry_run: bool,
    /// Clear this machine instead of the cluster: take away the nftables tables that a speaker with --keep-connections
    /// left here. Needs the capability NET_ADMIN.
    #[arg(long)]
    pub node: bool,
    /// Namespace in which the controller and the speaker ran.
    #[arg(long, env = "METALLB_NAMESPACE", default_value = "metallb-system")]
    pub namespace: String,
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
