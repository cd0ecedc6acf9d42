// SPDX-License-Identifier: Apache-2.0
//! Metrics that every program has (contract 7.1).

use prometheus::Registry;

use crate::metric::{Metric, Series};

const UPDATES: Metric<0> = Metric::counter(
    "metallb_k8s_client_updates_total",
    "Number of k8s object updates that have been processed.",
    [],
);
const UPDATE_ERRORS: Metric<0> = Metric::counter(
    "metallb_k8s_client_update_errors_total",
    "Number of k8s object updates that failed for some reason.",
    [],
);
const CONFIG_LOADED: Metric<0> = Metric::gauge(
    "metallb_k8s_client_config_loaded_bool",
    "1 if the MetalLB configuration was successfully loaded at least once.",
    [],
);
const CONFIG_STALE: Metric<0> = Metric::gauge(
    "metallb_k8s_client_config_stale_bool",
    "1 if running on a stale configuration, because the latest config failed to load.",
    [],
);
const BUILD_INFO: Metric<1> =
    Metric::gauge("ferrolb_build_info", "1, with the version as a label.", ["version"]);

/// What became of the watch events and of the configuration.
#[derive(Clone)]
pub struct ClientMetrics {
    updates: Series<0>,
    update_errors: Series<0>,
    config_loaded: Series<0>,
    config_stale: Series<0>,
}

impl ClientMetrics {
    /// A reconcile was processed.
    pub fn count_update(&self) {
        self.updates.increment([]);
    }

    /// A reconcile failed.
    pub fn count_update_error(&self) {
        self.update_errors.increment([]);
    }

    /// The configuration has been validated, and so many of its objects are invalid.
    pub fn set_config(&self, invalid: usize) {
        self.config_loaded.set([], 1);
        self.config_stale.set([], u64::from(invalid > 0));
    }

    /// Registers them, and `ferrolb_build_info`.
    ///
    /// # Errors
    /// When a name is taken in `registry`.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        BUILD_INFO.register(registry)?.set([env!("CARGO_PKG_VERSION")], 1);
        Ok(Self {
            updates: UPDATES.register(registry)?,
            update_errors: UPDATE_ERRORS.register(registry)?,
            config_loaded: CONFIG_LOADED.register(registry)?,
            config_stale: CONFIG_STALE.register(registry)?,
        })
    }
}
