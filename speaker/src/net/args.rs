// SPDX-License-Identifier: Apache-2.0
//! The speaker's flags and environment (contract 3.2).

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser};
use daemon::flags::{Common, without_effect};

/// Announces the addresses of Services by ARP and NDP.
#[derive(Clone, Debug, Parser)]
#[command(name = "speaker", version, about, args_override_self = true)]
pub struct Args {
    /// The flags of both daemons.
    #[command(flatten)]
    pub common: Common,
    /// Milliseconds; MetalLB's FRR mode needs it, nothing here does.
    #[arg(long, env = "METALLB_BGP_DEBOUNCE_TIMEOUT", default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..))]
    pub bgp_debounce_timeout: u32,
    /// Deprecated and ignored.
    #[arg(long, env = "METALLB_HOST")]
    pub host: Option<String>,
    /// Address of the memberlist.
    #[arg(long, env = "METALLB_ML_BIND_ADDR")]
    pub ml_bindaddr: Option<String>,
    /// Port of the memberlist.
    #[arg(long, env = "METALLB_ML_BIND_PORT")]
    pub ml_bindport: Option<String>,
    /// Label selector of the speakers' pods.
    #[arg(long, env = "METALLB_ML_LABELS")]
    pub ml_labels: Option<String>,
    /// Folder of the memberlist's key.
    #[arg(long, env = "METALLB_ML_SECRET_KEY_PATH")]
    pub ml_secret_key_path: Option<PathBuf>,
    /// Defaults of the memberlist for wide-area networks.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub ml_wan_config: bool,
    /// Name of the own node.
    #[arg(long, env = "METALLB_NODE_NAME")]
    pub node_name: Option<String>,
    /// Announce from nodes with the label node.kubernetes.io/exclude-from-external-load-balancers as well.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub ignore_exclude_lb: bool,
    /// Namespace of BGPSessionState objects, where it is not the own one. (FRRConfiguration objects are not written.)
    #[arg(long, env = "FRRK8S_NAMESPACE")]
    pub frrk8s_namespace: Option<String>,
    /// Passing Secrets on to frr-k8s, which nothing here does.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub frrk8s_secret_passthrough: bool,
    /// Announce every owned address again once in this time, such as 60s; 0s turns it off.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    pub announce_interval: Duration,
    /// How long a node that is being drained still announces its BGP routes, marked with GRACEFUL_SHUTDOWN (RFC 8326).
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub drain_time: Duration,
    /// Drain a node when it is cordoned, as if it had the annotation ferrolb.io/drain.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub drain_on_cordon: bool,
    /// Add a route for each advertised aggregate that discards what no Service owns; needs the capability NET_ADMIN.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub discard_aggregates: bool,
}

impl Args {
    /// The namespace of frr-k8s, if one is given, else the own one.
    #[must_use]
    pub fn frrk8s_namespace(&self, own: &str) -> String {
        self.frrk8s_namespace.as_deref().filter(|text| !text.is_empty()).unwrap_or(own).to_owned()
    }

    /// Says in the log which flags are understood and not acted upon yet.
    pub fn say_what_is_missing(&self) {
        self.common.say_what_is_missing();
        let filled = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        if filled(&self.ml_labels) && filled(&self.ml_bindaddr) {
            tracing::info!(
                event = "memberlistOff",
                "membership is not there yet: every node of the cluster counts as running a speaker"
            );
        }
        without_effect("ml-secret-key-path", self.ml_secret_key_path.is_some());
        without_effect("ml-wan-config", self.ml_wan_config);
        without_effect("frrk8s-secret-passthrough", self.frrk8s_secret_passthrough);
    }
}
