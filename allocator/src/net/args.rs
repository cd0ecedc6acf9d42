//! The controller's flags and environment (contract 3.1).

use clap::{ArgAction, Parser};
use daemon::log::{Format, Threshold};

/// Gives Services of type LoadBalancer their addresses.
#[derive(Clone, Debug, Parser)]
#[command(name = "controller", version, about, args_override_self = true)]
pub struct Args {
    /// Port of the metrics endpoint; 0 turns it off.
    #[arg(long, default_value_t = 9120)]
    pub port: u16,
    /// Namespace of the configuration objects; that of the own pod by default.
    #[arg(long, env = "METALLB_NAMESPACE")]
    pub namespace: Option<String>,
    /// Name of the memberlist Secret to create.
    #[arg(long, env = "METALLB_ML_SECRET_NAME")]
    pub ml_secret_name: Option<String>,
    /// Name of the own Deployment.
    #[arg(long, env = "METALLB_DEPLOYMENT")]
    pub deployment: Option<String>,
    /// all, debug, info, warn, error or none.
    #[arg(long, default_value = "info")]
    pub log_level: Threshold,
    /// Logs as text for people instead of JSON.
    #[arg(long, default_value = "json", value_parser = daemon::log::parse_format)]
    pub log_format: Format,
    /// Address of a profiling endpoint.
    #[arg(long, default_value = "")]
    pub pprof_bind_address: String,
    /// Port of /healthz and /readyz, on all interfaces.
    #[arg(long, default_value_t = 17472)]
    pub health_probe_port: u16,
    /// Bring your own webhook certificates.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub disable_cert_rotation: bool,
    /// Folder of the webhook certificates.
    #[arg(long, default_value = "/tmp/k8s-webhook-server/serving-certs")]
    pub cert_dir: String,
    /// Service whose name the webhook certificate carries.
    #[arg(long, default_value = "metallb-webhook-service")]
    pub cert_service_name: String,
    /// Serve only Services with this loadBalancerClass; without it, only those without a class.
    #[arg(long, default_value = "")]
    pub lb_class: String,
    /// enabled, disabled or onlywebhook.
    #[arg(long, default_value = "enabled", value_parser = ["enabled", "disabled", "onlywebhook"])]
    pub webhook_mode: String,
    /// Secret of the webhook certificates.
    #[arg(long, default_value = "metallb-webhook-cert")]
    pub webhook_secret: String,
    /// Name of the own pod.
    #[arg(long, env = "METALLB_POD_NAME")]
    pub pod_name: Option<String>,
    /// HTTP/2 for webhooks.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub webhook_http2: bool,
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
        given(
            "ml-secret-name",
            self.ml_secret_name.as_deref().is_some_and(|name| !name.is_empty()),
        );
        given("pprof-bind-address", !self.pprof_bind_address.is_empty());
        given("webhook-mode", self.webhook_mode != "disabled");
        given("disable-cert-rotation", self.disable_cert_rotation);
        given("webhook-http2", self.webhook_http2);
        given("tls-min-version", !self.tls_min_version.is_empty());
        given("tls-cipher-suites", !self.tls_cipher_suites.is_empty());
        given("tls-curve-preferences", !self.tls_curve_preferences.is_empty());
        given("metrics-cert-dir", !self.metrics_cert_dir.is_empty());
    }
}
