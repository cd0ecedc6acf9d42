// SPDX-License-Identifier: Apache-2.0
//! Metrics that every program has (contract 7.1).

use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

/// What became of the watch events and of the configuration.
#[derive(Clone)]
pub struct ClientMetrics {
    /// Reconciles processed.
    pub updates: IntCounter,
    /// Reconciles that failed.
    pub update_errors: IntCounter,
    /// 1 after the configuration was loaded once.
    pub config_loaded: IntGauge,
    /// 1 while an object of the configuration is invalid.
    pub config_stale: IntGauge,
}

impl ClientMetrics {
    /// The configuration has been validated, and so many of its objects are invalid.
    pub fn set_config(&self, invalid: usize) {
        self.config_loaded.set(1);
        self.config_stale.set(i64::from(invalid > 0));
    }

    /// Registers them, and `ferrolb_build_info`.
    ///
    /// # Errors
    /// When a name is taken in `registry`.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let options =
            |name, help| Opts::new(name, help).namespace("metallb").subsystem("k8s_client");
        let metrics = Self {
            updates: IntCounter::with_opts(options(
                "updates_total",
                "Number of k8s object updates that have been processed.",
            ))?,
            update_errors: IntCounter::with_opts(options(
                "update_errors_total",
                "Number of k8s object updates that failed for some reason.",
            ))?,
            config_loaded: IntGauge::with_opts(options(
                "config_loaded_bool",
                "1 if the MetalLB configuration was successfully loaded at least once.",
            ))?,
            config_stale: IntGauge::with_opts(options(
                "config_stale_bool",
                "1 if running on a stale configuration, because the latest config failed to load.",
            ))?,
        };
        registry.register(Box::new(metrics.updates.clone()))?;
        registry.register(Box::new(metrics.update_errors.clone()))?;
        registry.register(Box::new(metrics.config_loaded.clone()))?;
        registry.register(Box::new(metrics.config_stale.clone()))?;
        let build = IntGaugeVec::new(
            Opts::new("ferrolb_build_info", "1, with the version as a label."),
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(build))?;
        Ok(metrics)
    }
}
