// SPDX-License-Identifier: Apache-2.0
//! `Community`, v1beta1: names for BGP communities (contract 1.6).

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Names of communities, to be used by BGPAdvertisements.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "Community",
    plural = "communities",
    singular = "community",
    namespaced,
    status = "CommunityStatus",
    derive = "PartialEq",
    doc = "Gives names to BGP communities."
)]
#[serde(default, rename_all = "camelCase")]
pub struct CommunitySpec {
    /// The names and what they stand for. A name may be defined once in all Community objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub communities: Option<Vec<CommunityAlias>>,
}

/// A name and the community that it stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct CommunityAlias {
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The community: 64512:100, or large:64512:1:2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Nothing is reported here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommunityStatus {}
