// SPDX-License-Identifier: Apache-2.0
//! `L2Advertisement` and `BGPAdvertisement`: the rules that one can break by itself (contract 6.2).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::selector;
use crate::config::advertisement::{
    BgpAdvertisement, L2Advertisement, PoolSelection, PreferredNodes,
};
use crate::config::community::{Community, CommunityError, CommunityReference};
use crate::config::fault::Fault;
use crate::labels::Selector;
use crate::metallb::{BgpAdvertisementSpec, L2AdvertisementSpec, PreferredNodeSelector, Spread};

/// How often our AS number can be put in front at most.
const MOST_PREPENDS: u8 = 10;

pub(super) fn parse_l2(
    name: &Arc<str>,
    spec: &L2AdvertisementSpec,
) -> Result<L2Advertisement, Fault> {
    Ok(L2Advertisement {
        name: name.clone(),
        pools: PoolSelection {
            names: selector::names("ipAddressPools", spec.ip_address_pools.as_deref())?,
            selectors: selector::parse(
                "ipAddressPoolSelectors",
                spec.ip_address_pool_selectors.as_deref(),
            )?,
            except: Arc::default(),
        },
        node_selectors: selector::parse("nodeSelectors", spec.node_selectors.as_deref())?,
        interfaces: spec.interfaces.iter().flatten().map(|name| name.as_str().into()).collect(),
        service_selectors: selector::parse("serviceSelectors", spec.service_selectors.as_deref())?,
        preferred_nodes: spec
            .preferred_node_selectors
            .iter()
            .flatten()
            .enumerate()
            .map(|(index, spec)| {
                preferred(spec).map_err(|fault| fault.within(("preferredNodeSelectors", index)))
            })
            .collect::<Result<_, _>>()?,
        spreads: spec.spread == Some(Spread::Nodes),
    })
}

fn preferred(spec: &PreferredNodeSelector) -> Result<PreferredNodes, Fault> {
    let weight = u32::try_from(spec.weight)
        .ok()
        .filter(|weight| (1..=100).contains(weight))
        .ok_or_else(|| {
            let weight = spec.weight;
            Fault::new("weight", format!("invalid weight {weight}, must be in 1-100 range"))
        })?;
    let preference = Selector::parse(&spec.preference).map_err(|error| {
        Fault::new("preference", format!("invalid preferredNodeSelectors: {error}"))
    })?;
    Ok(PreferredNodes { weight, preference })
}

pub(super) fn parse_bgp(
    name: &Arc<str>,
    spec: &BgpAdvertisementSpec,
    aliases: &BTreeMap<Box<str>, Community>,
) -> Result<BgpAdvertisement, Fault> {
    let pools = PoolSelection {
        names: selector::names("ipAddressPools", spec.ip_address_pools.as_deref())?,
        selectors: selector::parse(
            "ipAddressPoolSelectors",
            spec.ip_address_pool_selectors.as_deref(),
        )?,
        except: Arc::default(),
    };
    if let Some((index, community)) = selector::repeated(spec.communities.as_deref()) {
        let message = format!("duplicate definition of community {community:?}");
        return Err(Fault::new(("communities", index), message));
    }
    let node_selectors = selector::parse("nodeSelectors", spec.node_selectors.as_deref())?;
    let service_selectors = selector::parse("serviceSelectors", spec.service_selectors.as_deref())?;
    let aggregation_length = length("aggregationLength", spec.aggregation_length, 1, 32)?;
    // MetalLB's schema has no lower bound here; a prefix shorter than none is none.
    let aggregation_length_v6 =
        length("aggregationLengthV6", spec.aggregation_length_v6.map(|it| it.max(0)), 0, 128)?;
    if !service_selectors.is_empty() && (aggregation_length, aggregation_length_v6) != (32, 128) {
        return Err(Fault::new(
            "serviceSelectors",
            "serviceSelectors and aggregationLength are mutually exclusive, can only be used together with \
             default aggregationLength (32) and aggregationLengthV6 (128)",
        ));
    }
    let (community_references, communities) = communities(spec.communities.as_deref(), aliases)?;
    Ok(BgpAdvertisement {
        name: name.clone(),
        pools,
        aggregation_length,
        aggregation_length_v6,
        local_pref: spec.local_pref.unwrap_or_default(),
        community_references,
        communities,
        node_selectors,
        peers: selector::names("peers", spec.peers.as_deref())?,
        service_selectors,
        as_path_prepend: spec
            .as_path_prepend
            .map(|times| match times {
                0..=MOST_PREPENDS => Ok(times),
                _ => Err(Fault::new(
                    "asPathPrepend",
                    format!("invalid asPathPrepend {times}, must be in 0-{MOST_PREPENDS} range"),
                )),
            })
            .transpose()?
            .unwrap_or_default(),
        med: spec.med,
        extended_communities: spec
            .extended_communities
            .iter()
            .flatten()
            .enumerate()
            .map(|(index, text)| {
                text.parse().map_err(|error: CommunityError| {
                    Fault::new(("extendedCommunities", index), error.to_string())
                })
            })
            .collect::<Result<_, _>>()?,
        external_ip_pools: spec
            .external_ip_pools
            .iter()
            .flatten()
            .map(|name| name.as_str().into())
            .collect(),
    })
}

/// A prefix length; `most` when absent.
fn length(field: &'static str, value: Option<i32>, least: u8, most: u8) -> Result<u8, Fault> {
    let Some(value) = value else { return Ok(most) };
    u8::try_from(value).ok().filter(|value| (least..=most).contains(value)).ok_or_else(|| {
        let message =
            format!("invalid aggregation length {value}, must be in {least}-{most} range");
        Fault::new(field, message)
    })
}

/// The communities as written, and what they stand for: an alias goes before a well-known name.
fn communities(
    texts: Option<&[String]>,
    aliases: &BTreeMap<Box<str>, Community>,
) -> Result<(Vec<CommunityReference>, BTreeSet<Community>), Fault> {
    let mut references = Vec::new();
    let mut values = BTreeSet::new();
    for (index, text) in texts.unwrap_or_default().iter().enumerate() {
        let unusable = |error: CommunityError| {
            let message = format!("{error}\ninvalid community {text:?} in BGP advertisement");
            Fault::new(("communities", index), message)
        };
        let reference: CommunityReference = text.parse().map_err(unusable)?;
        values.insert(match &reference {
            CommunityReference::Value(value) => *value,
            CommunityReference::Alias(alias) => aliases
                .get(alias)
                .copied()
                .or_else(|| Community::well_known(alias))
                .ok_or_else(|| unusable(CommunityError::Format(text.clone())))?,
        });
        references.push(reference);
    }
    Ok((references, values))
}
