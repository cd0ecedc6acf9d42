// SPDX-License-Identifier: Apache-2.0
//! The kinds of the API group `metallb.io`, one per file, as the API server stores them (contract 1).
//!
//! These types say what can be *written down*; what it means, and whether it is valid, is decided in
//! [`crate::config`]. The `///` texts of kinds and fields are what `kubectl explain` shows.

#![allow(clippy::duplicated_attributes, reason = "printer columns of one type are no duplicates")]

pub mod address_pool;
mod bfd_profile;
mod bgp_advertisement;
mod bgp_peer;
pub mod bgp_peer_v1beta1;
mod community;
mod configuration_state;
mod duration;
mod ip_address_pool;
mod l2_advertisement;
pub mod manifest;
mod schema;
mod service_bgp_status;
mod service_l2_status;

pub use bfd_profile::{BfdProfile, BfdProfileSpec, BfdProfileStatus};
pub use bgp_advertisement::{BgpAdvertisement, BgpAdvertisementSpec, BgpAdvertisementStatus};
pub use bgp_peer::{BgpPeer, BgpPeerSpec, BgpPeerStatus};
pub use community::{Community, CommunityAlias, CommunitySpec, CommunityStatus};
pub use configuration_state::{
    ConfigurationState, ConfigurationStateSpec, ConfigurationStateStatus,
};
pub use duration::{GoDuration, GoDurationError};
pub use ip_address_pool::{
    IpAddressPool, IpAddressPoolSpec, IpAddressPoolStatus, ServiceAllocationSpec,
};
pub use l2_advertisement::{
    L2Advertisement, L2AdvertisementSpec, L2AdvertisementStatus, PreferredNodeSelector, Spread,
};
pub use service_bgp_status::{ServiceBgpStatus, ServiceBgpStatusSpec, ServiceBgpStatusStatus};
pub use service_l2_status::{
    InterfaceInfo, ServiceL2Status, ServiceL2StatusSpec, ServiceL2StatusStatus,
};

/// The API group of every kind here.
pub const GROUP: &str = "metallb.io";
