// SPDX-License-Identifier: Apache-2.0
//! The scenarios, one per file; the head of each says topology and steps.

use crate::lab::Lab;
use crate::lab::control_plane::Families;

/// One scenario.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name, which is that of its file.
    pub name: &'static str,
    /// On which families it is played.
    pub families: Families,
    /// Plays it.
    pub run: fn(&mut Lab) -> anyhow::Result<()>,
}

macro_rules! scenarios {
    ($($name:ident: $families:ident,)*) => {
        $(mod $name;)*

        /// All scenarios, in the order in which they are begun.
        pub const SCENARIOS: &[Scenario] = &[
            $(Scenario { name: stringify!($name), families: Families::$families, run: $name::run },)*
        ];
    };
}

scenarios! {
    http_ipv4: Dual,
    http_ipv4_iptables: Dual,
    http_ipv6: Dual,
    move_owner: Dual,
    etp_local: Dual,
    dual_stack: Dual,
    sharing: Dual,
    requested_address: Dual,
    pool_replaced: Dual,
    crds_accepted: Dual,
    field: Dual,
    recorded_allocation: Dual,
    recorded_owners: Dual,
    preferred_node: Dual,
    interfaces: Dual,
    controller_killed: Dual,
    controller_leases: Dual,
    controllers_overlap: Dual,
    api_down: Dual,
    api_down_at_start: Dual,
    ring_lossy: Dual,
    failover: Dual,
    planned_http: Dual,
    keep_connections: Dual,
    keep_connections_local: Dual,
    keep_flows: Dual,
    spread_nodes: Dual,
    spread_nodes_six: Dual,
    draining: Dual,
    ring_parted: Dual,
    ring_by_link: Dual,
    link_faults: Dual,
    link_parted: Dual,
    tenure: Dual,
    address_pools: Dual,
    ring_blocked: Dual,
    ring_listed: Dual,
    ring_key: Dual,
    node_address: Dual,
    ring_mixed: Dual,
    ring_versions: Dual,
    ring_strangers: Dual,
    permission_late: Dual,
    swap_generations: Dual,
    swap_frr: Dual,
    swap_fleet: Dual,
    swap_versions: Dual,
    swap_bgp: Dual,
    swap_metallb_l2: Dual,
    swap_metallb_bgp: Dual,
    configuration_state: Dual,
    not_announced: Dual,
    cluster_commands: Dual,
    helm_upgrade: Dual,
    install_manifests: Dual,
    install_chart: Dual,
    conflict: Dual,
    claim_flood: Dual,
    class: Dual,
    type_change: Dual,
    edited_by_hand: Dual,
    metrics: Dual,
    metrics_access: Dual,
    webhooks: Dual,
    webhooks_flooded: Dual,
    rejections: Dual,
    webhook_certificates: Dual,
    webhook_modes: Dual,
    apply_race: Dual,
    apply_metallb: Dual,
    folder_run: Dual,
    folder_hostile: Dual,
    folder_ring: Dual,
    cleared: Dual,
    antrea_services: Dual,
    antrea_failover: Dual,
    antrea_overlap: Dual,
    antrea_beside: Dual,
    antrea_metallb: Dual,
    antrea_webhook: Dual,
    bgp_routes: Dual,
    bgp_frr: Dual,
    bgp_bird: Dual,
    bgp_gobgp: Dual,
    bgp_hostile: Dual,
    bgp_restarts: Dual,
    bgp_bfd: Dual,
    bgp_long_lived: Dual,
    bgp_aggregate: Dual,
    bgp_changes: Dual,
    bgp_many: Dual,
    bgp_password: Dual,
    bgp_unnumbered: Dual,
    bgp_placement: Dual,
    ipv6_only: Ipv6,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::SCENARIOS;

    #[test]
    fn every_file_of_the_folder_is_played() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/scenarios");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| entry.unwrap().path().file_stem()?.to_str().map(str::to_owned))
            .filter(|name| name != "mod")
            .collect();
        let played: BTreeSet<String> =
            SCENARIOS.iter().map(|scenario| scenario.name.to_owned()).collect();
        assert_eq!(files, played);
    }
}
