// SPDX-License-Identifier: Apache-2.0
//! The commands of `ferrolb`; the flags of each are in the module for what it works on.

mod check;
mod cluster;
mod folder;
mod import;

use clap::{Parser, Subcommand};

pub use check::{CheckArgs, Hints, Style};
pub use cluster::{
    ClearArgs, CollectArgs, DrainArgs, ExplainArgs, ExplainServiceArgs, GetArgs, GetKind,
    GetOutput, MoveArgs, StatusArgs, Subject,
};
pub use folder::{FolderOptions, PlanArgs, RingArgs, RunArgs};
pub use import::{Import, ImportArgs, ImportObjects, ImportSource};

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
    /// Ask that a node give away all that it announces, in the kubeconfig's cluster. With --wait until no connection is
    /// left there.
    Drain(DrainArgs),
    /// Take the addresses of pools out of all Services, in the kubeconfig's cluster, after the controller was
    /// removed. Without this command the Services keep their addresses. With --node take away what a speaker left in
    /// this machine's kernel.
    Clear(ClearArgs),
}

/// The form of a plan or a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}
