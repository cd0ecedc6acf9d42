//! The speaker's flags and environment (contract 3.2).

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser};
use daemon::log::{Format, Threshold};

/// Announces the addresses of Services by ARP and NDP.
#[derive(Clone, Debug, Parser)]
#[command(name = "speaker", version, about, args_override_self = true)]
pub struct Args {
    /// Milliseconds; MetalLB's FRR mode needs it, nothing here does.
    #[arg(long, env = "METALLB_BGP_DEBOUNCE_TIMEOUT", default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..))]
    pub bgp_debounce_timeout: u32,
    /// Namespace of the configuration objects; that of the own pod by default.
    #[arg(long, env = "METALLB_NAMESPACE")]
    pub namespace: Option<String>,
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
    /// Name of the own pod.
    #[arg(long, env = "METALLB_POD_NAME")]
    pub pod_name: Option<String>,
    /// Port of the metrics endpoint; 0 turns it off.
    #[arg(long, default_value_t = 9120)]
    pub port: u16,
    /// all, debug, info, warn, error or none.
    #[arg(long, default_value = "info")]
    pub log_level: Threshold,
    /// Logs as text for people instead of JSON.
    #[arg(long, default_value = "json", value_parser = daemon::log::parse_format)]
    pub log_format: Format,
    /// Address of a profiling endpoint.
    #[arg(long, default_value = "")]
    pub pprof_bind_address: String,
    /// Port of /healthz and /readyz, on 127.0.0.1.
    #[arg(long, default_value_t = 17472)]
    pub health_probe_port: u16,
    /// Serve only Services with this loadBalancerClass; without it, only those without a class.
    #[arg(long, default_value = "")]
    pub lb_class: String,
    /// Announce from nodes with the label node.kubernetes.io/exclude-from-external-load-balancers as well.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub ignore_exclude_lb: bool,
    /// Namespace of FRRConfiguration objects, which nothing here writes.
    #[arg(long, env = "FRRK8S_NAMESPACE")]
    pub frrk8s_namespace: Option<String>,
    /// Passing Secrets on to frr-k8s, which nothing here does.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub frrk8s_secret_passthrough: bool,
    /// VersionTLS12 or VersionTLS13.
    #[arg(long, default_value = "")]
    pub tls_min_version: String,
    /// Cipher suites for TLS 1.2.
    #[arg(long, default_value = "")]
    pub tls_cipher_suites: String,
    /// Curve preferences by number.
    #[arg(long, default_value = "")]
    pub tls_curve_preferences: String,
    /// Folder with tls.crt and tls.key for the metrics endpoint.
    #[arg(long, default_value = "")]
    pub metrics_cert_dir: String,
    /// Announce every owned address again once in this time, such as 60s; 0s turns it off.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    pub announce_interval: Duration,
    /// The BGP implementation of MetalLB's; one engine serves all here.
    #[arg(long, env = "METALLB_BGP_TYPE", hide = true)]
    pub bgp_type: Option<String>,
}

impl Args {
    /// The class that is served, if any is asked for.
    #[must_use]
    pub fn class(&self) -> Option<&str> {
        Some(self.lb_class.as_str()).filter(|class| !class.is_empty())
    }

    /// Says in the log which flags are understood and not acted upon yet.
    pub fn say_what_is_missing(&self) {
        let given = |flag: &str, set: bool| {
            if set {
                tracing::info!(event = "flagWithoutEffect", flag, "this flag has no effect yet");
            }
        };
        let filled = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        if filled(&self.ml_labels) && filled(&self.ml_bindaddr) {
            tracing::info!(
                event = "memberlistOff",
                "membership is not there yet: every node of the cluster counts as running a speaker"
            );
        }
        given("ml-secret-key-path", self.ml_secret_key_path.is_some());
        given("ml-wan-config", self.ml_wan_config);
        given("pprof-bind-address", !self.pprof_bind_address.is_empty());
        given("frrk8s-namespace", filled(&self.frrk8s_namespace));
        given("frrk8s-secret-passthrough", self.frrk8s_secret_passthrough);
        given("tls-min-version", !self.tls_min_version.is_empty());
        given("tls-cipher-suites", !self.tls_cipher_suites.is_empty());
        given("tls-curve-preferences", !self.tls_curve_preferences.is_empty());
        given("metrics-cert-dir", !self.metrics_cert_dir.is_empty());
    }
}
