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
    /// The flags that the controller and the speaker share.
    #[command(flatten)]
    pub common: Common,
    /// Name of the Secret in which the controller creates the memberlist's key; empty or not given: no Secret is
    /// created.
    #[arg(long, env = "METALLB_ML_SECRET_NAME")]
    pub ml_secret_name: Option<String>,
    /// Name of the controller's own Deployment, which becomes the owner of the memberlist's Secret.
    #[arg(long, env = "METALLB_DEPLOYMENT")]
    pub deployment: Option<String>,
    /// Use the certificate in --cert-dir for the webhooks; without this flag the controller makes and renews one.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = go_bool)]
    pub disable_cert_rotation: bool,
    /// Folder where the webhooks' certificate (tls.crt and tls.key) is mounted; the files are read only with
    /// --disable-cert-rotation.
    #[arg(long, default_value = "/tmp/k8s-webhook-server/serving-certs")]
    pub cert_dir: String,
    /// Service whose name the webhooks' certificate carries; default: the Service that the installed webhook
    /// configuration names.
    #[arg(long)]
    pub cert_service_name: Option<String>,
    /// Mode of the webhooks: enabled serves them beside the controller, disabled serves none, onlywebhook serves them
    /// and gives no addresses.
    #[arg(long, default_value = "enabled", value_parser = ["enabled", "disabled", "onlywebhook"])]
    pub webhook_mode: String,
    /// Secret that holds the webhooks' certificate; default: the Secret that the controller's own Deployment mounts
    /// for it.
    #[arg(long)]
    pub webhook_secret: Option<String>,
    /// Serve the webhooks over HTTP/2 as well; without this flag over HTTP/1.1 only.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = go_bool)]
    pub webhook_http2: bool,
    /// The flags of the Lease by which one of several controllers leads.
    #[command(flatten)]
    pub elect: Elect,
}

/// The flags of the Lease, with the names and defaults of Kubernetes' own programs.
#[derive(Clone, Debug, clap::Args)]
pub struct Elect {
    /// Time after the last renewal of the Lease until another controller takes over, such as 15s; longer than the
    /// renewal deadline.
    #[arg(long, default_value = "15s", value_parser = duration)]
    pub leader_elect_lease_duration: Duration,
    /// Time for which the leader still writes when it cannot renew its Lease, such as 10s; shorter than the lease
    /// duration.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub leader_elect_renew_deadline: Duration,
    /// Time between two renewals of the leader, and between two looks of the others, such as 2s; 1.2 times this must
    /// be shorter than the renewal deadline.
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub leader_elect_retry_period: Duration,
}

/// Reads a duration as Go writes it, such as 1m30s; refuses 0.
fn duration(text: &str) -> Result<Duration, String> {
    let duration: GoDuration = text.parse().map_err(|error| format!("{error}"))?;
    let duration = duration.to_std().filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "more than nothing is wanted".to_owned())
}

impl Elect {
    /// Checks that the three times fit one another.
    ///
    /// # Errors
    /// The times would let two leaders write at once, or let none keep its Lease.
    pub fn check(&self) -> anyhow::Result<()> {
        let (lease, renew) = (self.leader_elect_lease_duration, self.leader_elect_renew_deadline);
        // client-go makes the pause between two tries up to a fifth longer.
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
    /// Logs each given flag that has no effect yet.
    pub fn say_what_is_missing(&self) {
        self.common.say_what_is_missing();
    }
}
