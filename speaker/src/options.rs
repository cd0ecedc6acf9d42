// SPDX-License-Identifier: Apache-2.0
//! What a speaker is told at its start, for every decision.

use std::sync::Arc;

use members::quorum::Fencing;

/// The flags and the environment of a speaker, as far as decisions depend on them.
#[derive(Clone, Debug)]
pub struct Options {
    /// The own node's name.
    pub node: Arc<str>,
    /// The `loadBalancerClass` that is served; none serves Services without one.
    pub class: Option<Box<str>>,
    /// `--drain-on-cordon`: a cordoned node counts as one that is being emptied.
    pub drain_on_cordon: bool,
    /// `--ignore-exclude-lb`.
    pub ignore_exclude_label: bool,
    /// Whether a Service without any EndpointSlice counts as served by every node, as on a host without
    /// Kubernetes.
    pub assume_endpoints: bool,
    /// Whose defaults BGP takes.
    pub bgp_mode: BgpMode,
    /// `--fencing`.
    pub fencing: Fencing,
}

/// The implementation whose defaults fill unset fields (contract 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BgpMode {
    /// `METALLB_BGP_TYPE` unset or `native`: LOCAL_PREF 0, timers 90/30.
    #[default]
    Native,
    /// `frr` or `frr-k8s`: LOCAL_PREF 100, timers 180/60.
    Frr,
}

impl BgpMode {
    /// The mode that a value of `METALLB_BGP_TYPE` stands for; whatever MetalLB does not know is native.
    #[must_use]
    pub fn of(value: Option<&str>) -> Self {
        match value {
            Some("frr" | "frr-k8s") => Self::Frr,
            _ => Self::Native,
        }
    }
}
