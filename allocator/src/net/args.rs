// SPDX-License-Identifier: Apache-2.0
//! The controller's flags and environment (contract 3.1).

use std::time::Duration;

use clap::{ArgAction, Parser};
use crds::metallb::GoDuration;
use daemon::flags::{Common, go_bool};

use super::leader::Times;

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
    /// How the Lease of several controllers is kept.
    #[command(flatten)]
    pub elect: Elect,
}

/// The flags of the Lease, with the names and values of Kubernetes' own programs.
#[derive(Clone, Debug, clap::Args)]
pub struct Elect {
    /// How long others wait for a leader that renews its Lease no more.
    #[arg(long, default_value = "15s", value_parser = duration)]
    pub leader_elect_lease_duration: Duration,
    /// How long the leader goes on when it cannot renew; shorter than the lease.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub leader_elect_renew_deadline: Duration,
    /// How often the leader renews, and others look; shorter than the renewal deadline.
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub leader_elect_retry_period: Duration,
}

/// A duration as Go writes it, such as 1m30s; not nothing.
fn duration(text: &str) -> Result<Duration, String> {
    let duration: GoDuration = text.parse().map_err(|error| format!("{error}"))?;
    let duration = duration.to_std().filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "more than nothing is wanted".to_owned())
}

impl Elect {
    /// Whether they can be followed.
    ///
    /// # Errors
    /// When two leaders could write at once, or none could keep its Lease.
    pub fn check(&self) -> anyhow::Result<()> {
        let (lease, renew) = (self.leader_elect_lease_duration, self.leader_elect_renew_deadline);
        // As client-go has it: the pauses between two tries are up to a fifth longer.
        let retry = self.leader_elect_retry_period.saturating_mul(6) / 5;
        anyhow::ensure!(
            lease > renew,
            "--leader-elect-lease-duration must be greater than --leader-elect-renew-deadline"
        );
        anyhow::ensure!(
            renew > retry,
            "--leader-elect-renew-deadline must be greater than 1.2 times --leader-elect-retry-period"
        );
        Ok(())
    }

    pub(super) fn times(&self) -> Times {
        Times {
            lease: self.leader_elect_lease_duration,
            renew: self.leader_elect_renew_deadline,
            retry: self.leader_elect_retry_period,
        }
    }
}

impl Args {
    /// Says in the log which flags are understood and not acted upon yet.
    pub fn say_what_is_missing(&self) {
        self.common.say_what_is_missing();
    }
}
