// SPDX-License-Identifier: Apache-2.0
//! The flags of the commands that work on a folder of manifests: `ferrolb run` and `ferrolb plan`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use daemon::log::Threshold;
use speaker::Fencing;
use speaker::net::args::{MEMBERLIST_PORT, linger};

use super::Output;

/// The options for reading a folder of manifests.
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct FolderOptions {
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
    pub view: FolderOptions,
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
    /// Keep open TCP connections of L2 addresses through planned moves, while this program runs: the new owner sends
    /// packets of connections that it does not know to the host that had the address before. Every host needs this
    /// flag, the capability NET_ADMIN and a kernel with nf_tables; with --accept also net.ipv4.conf.all.arp_ignore=1.
    #[arg(long, requires = "join")]
    pub keep_connections: bool,
    /// Time for which connections are led to a host that had the address, such as 10m, from 10s to 24h. With
    /// --keep-connections only.
    #[arg(long, default_value = "10m", value_parser = linger)]
    pub linger: Duration,
}

/// Flags of `ferrolb plan`.
#[derive(Clone, Debug, ClapArgs)]
pub struct PlanArgs {
    /// The folder of manifests (.yaml, .yml and .json files).
    pub folder: PathBuf,
    /// The options for reading the folder.
    #[command(flatten)]
    pub view: FolderOptions,
    /// Show only the changes from this other folder to FOLDER.
    #[arg(long, value_name = "OTHER_DIR")]
    pub against: Option<PathBuf>,
    /// Form of the output: table for people, json for programs.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}
