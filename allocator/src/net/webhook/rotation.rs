// SPDX-License-Identifier: Apache-2.0
//! Keeps the certificates in step (contract 6.5): the Secret holds good ones, the API server trusts their authority,
//! and the server shows the certificate of the Secret.
//!
//! ```text
//! Secret, ValidatingWebhookConfiguration, CRD change; every 12 h; the clock was put right ──> look at all ──> write what is wrong
//! ```
//! The task is level-triggered: a change only wakes it up, and it looks at everything anew. Writes carry the
//! resourceVersion; of two controllers one wins, and the other takes what it finds.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::ByteString;
use kube::api::{DynamicObject, PartialObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use rustls_pki_types::UnixTime;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::authority::{self, CHECK, Material};
use super::bundle::Older;
use super::target::{TARGETS, Target, resource};
use daemon::tls::Slot;

/// The field manager of `caBundle`, by the name that MetalLB has there.
const MANAGER: &str = "MetalLB";
/// The time that the API servers get to hear of a new authority before the server shows its certificate.
const SPREAD: Duration = Duration::from_secs(5);
/// The time for which an authority that was in use before is still trusted.
const OVERLAP: Duration = Duration::from_secs(3600);
/// The time between two checks of the shown certificate against the clock: a clock may be put right at any time.
const CLOCK: Duration = Duration::from_secs(60);
/// The pause after a failure; then everything is looked at again.
const AGAIN: Duration = Duration::from_secs(10);

/// A watched object without its contents: only the change matters.
type Metadata = PartialObjectMeta<DynamicObject>;

/// The objects for which the certificates are made.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// The namespace of Secret and Service.
    pub(super) namespace: String,
    /// The name of the Secret with the certificates.
    pub(super) secret: String,
    /// The name of the Service that leads to the webhooks.
    pub(super) service: String,
}

impl Names {
    /// The name in the certificate.
    fn server(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }
}

/// True if an error is the API's refusal with this code.
pub(super) fn is_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// Runs until the runtime ends. `on_ready` is called when the API server could call the webhooks.
pub(super) async fn run(client: Client, names: Names, slot: Slot, on_ready: impl Fn()) {
    let mut rotation = Rotation {
        client,
        server: names.server(),
        names,
        slot,
        shown: None,
        to_show: None,
        // An authority may just have been exchanged before the start: nothing is known of that here.
        overlap_ends: Some(Instant::now() + OVERLAP),
        forbidden: BTreeSet::new(),
    };
    let (wake, mut woken) = mpsc::channel(1);
    rotation.watch(&wake);
    let mut next = Instant::now();
    let mut clock = tokio::time::interval(CLOCK);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = woken.recv() => {}
            () = sleep_until(next) => {}
            _ = clock.tick() => {
                if rotation.is_right() {
                    continue;
                }
            }
        }
        next = Instant::now() + CHECK;
        match rotation.look().await {
            Ok(()) => on_ready(),
            Err(error) if is_code(&error, 403) && rotation.forbidden.insert("secret") => {
                tracing::warn!(event = "certificatesForbidden", %error,
                    "the Secret of the webhooks' certificates is not permitted: the webhooks cannot be called");
                on_ready();
            }
            Err(error) => {
                // Another writer was first: look at its result at once.
                let pause = if is_code(&error, 409) { Duration::from_millis(200) } else { AGAIN };
                next = Instant::now() + pause;
                tracing::debug!(%error, "looking at the certificates again");
            }
        }
        // A step that was due and failed is tried with everything else.
        let now = Instant::now();
        for moment in rotation.moments().filter(|moment| *moment > now) {
            next = next.min(moment);
        }
    }
}

struct Rotation {
    client: Client,
    names: Names,
    /// The name in the certificate.
    server: String,
    slot: Slot,
    /// The certificate that the server shows.
    shown: Option<Material>,
    /// The certificate to show once the API servers trust it, and the moment for that.
    to_show: Option<(Material, Instant)>,
    /// The moment from which the authorities from before are no longer trusted.
    overlap_ends: Option<Instant>,
    /// The objects of which the log has said that they are not permitted.
    forbidden: BTreeSet<&'static str>,
}

impl Rotation {
    fn watch(&self, wake: &mpsc::Sender<()>) {
        let secrets: Api<Metadata> = Api::namespaced_with(
            self.client.clone(),
            &self.names.namespace,
            &resource("", "Secret", "secrets"),
        );
        follow(secrets, self.names.secret.clone(), wake.clone());
        for target in TARGETS {
            // An administrator who installs this CRD now installs an old MetalLB. The CRD was there before, or it never
            // comes.
            if target != Target::Crd("addresspools.metallb.io") {
                follow(
                    Api::all_with(self.client.clone(), &target.resource()),
                    target.name().to_owned(),
                    wake.clone(),
                );
            }
        }
    }

    fn moments(&self) -> impl Iterator<Item = Instant> {
        self.to_show.iter().map(|(_, at)| *at).chain(self.overlap_ends)
    }

    /// True if the shown certificate is good by the present clock; one that is not shown yet has its own time.
    fn is_right(&self) -> bool {
        let shown = self.shown.as_ref();
        shown.is_none_or(|shown| authority::is_good(shown, &self.server, UnixTime::now()))
    }

    /// Looks at everything once, and corrects what differs.
    async fn look(&mut self) -> Result<(), kube::Error> {
        let may_drop = self.overlap_ends.is_some_and(|end| Instant::now() >= end);
        let material = self.secret(may_drop).await?;
        let older = match self.overlap_ends {
            Some(end) if Instant::now() < end => Older::Keep,
            Some(_) => Older::Drop,
            // Another controller may be in the middle of an exchange.
            None => Older::Keep,
        };
        let mut told = Ok(());
        for target in TARGETS {
            if let Err(error) = self.tell(target, &material.authority, older).await {
                told = Err(error);
            }
        }
        if told.is_ok() && older == Older::Drop {
            self.overlap_ends = None;
        }
        // A certificate that no API server trusts yet is better than none, and worse than the one before.
        if told.is_ok() || self.shown.is_none() {
            self.show(material);
        }
        told
    }

    /// The contents of the Secret, made anew first if needed. A key of an authority is taken out of the Secret: at once
    /// if the contents are made anew. A key that MetalLB's controller left is taken out only when that controller has
    /// surely ended, as it would make everything anew.
    async fn secret(&self, may_drop_key: bool) -> Result<Material, kube::Error> {
        let secrets: Api<DynamicObject> = Api::namespaced_with(
            self.client.clone(),
            &self.names.namespace,
            &resource("", "Secret", "secrets"),
        );
        let found = secrets.get_opt(&self.names.secret).await?;
        let data = |key: &str| {
            let value = found.as_ref()?.data.get("data")?.get(key)?.clone();
            serde_json::from_value::<ByteString>(value).ok().map(|octets| octets.0)
        };
        let material = Material {
            authority: data("ca.crt").unwrap_or_default(),
            chain: data("tls.crt").unwrap_or_default(),
            key: data("tls.key").unwrap_or_default(),
        };
        let now = UnixTime::now();
        let is_good = authority::is_good(&material, &self.server, now);
        let has_key = data("ca.key").is_some();
        if is_good && !(has_key && may_drop_key) {
            return Ok(material);
        }
        let made = if is_good {
            material
        } else {
            authority::make(&self.server, now)
                .map_err(|error| kube::Error::Service(Box::new(error)))?
        };
        let encoded = |octets: &[u8]| ByteString(octets.to_vec());
        let data = json!({
            "ca.crt": encoded(&made.authority), "tls.crt": encoded(&made.chain), "tls.key": encoded(&made.key),
        });
        match found {
            Some(found) => {
                let mut data = data;
                if has_key && let Some(data) = data.as_object_mut() {
                    // A merge patch takes out each field that it holds as null (RFC 7386).
                    data.insert("ca.key".into(), Value::Null);
                }
                let change = json!({
                    "metadata": { "resourceVersion": found.metadata.resource_version },
                    "data": data,
                });
                let params =
                    PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
                secrets.patch(&self.names.secret, &params, &Patch::Merge(&change)).await?;
            }
            None => {
                let mut secret =
                    DynamicObject::new(&self.names.secret, &resource("", "Secret", "secrets"));
                secret.data = json!({ "data": data });
                let params =
                    PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
                secrets.create(&params, &secret).await?;
            }
        }
        tracing::info!(
            event = "certificateRenewed",
            secret = self.names.secret,
            renewed = !is_good,
            without_key = has_key,
            "the Secret of the webhooks' certificates was written"
        );
        Ok(made)
    }

    /// Makes a target trust the authority. A target that is absent or not permitted is no failure.
    async fn tell(
        &mut self,
        target: Target,
        authority: &[u8],
        older: Older,
    ) -> Result<(), kube::Error> {
        let api = target.api(&self.client);
        let told = async {
            let Some(object) = api.get_opt(target.name()).await? else { return Ok(false) };
            let value = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
            let Some(change) = target.patch(&value, authority, older) else { return Ok(false) };
            let params =
                PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
            api.patch(target.name(), &params, &Patch::Merge(&change)).await?;
            Ok(true)
        };
        match told.await {
            Ok(false) => {}
            Ok(true) => tracing::info!(
                event = "authorityInjected",
                object = target.name(),
                "the API server is told whom to trust"
            ),
            Err(error) if is_code(&error, 403) => {
                let is_old = target == Target::Crd("addresspools.metallb.io");
                if self.forbidden.insert(target.name()) && !is_old {
                    tracing::warn!(event = "authorityForbidden", object = target.name(), %error,
                        "caBundle is not permitted to be written: where it is not right already the API server cannot call the webhooks");
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Shows the certificate at once, unless the API servers have yet to hear of its authority and the certificate
    /// before is still good.
    fn show(&mut self, material: Material) {
        let now = Instant::now();
        if self.shown.as_ref() == Some(&material) {
            self.to_show = None;
            return;
        }
        let may_wait = self.shown.as_ref().is_some_and(|shown| {
            shown.authority != material.authority
                && authority::is_current(&shown.chain, UnixTime::now())
        });
        if may_wait {
            let at = match &self.to_show {
                Some((waiting, at)) if *waiting == material => *at,
                _ => now + SPREAD,
            };
            if now < at {
                self.overlap_ends = Some(now + OVERLAP);
                self.to_show = Some((material, at));
                return;
            }
        }
        self.to_show = None;
        match self.slot.set(&material.chain, &material.key) {
            Ok(()) => {
                tracing::info!(
                    event = "certificateShown",
                    "the webhooks show the Secret's certificate"
                );
                self.shown = Some(material);
            }
            Err(error) => tracing::error!(%error, "the webhooks' certificate cannot be used"),
        }
    }
}

/// Wakes up whenever the object of this name changes.
fn follow(api: Api<Metadata>, name: String, wake: mpsc::Sender<()>) {
    tokio::spawn(async move {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut events = watcher(api, config).default_backoff().boxed();
        while let Some(event) = events.next().await {
            match event {
                // To be woken once is enough: everything is looked at then.
                Ok(watcher::Event::Init) => {}
                Ok(_) => drop(wake.try_send(())),
                Err(error) => {
                    tracing::debug!(%error, name, "a watch of the webhooks' certificates failed");
                    // The watcher itself asks ever more slowly where watching is not permitted.
                    sleep(Duration::from_secs(1)).await;
                }
            }
            if wake.is_closed() {
                return;
            }
        }
    });
}
