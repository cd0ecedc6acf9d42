// SPDX-License-Identifier: Apache-2.0
//! Which field of a configuration object a rejection is about. The texts of rejections are the contract's and name no
//! field; a text that is not known here is about the object as a whole.

use crds::antrea::ExternalIpPoolSpec;
use crds::config::{ConfigKind, Rejection};
use crds::metallb::address_pool::AddressPoolSpec;
use crds::metallb::{
    BfdProfileSpec, BgpAdvertisementSpec, BgpPeerSpec, CommunitySpec, IpAddressPoolSpec,
    L2AdvertisementSpec,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Fields of `spec` that a text names by themselves, after `invalid`, `duplicate definition of`, or a colon.
const NAMED: [&str; 19] = [
    "asPathPrepend",
    "detectMultiplier",
    "echoInterval",
    "gracefulRestartTime",
    "ipAddressPoolSelectors",
    "ipAddressPools",
    "keepaliveTime",
    "longLivedStaleTime",
    "minimumTtl",
    "namespaceSelectors",
    "namespaces",
    "nodeSelectors",
    "peers",
    "preferredNodeSelectors",
    "receiveInterval",
    "role",
    "serviceSelectors",
    "transmitInterval",
    "ttlSecurity",
];

/// What stands in a text, and the field of `spec` that it is about.
const MARKS: [(&str, &str); 28] = [
    ("overlaps with range [", "ipRanges"),
    ("range [", "ipRanges"),
    ("invalid prefixLength", "subnetInfo"),
    ("pool has no prefixes defined", "addresses"),
    ("invalid CIDR ", "addresses"),
    ("overlaps with already defined CIDR", "addresses"),
    ("serviceSelectors and aggregationLength", "serviceSelectors"),
    ("must be in 1-32 range", "aggregationLength"),
    ("must be in 0-128 range", "aggregationLengthV6"),
    ("is more specific than the aggregation length", "aggregationLength"),
    ("invalid local preference", "localPref"),
    ("invalid weight", "preferredNodeSelectors"),
    ("parsing community ", "communities"),
    ("definition of community ", "communities"),
    ("invalid community ", "communities"),
    ("missing local ASN", "myASN"),
    ("missing peer ASN", "peerASN"),
    ("dynamicASN", "dynamicASN"),
    ("has no Address", "peerAddress"),
    ("has both Address", "interface"),
    ("invalid BGPPeer address", "peerAddress"),
    ("invalid router ID", "routerID"),
    ("invalid source IP", "sourceAddress"),
    ("invalid hold time", "holdTime"),
    ("connect time should", "connectTime"),
    ("ebgp-multihop", "ebgpMultiHop"),
    ("non existing bfd profile", "bfdProfile"),
    ("both password and secret ref", "passwordSecret"),
];

/// The field that a rejection is about, within the object as it was written.
pub(super) fn of(rejection: &Rejection, object: &Value) -> Option<String> {
    let text = &rejection.message;
    if text.contains(" can not be read: ") {
        return unreadable(rejection.kind, object);
    }
    let field = of_text(text)?;
    let field = match (rejection.kind, field) {
        (ConfigKind::IpAddressPool, "namespaces" | "namespaceSelectors" | "serviceSelectors") => {
            format!("spec.serviceAllocation.{field}")
        }
        // It is the advertisement that asks for it, and the pool is as long as it is.
        (ConfigKind::IpAddressPool, "aggregationLength") => "spec.addresses".to_owned(),
        _ => format!("spec.{field}"),
    };
    Some(item(&field, text, object).unwrap_or(field))
}

/// The field of `spec` that a text is about.
pub(super) fn of_text(text: &str) -> Option<&'static str> {
    let marked = || MARKS.iter().find(|(mark, _)| text.contains(mark)).map(|(_, field)| *field);
    named(text).or_else(marked)
}

/// The first field that the text names by itself.
fn named(text: &str) -> Option<&'static str> {
    let mut words = text.split([' ', ':', ',', '\n']).peekable();
    while let Some(word) = words.next() {
        let next = words.peek().copied().unwrap_or_default();
        let announces = matches!(word, "invalid" | "of" | "in") || word.is_empty();
        if let Some(field) = NAMED.iter().find(|field| announces && **field == next) {
            return Some(field);
        }
    }
    None
}

/// The item of a list that the text quotes: of equal ones the last, for one too many is what it is about.
fn item(field: &str, text: &str, object: &Value) -> Option<String> {
    let pointer = format!("/{}", field.replace('.', "/"));
    let items = object.pointer(&pointer)?.as_array()?;
    let is_quoted = |item: &Value| {
        let name = item.get("name").unwrap_or(item).as_str();
        name.is_some_and(|name| !name.is_empty() && text.contains(&format!("{name:?}")))
    };
    // Ranges of an ExternalIPPool are quoted as `range [a-b]`: the first one is the guilty one.
    let range = |item: &Value| {
        let text = |field: &str| item.get(field).and_then(Value::as_str).unwrap_or_default();
        match text("cidr") {
            "" => format!("{}-{}", text("start"), text("end")),
            cidr => cidr.to_owned(),
        }
    };
    let quoted = text.split_once("range [").and_then(|(_, rest)| Some(rest.split_once(']')?.0));
    let is_range = |item: &Value| quoted.is_some_and(|quoted| quoted == range(item));
    let index = items.iter().rposition(|item| is_quoted(item) || is_range(item))?;
    Some(format!("{field}[{index}]"))
}

/// The field at which an object does not fit its type.
fn unreadable(kind: ConfigKind, object: &Value) -> Option<String> {
    fn path<T: DeserializeOwned>(spec: &Value) -> Option<String> {
        let error = serde_path_to_error::deserialize::<_, T>(spec).err()?;
        match error.path().to_string().as_str() {
            "." => Some("spec".to_owned()),
            path => Some(format!("spec.{path}")),
        }
    }
    let spec = object.get("spec")?;
    match kind {
        ConfigKind::IpAddressPool => path::<IpAddressPoolSpec>(spec),
        ConfigKind::L2Advertisement => path::<L2AdvertisementSpec>(spec),
        ConfigKind::BgpAdvertisement => path::<BgpAdvertisementSpec>(spec),
        ConfigKind::BgpPeer => path::<BgpPeerSpec>(spec),
        ConfigKind::BfdProfile => path::<BfdProfileSpec>(spec),
        ConfigKind::Community => path::<CommunitySpec>(spec),
        ConfigKind::ExternalIpPool => path::<ExternalIpPoolSpec>(spec),
        ConfigKind::AddressPool => path::<AddressPoolSpec>(spec),
    }
}
