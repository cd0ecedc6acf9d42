// SPDX-License-Identifier: Apache-2.0
//! `ExternalIPPool`: the rules of contract C.3 in their order and words, and which addresses its ranges give (contract C.4).

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::address::{PrefixError, parse_address, parse_prefix};
use crate::antrea::{ExternalIpPoolSpec, IpRange, SubnetInfo};
use crate::config::fault::{Fault, FieldPath, OtherEntry};
use crate::config::objects::ConfigKind;
use crate::config::pool::{AntreaPolicy, Policy, Pool, WrittenRange, without_special};
use crate::config::range::{AddressRange, Family, from_number, to_number};
use crate::labels::{Labels, Selector};

/// The field of the ranges.
const LIST: &str = "ipRanges";

/// So many addresses of a range are given at most.
const MOST: u128 = 65_536;

pub(super) fn parse(
    name: &Arc<str>,
    labels: &Labels,
    spec: &ExternalIpPoolSpec,
) -> Result<Pool, Fault> {
    let subnet = spec.subnet_info.as_ref().map(Subnet::parse).transpose();
    let subnet = subnet.map_err(|fault| fault.within("subnetInfo"))?;
    let entries = spec.ip_ranges.iter().enumerate();
    let written = entries
        .map(|(index, entry)| range(entry).map_err(|text| Fault::new((LIST, index), text)))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(subnet) = &subnet {
        let outside = written.iter().enumerate().find(|(_, range)| !subnet.holds(&range.whole));
        if let Some((index, WrittenRange { text, .. })) = outside {
            let message = format!("range [{text}] must be a strict subset of the subnet {subnet}");
            return Err(Fault::new((LIST, index), message));
        }
    }
    for (index, range) in written.iter().enumerate() {
        let mut before = written.iter().take(index).enumerate();
        let earlier = before.find(|(_, earlier)| earlier.whole.overlaps(&range.whole));
        if let Some((earlier, WrittenRange { text, .. })) = earlier {
            let message = format!("range [{}] overlaps with range [{text}]", range.text);
            return Err(Fault::new((LIST, index), message).against(of_pool(name, earlier)));
        }
    }
    let ranges = spec.ip_ranges.iter().zip(&written).map(|(spec, range)| given(spec, &range.whole));
    let (ranges, special) = without_special(ranges);
    Ok(Pool {
        name: name.clone(),
        labels: labels.clone(),
        ranges,
        special,
        contested: Vec::new(),
        policy: Policy::Antrea(AntreaPolicy {
            // A selector that cannot be read is no mistake to Antrea; it selects nothing.
            node_selector: Selector::parse(&spec.node_selector).ok(),
            gateway: subnet.map(|subnet| subnet.gateway),
            written,
        }),
    })
}

/// The ranges of `old` that `new` no longer has, as one of the messages of contract C.3 (rule 6): ranges can only be added.
pub(crate) fn removed(old: &ExternalIpPoolSpec, new: &ExternalIpPoolSpec) -> Option<String> {
    let now: Vec<String> = new.ip_ranges.iter().map(text).collect();
    let mut gone: Vec<String> =
        old.ip_ranges.iter().map(text).filter(|range| !now.contains(range)).collect();
    gone.sort();
    (!gone.is_empty())
        .then(|| format!("existing IPRanges [{}] cannot be updated or deleted", gone.join(" ")))
}

/// What the range with this index overlaps with in another pool, in the words of contract C.3 (rule 5).
pub(super) fn overlap(index: usize, range: &WrittenRange, other: &Pool) -> Option<Fault> {
    let Policy::Antrea(policy) = &other.policy else { return None };
    let mut written = policy.written.iter().enumerate();
    let (old, WrittenRange { text, .. }) =
        written.find(|(_, old)| old.whole.overlaps(&range.whole))?;
    let message = format!(
        "range [{}] overlaps with range [{text}] of ExternalIPPool {}",
        range.text, other.name
    );
    Some(Fault::new((LIST, index), message).within("spec").against(of_pool(&other.name, old)))
}

/// A range of a pool.
fn of_pool(name: &Arc<str>, index: usize) -> OtherEntry {
    let field = FieldPath::from((LIST, index)).within("spec".into());
    OtherEntry { kind: ConfigKind::ExternalIpPool, name: Arc::clone(name), field }
}

fn text(range: &IpRange) -> String {
    if range.cidr.is_empty() {
        format!("{}-{}", range.start, range.end)
    } else {
        range.cidr.clone()
    }
}

fn range(spec: &IpRange) -> Result<WrittenRange, String> {
    let text = text(spec).into();
    if !spec.cidr.is_empty() {
        let net = parse_prefix(&spec.cidr).map_err(|error| match error {
            PrefixError::Syntax => format!("invalid cidr {}", spec.cidr),
            PrefixError::Mapped => format!("invalid cidr {}: {error}", spec.cidr),
        })?;
        let whole = AddressRange::new(net.network(), net.broadcast());
        let whole = whole.ok_or_else(|| format!("invalid cidr {}", spec.cidr))?;
        return Ok(WrittenRange { text, whole });
    }
    let IpRange { start, end, .. } = spec;
    let first = parse_address(start).ok_or_else(|| format!("invalid start ip address {start}"))?;
    let last = parse_address(end).ok_or_else(|| format!("invalid end ip address {end}"))?;
    if Family::of(first) != Family::of(last) {
        return Err(format!(
            "range start {start} and range end {end} should belong to same family"
        ));
    }
    let whole = AddressRange::new(first, last)
        .ok_or_else(|| format!("range start {start} should not be greater than range end {end}"))?;
    Ok(WrittenRange { text, whole })
}

/// What is given of a range. Of a CIDR not its first address, nor of IPv4 its last; of the CIDRs too small for that all of it,
/// where Antrea gives nothing (contract C.14). Where the limit cuts an IPv4 CIDR short, Antrea's count leaves out one more.
fn given(spec: &IpRange, whole: &AddressRange) -> AddressRange {
    let family = whole.family();
    let hosts = whole.size();
    let (first, last) = (to_number(whole.first()), to_number(whole.last()));
    let limit = |first: u128, most: u128| last.min(first.saturating_add(most - 1));
    let (first, last) = match (spec.cidr.is_empty(), family) {
        (true, _) => (first, limit(first, MOST)),
        (false, Family::V4) if hosts <= 2 => (first, last),
        (false, Family::V6) if hosts == 1 => (first, last),
        (false, Family::V4) => (first + 1, limit(first + 1, MOST - 1).min(last - 1)),
        (false, Family::V6) => (first + 1, limit(first + 1, MOST)),
    };
    let range = AddressRange::new(from_number(family, first), from_number(family, last));
    // The ends are in order by construction.
    range.unwrap_or(*whole)
}

/// A gateway and the subnet around it.
struct Subnet {
    gateway: IpAddr,
    net: IpNet,
    text: String,
}

impl Subnet {
    fn parse(spec: &SubnetInfo) -> Result<Self, Fault> {
        let SubnetInfo { gateway, prefix_length, .. } = spec;
        let address = parse_address(gateway)
            .ok_or_else(|| Fault::new("gateway", format!("invalid gateway address {gateway}")))?;
        let longest = if address.is_ipv4() { 31 } else { 127 };
        let net = u8::try_from(*prefix_length)
            .ok()
            .filter(|length| (1..=longest).contains(length))
            .and_then(|length| IpNet::new(address, length).ok())
            .ok_or_else(|| {
                Fault::new("prefixLength", format!("invalid prefixLength {prefix_length}"))
            })?;
        Ok(Self { gateway: address, net, text: format!("{gateway}/{prefix_length}") })
    }

    fn holds(&self, range: &AddressRange) -> bool {
        self.net.contains(&range.first()) && self.net.contains(&range.last())
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}
