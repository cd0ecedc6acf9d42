// SPDX-License-Identifier: Apache-2.0
//! Flags as Go's programs take them (contract 3.2): one dash or two, `--flag value` or `--flag=value`.

use std::ffi::OsString;
use std::path::Path;

use clap::{ArgAction, Args};

use crate::log::{Format, Threshold, parse_format};

/// The flags that both daemons have (contract 3.1, 3.2).
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Port of the metrics endpoint; 0 turns it off.
    #[arg(long, default_value_t = 9120)]
    pub port: u16,
    /// Namespace of the configuration objects; that of the own pod by default.
    #[arg(long, env = "METALLB_NAMESPACE")]
    pub namespace: Option<String>,
    /// File of the API's address and credentials; without it KUBECONFIG's, then the pod's own account, then ~/.kube/config.
    #[arg(long, default_value = "")]
    pub kubeconfig: String,
    /// Name of the own pod.
    #[arg(long, env = "METALLB_POD_NAME")]
    pub pod_name: Option<String>,
    /// all, debug, info, warn, error or none.
    #[arg(long, default_value = "info")]
    pub log_level: Threshold,
    /// Logs as JSON, or as text for people.
    #[arg(long, default_value = "json", value_parser = parse_format)]
    pub log_format: Format,
    /// Address of a profiling endpoint.
    #[arg(long, default_value = "")]
    pub pprof_bind_address: String,
    /// Port of /healthz and /readyz.
    #[arg(long, default_value_t = 17472)]
    pub health_probe_port: u16,
    /// Serve only Services with this loadBalancerClass; without it, only those without a class.
    #[arg(long, default_value = "")]
    pub lb_class: String,
    /// VersionTLS12 or VersionTLS13, which is the default; for metrics and webhooks.
    #[arg(long, default_value = "")]
    pub tls_min_version: String,
    /// Cipher suites for TLS 1.2, by Go's names.
    #[arg(long, default_value = "")]
    pub tls_cipher_suites: String,
    /// Key exchange groups by number: 23, 24, 29.
    #[arg(long, default_value = "")]
    pub tls_curve_preferences: String,
    /// Folder with tls.crt and tls.key for the metrics endpoint; without it nobody has signed its certificate.
    #[arg(long, default_value = "")]
    pub metrics_cert_dir: String,
    /// Answer plain HTTP on the metrics port too, to everybody; on port 7472 that is always so.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = go_bool)]
    pub metrics_plain_http: bool,
    /// A flag of MetalLB 0.13: Endpoints instead of EndpointSlices, which are served in every cluster of today.
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = go_bool)]
    pub disable_epslices: bool,
    /// A flag of MetalLB 0.13: an endpoint for profiles on the metrics port.
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = go_bool)]
    pub enable_pprof: bool,
    /// The BGP implementation of MetalLB's; one engine serves all here.
    #[arg(long, env = "METALLB_BGP_TYPE", hide = true)]
    pub bgp_type: Option<String>,
}

impl Common {
    /// The class that is served, if any is asked for.
    #[must_use]
    pub fn class(&self) -> Option<&str> {
        Some(self.lb_class.as_str()).filter(|class| !class.is_empty())
    }

    /// The kubeconfig that is named, if one is.
    #[must_use]
    pub fn kubeconfig(&self) -> Option<&Path> {
        Some(Path::new(&self.kubeconfig)).filter(|path| !path.as_os_str().is_empty())
    }

    /// Says in the log which of these flags are understood and not acted upon yet.
    pub fn say_what_is_missing(&self) {
        without_effect("pprof-bind-address", !self.pprof_bind_address.is_empty());
        without_effect("enable-pprof", self.enable_pprof);
        without_effect("disable-epslices", self.disable_epslices);
    }
}

/// A boolean as Go's `flag` package reads it.
///
/// # Errors
/// For any other word.
pub fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("true or false is wanted".to_owned()),
    }
}

/// Says in the log that a flag which was given is understood and not acted upon yet.
pub fn without_effect(flag: &str, given: bool) {
    if given {
        tracing::info!(event = "flagWithoutEffect", flag, "this flag has no effect yet");
    }
}

/// Turns `-flag` into `--flag`, which is what clap understands; everything else stays as it is. Go knows
/// no bundles of one-letter flags, so nothing is lost. What stands behind `--` is left alone.
pub fn two_dashes(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut only_operands = false;
    arguments
        .enumerate()
        .map(|(index, argument)| {
            let Some(text) = argument.to_str() else { return argument };
            only_operands |= text == "--";
            let is_number = text.get(1..).is_some_and(|rest| rest.parse::<f64>().is_ok());
            let one_dash = text.len() > 2 && text.starts_with('-') && !text.starts_with("--");
            if index > 0 && one_dash && !is_number && !only_operands {
                format!("-{text}").into()
            } else {
                argument
            }
        })
        .collect()
}

/// The namespace that the program serves: the flag or its environment, else that of the pod.
#[must_use]
pub fn namespace(given: Option<String>) -> Option<String> {
    const OWN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
    given.filter(|namespace| !namespace.is_empty()).or_else(|| {
        let own = std::fs::read_to_string(OWN).ok()?;
        Some(own.trim().to_owned()).filter(|namespace| !namespace.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::{go_bool, two_dashes};

    fn turned(arguments: &[&str]) -> Vec<String> {
        two_dashes(arguments.iter().map(Into::into))
            .into_iter()
            .map(|argument| argument.into_string().unwrap())
            .collect()
    }

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        common: super::Common,
    }

    #[test]
    fn a_kubeconfig_is_named_as_controller_runtime_lets_it_be_named() {
        let named = |arguments: &[&str]| {
            let program: Program = clap::Parser::try_parse_from(turned(arguments)).unwrap();
            program.common.kubeconfig().map(std::path::Path::to_owned)
        };
        for arguments in [
            &["x", "--kubeconfig", "/etc/k"][..],
            &["x", "-kubeconfig=/etc/k"],
            &["x", "--kubeconfig=/etc/k"],
        ] {
            assert_eq!(named(arguments), Some("/etc/k".into()), "{arguments:?}");
        }
        assert_eq!(named(&["x"]), None);
        assert_eq!(named(&["x", "--kubeconfig="]), None);
    }

    #[test]
    fn booleans_are_those_of_go() {
        for (word, is) in [("1", true), ("T", true), ("True", true), ("0", false), ("f", false)] {
            assert_eq!(go_bool(word), Ok(is), "{word}");
        }
        assert!(go_bool("yes").is_err() && go_bool("").is_err());
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        assert_eq!(
            turned(&["speaker", "-port=9120", "--log-level", "info", "-h", "-1", "--", "-x1"]),
            ["speaker", "--port=9120", "--log-level", "info", "-h", "-1", "--", "-x1"]
        );
    }
}
