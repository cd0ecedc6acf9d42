// SPDX-License-Identifier: Apache-2.0
//! The controller's flags and environment (contract 3.1).

use clap::{ArgAction, Parser};
use daemon::flags::{Common, go_bool};

/// Gives Services of type LoadBalancer their addresses.
#[derive(Clone, Debug, Parser)]
#[command(name = "controller", version, about, args_override_self = true)]
pub struct Args {
    /// The flags of both daemons.
    #[command(flatten)]
    pub common: Common,
    /// Name of the memberlist Secret to create.
    #[arg(long, env = "METALLB_ML_SECRET_NAME")]
    pub ml_secret_name: Option<String>,
    /// Name of the own Deployment.
    #[arg(long, env = "METALLB_DEPLOYMENT")]
    pub deployment: Option<String>,
    /// Bring your own webhook certificates.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = go_bool)]
    pub disable_cert_rotation: bool,
    /// Folder of the webhook certificates.
    #[arg(long, default_value = "/tmp/k8s-webhook-server/serving-certs")]
    pub cert_dir: String,
    /// Service whose name the webhook certificate carries; by default the one that the webhooks' configuration names.
    #[arg(long)]
    pub cert_service_name: Option<String>,
    /// enabled, disabled or onlywebhook.
    #[arg(long, default_value = "enabled", value_parser = ["enabled", "disabled", "onlywebhook"])]
    pub webhook_mode: String,
    /// Secret of the webhook certificates; by default the one that the own Deployment mounts for them.
    #[arg(long)]
    pub webhook_secret: Option<String>,
    /// HTTP/2 for webhooks.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = go_bool)]
    pub webhook_http2: bool,
}

impl Args {
    /// Says in the log which flags are understood and not acted upon yet.
    pub fn say_what_is_missing(&self) {
        self.common.say_what_is_missing();
    }
}
