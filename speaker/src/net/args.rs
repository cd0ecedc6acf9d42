// SPDX-License-Identifier: Apache-2.0
//! The speaker's flags and environment (contract 3.2).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{ArgAction, Parser};
use crds::address::parse_address;
use daemon::flags::{Common, go_bool, without_effect};
use members::Settings;
use members::quorum::Fencing;

use super::keys::{KeyError, Keys};

/// Announces the addresses of Services by ARP, NDP and BGP.
#[derive(Clone, Debug, Parser)]
#[command(name = "speaker", version, about, args_override_self = true)]
pub struct Args {
    /// The flags that the controller and the speaker share.
    #[command(flatten)]
    pub common: Common,
    /// Milliseconds, at least 1; without effect, as only MetalLB's FRR mode uses it.
    #[arg(long, env = "METALLB_BGP_DEBOUNCE_TIMEOUT", default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..))]
    pub bgp_debounce_timeout: u32,
    /// Without effect; a deprecated flag of MetalLB.
    #[arg(long, env = "METALLB_HOST")]
    pub host: Option<String>,
    /// IP address on which the memberlist listens; without it, or without --ml-labels, the memberlist is off.
    #[arg(long, env = "METALLB_ML_BIND_ADDR")]
    pub ml_bindaddr: Option<String>,
    /// Port of the memberlist, over UDP and TCP; default: 7946.
    #[arg(long, env = "METALLB_ML_BIND_PORT")]
    pub ml_bindport: Option<String>,
    /// Label selector that finds the speakers' pods; without it, or without --ml-bindaddr, the memberlist is off.
    #[arg(long, env = "METALLB_ML_LABELS")]
    pub ml_labels: Option<String>,
    /// Folder with the file secretkey, the memberlist's key; without it the memberlist is not encrypted.
    #[arg(long, env = "METALLB_ML_SECRET_KEY_PATH")]
    pub ml_secret_key_path: Option<PathBuf>,
    /// Use the memberlist's times for wide-area networks, which find a failure later; without this flag those for a
    /// local network.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = go_bool)]
    pub ml_wan_config: bool,
    /// Name of the node on which this speaker runs; required.
    #[arg(long, env = "METALLB_NODE_NAME")]
    pub node_name: Option<String>,
    /// Announce also from nodes with the label node.kubernetes.io/exclude-from-external-load-balancers; without this
    /// flag those announce nothing.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = go_bool)]
    pub ignore_exclude_lb: bool,
    /// Namespace for BGPSessionState objects in mode frr-k8s; default: the speaker's own. FRRConfiguration objects
    /// are not written.
    #[arg(long, env = "FRRK8S_NAMESPACE")]
    pub frrk8s_namespace: Option<String>,
    /// Without effect, as no Secret is passed on to frr-k8s.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = go_bool)]
    pub frrk8s_secret_passthrough: bool,
    /// Time between two announcements of each owned address, such as 60s; 0s turns the repetition off.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    pub announce_interval: Duration,
    /// Time for which a drained node still announces its BGP routes, such as 5s, marked with GRACEFUL_SHUTDOWN (RFC
    /// 8326).
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub drain_time: Duration,
    /// Drain a node while it is cordoned, as if it had the annotation ferrolb.io/drain.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = go_bool)]
    pub drain_on_cordon: bool,
    /// Rule that makes this speaker silent: link (it sees fewer than half of the speakers and another station of its links
    /// answers for the address, or it stood still), majority (it sees fewer than half of the speakers, or it stood
    /// still), stall (it stood still), off (no rule).
    #[arg(long, default_value = "link")]
    pub fencing: Fencing,
    /// Of two speakers that lost one another, only the one with the smaller node name goes on; without this flag both
    /// go on.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = go_bool)]
    pub fence_two: bool,
    /// Folder for a small file with the addresses that this node owns. A speaker that starts while the API cannot be read asks its links for
    /// these addresses and announces them until the API is back; without the folder it is silent until then. With --fencing=link only.
    #[arg(long)]
    pub state_path: Option<PathBuf>,
    /// Keep the owner of each L2 address, so that a node that comes back takes nothing back; holds only while every
    /// speaker has this flag.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = go_bool)]
    pub sticky: bool,
    /// Spread L2 addresses, so that no node owns more than 1.25 times the mean, rounded up; holds only while every
    /// speaker has this flag.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = go_bool)]
    pub spread: bool,
    /// Keep open TCP connections of L2 addresses through planned moves: the new owner sends packets of connections that it does not know to the
    /// node that had the address before. Every speaker needs this flag, the capability NET_ADMIN and a kernel with nf_tables.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = go_bool)]
    pub keep_connections: bool,
    /// Time for which connections are led to a node that had the address, such as 10m, from 10s to 24h; the kernel's tables run out this long
    /// after the speaker has ended. With --keep-connections only.
    #[arg(long, default_value = "10m", value_parser = linger)]
    pub linger: Duration,
    /// Add a route for each advertised aggregate that discards packets to addresses of no Service; needs the
    /// capability NET_ADMIN.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = go_bool)]
    pub discard_aggregates: bool,
}

/// The file that, if it is there, gives all times and limits of the ring (contract 3.4).
const MEMBERLIST_FILE: &str = "/etc/metallb/memberlist/config.json";
/// The port of the memberlist if no other is given.
pub const MEMBERLIST_PORT: u16 = 7946;

/// The ring's options from the flags.
pub struct MembershipFlags {
    /// The label selector of the other speakers' pods.
    pub labels: String,
    /// The address to listen on.
    pub bind: SocketAddr,
    /// The ring's keys; none: the ring is not encrypted.
    pub keys: Option<Keys>,
    /// The times and limits.
    pub settings: Settings,
}

impl Args {
    /// The ring's options, if labels and an address are given; otherwise membership is off.
    ///
    /// # Errors
    /// An address, a port, the key's file or the file of settings cannot be used.
    pub fn membership(&self) -> anyhow::Result<Option<MembershipFlags>> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (Some(labels), Some(address)) = (filled(&self.ml_labels), filled(&self.ml_bindaddr))
        else {
            tracing::info!(
                event = "memberlistOff",
                "no labels or no bind address for the memberlist: speakers must run on all nodes"
            );
            return Ok(None);
        };
        let address = parse_address(&address)
            .with_context(|| format!("--ml-bindaddr: {address:?} is not an IP address"))?;
        let port = match filled(&self.ml_bindport) {
            Some(port) => {
                port.parse().with_context(|| format!("--ml-bindport: {port:?} is not a port"))?
            }
            None => MEMBERLIST_PORT,
        };
        Ok(Some(MembershipFlags {
            labels,
            bind: SocketAddr::new(address, port),
            keys: keys(self.ml_secret_key_path.as_deref())?,
            settings: settings(self.ml_wan_config)?,
        }))
    }

    /// The namespace of frr-k8s, if one is given, else this speaker's own.
    #[must_use]
    pub fn frrk8s_namespace(&self, own: &str) -> String {
        self.frrk8s_namespace.as_deref().filter(|text| !text.is_empty()).unwrap_or(own).to_owned()
    }

    /// Logs each given flag that has no effect yet.
    pub fn say_what_is_missing(&self) {
        self.common.say_what_is_missing();
        without_effect("frrk8s-secret-passthrough", self.frrk8s_secret_passthrough);
    }
}

/// Reads the time of `--linger`.
///
/// # Errors
/// It is no time, or not between 10 s and 24 h.
pub fn linger(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let (least, most) = (Duration::from_secs(10), Duration::from_hours(24));
    if (least..=most).contains(&time) {
        Ok(time)
    } else {
        Err("it is not between 10s and 24h".to_owned())
    }
}

/// Reads the keys that all speakers share from the files of `folder`.
///
/// # Errors
/// The folder holds no key, or one that cannot be used: a [`KeyError`](super::KeyError).
pub fn keys(folder: Option<&Path>) -> Result<Option<Keys>, KeyError> {
    let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty()) else {
        tracing::warn!(
            event = "memberlistPlain",
            "no key is given: the memberlist is not encrypted, and whoever reaches its port can take part in it"
        );
        return Ok(None);
    };
    let keys = Keys::read(folder)?;
    keys.tell();
    Ok(Some(keys))
}

/// Reads the times and limits of the ring from the file, if it is there; else takes those for a wide area or a local
/// network.
///
/// # Errors
/// The file is there and cannot be used.
pub fn settings(wide_area: bool) -> anyhow::Result<Settings> {
    match std::fs::read_to_string(MEMBERLIST_FILE) {
        Ok(text) => Settings::from_json(&text).with_context(|| MEMBERLIST_FILE.to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(if wide_area { Settings::wan() } else { Settings::lan() })
        }
        Err(error) => Err(error).with_context(|| MEMBERLIST_FILE.to_owned()),
    }
}
