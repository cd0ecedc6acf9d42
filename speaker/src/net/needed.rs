// SPDX-License-Identifier: Apache-2.0
//! What of the cluster the speaker must have listed before it announces anything.

use cluster::{Kind, Snapshot};
use crds::config::ConfigKind;

/// The kinds.
pub(super) const KINDS: [Kind; 12] = [
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Node,
    Kind::Secret,
    Kind::Config(ConfigKind::IpAddressPool),
    Kind::Config(ConfigKind::L2Advertisement),
    Kind::Config(ConfigKind::BgpAdvertisement),
    Kind::Config(ConfigKind::BgpPeer),
    Kind::Config(ConfigKind::BfdProfile),
    Kind::Config(ConfigKind::Community),
    Kind::Config(ConfigKind::ExternalIpPool),
    Kind::Config(ConfigKind::AddressPool),
];

/// Whether all of them are listed.
pub(super) fn has_read(snapshot: &Snapshot) -> bool {
    KINDS.iter().all(|kind| snapshot.is_synced(*kind))
}
