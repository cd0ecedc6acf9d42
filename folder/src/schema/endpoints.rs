// SPDX-License-Identifier: Apache-2.0
//! The API server's rules for EndpointSlices.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::Deserialize;
use serde_json::Value;

use super::Fault;
use super::metadata::{LABEL, SUBDOMAIN, qualified};
use super::service::word;

pub(super) const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const ADDRESS_TYPES: [&str; 3] = ["FQDN", "IPv4", "IPv6"];
/// The most endpoints of a slice, and the most addresses of an endpoint.
const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;

/// Judges an EndpointSlice whose fields have the right types.
pub(super) fn judge(object: &Value, faults: &mut Vec<Fault>) {
    let Ok(slice) = EndpointSlice::deserialize(object) else {
        return faults.push(Fault::refused("", "cannot be read as an EndpointSlice"));
    };
    let mut refuse = |field: String, message: String| faults.push(Fault::refused(field, message));
    let kind = &*slice.address_type;
    if kind.is_empty() {
        refuse("addressType".to_owned(), "missing: IPv4, IPv6 or FQDN".to_owned());
    } else if let Some(wrong) = word(kind, &ADDRESS_TYPES) {
        refuse("addressType".to_owned(), wrong);
    }
    let mut names = BTreeSet::new();
    for (index, port) in slice.ports.iter().flatten().enumerate() {
        let at = |field: &str| format!("ports[{index}].{field}");
        let name = port.name.as_deref().unwrap_or_default();
        if !names.insert(name) {
            refuse(at("name"), format!("{name:?} is the name of another port already"));
        } else if !name.is_empty()
            && let Some(wrong) = LABEL.fault(name)
        {
            refuse(at("name"), wrong);
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        if let Some(wrong) = word(protocol, &PROTOCOLS) {
            refuse(at("protocol"), wrong);
        }
        if let Some(wrong) = port.app_protocol.as_deref().and_then(qualified) {
            refuse(at("appProtocol"), wrong);
        }
    }
    if slice.endpoints.len() > MAX_ENDPOINTS {
        let count = slice.endpoints.len();
        refuse("endpoints".to_owned(), format!("{count} are too many: at most {MAX_ENDPOINTS}"));
        return;
    }
    for (index, endpoint) in slice.endpoints.iter().enumerate() {
        let path = format!("endpoints[{index}].addresses");
        match endpoint.addresses.len() {
            0 => refuse(path.clone(), "missing: an endpoint needs an address".to_owned()),
            count if count > MAX_ADDRESSES => {
                refuse(path.clone(), format!("{count} are too many: at most {MAX_ADDRESSES}"));
            }
            _ => {}
        }
        for (position, text) in endpoint.addresses.iter().enumerate() {
            let wrong = match kind {
                "IPv4" | "IPv6" => endpoint_address(text).or_else(|| family(text, kind)),
                "FQDN" => SUBDOMAIN.fault(text),
                _ => None,
            };
            if let Some(wrong) = wrong {
                refuse(format!("{path}[{position}]"), wrong);
            }
        }
        if let Some(wrong) = endpoint.node_name.as_deref().and_then(|name| SUBDOMAIN.fault(name)) {
            refuse(format!("endpoints[{index}].nodeName"), wrong);
        }
        if let Some(wrong) = endpoint.hostname.as_deref().and_then(|name| LABEL.fault(name)) {
            refuse(format!("endpoints[{index}].hostname"), wrong);
        }
    }
}

fn family(text: &str, kind: &str) -> Option<String> {
    let address = crds::address::core_address(text)?.value;
    (address.is_ipv4() != (kind == "IPv4")).then(|| format!("{text:?} is no {kind} address"))
}

/// What is wrong with the address of an endpoint: it is none, or one that leads nowhere.
pub(super) fn endpoint_address(text: &str) -> Option<String> {
    let Some(address) = crds::address::core_address(text) else {
        return Some(format!("{text:?} is not an IP address"));
    };
    let special = match address.value {
        address if address.is_unspecified() => "unspecified",
        address if address.is_loopback() => "a loopback address",
        IpAddr::V4(v4) if v4.is_link_local() => "link-local",
        IpAddr::V4(v4) if v4.octets()[..3] == [224, 0, 0] => "a multicast address of the link",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "link-local",
        IpAddr::V6(v6) if v6.segments()[0] & 0xff0f == 0xff02 => "a multicast address of the link",
        _ => return None,
    };
    Some(format!("{text:?} is {special}, and leads nowhere"))
}
