// SPDX-License-Identifier: Apache-2.0
//! The rules that the API server asks of a whole `spec`, in its expression language, each with the field that breaks it. The schemas have
//! no `fieldPath`, which API servers know since Kubernetes 1.28 only.

use serde::Serialize;

use crate::config::{ConfigKind, FieldPath};

/// A rule of `x-kubernetes-validations`.
#[derive(Serialize)]
pub(super) struct Rule {
    message: &'static str,
    rule: &'static str,
    /// The field of `spec` to look at.
    #[serde(skip)]
    field: &'static str,
}

pub(super) const IP_ADDRESS_POOL: [Rule; 1] = [Rule {
    message: "pool has no prefixes defined",
    rule: "size(self.addresses) > 0",
    field: "addresses",
}];

pub(super) const BGP_ADVERTISEMENT: [Rule; 3] = [
    Rule {
        message: "serviceSelectors and aggregationLength are mutually exclusive, can only be used \
            together with default aggregationLength (32) and aggregationLengthV6 (128)",
        rule: "!has(self.serviceSelectors) || self.serviceSelectors.size() == 0 || \
            ((!has(self.aggregationLength) || self.aggregationLength == 32) && \
            (!has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128))",
        field: "serviceSelectors",
    },
    Rule {
        message: "invalid aggregation length, must be in 1-32 range",
        rule: "!has(self.aggregationLength) || self.aggregationLength <= 32",
        field: "aggregationLength",
    },
    Rule {
        message: "invalid aggregation length, must be in 0-128 range",
        rule: "!has(self.aggregationLengthV6) || self.aggregationLengthV6 <= 128",
        field: "aggregationLengthV6",
    },
];

/// What one peer can have wrong, in the words of the webhook (contract 6.2). Of fields that refer to other objects, which MetalLB's
/// webhook does not look at, a plain password beside a Secret among them, and of addresses, which the expressions of older API
/// servers cannot read, nothing is said here.
pub(super) const BGP_PEER: [Rule; 8] = [
    Rule { message: "missing local ASN", rule: "self.myASN != 0", field: "myASN" },
    Rule {
        message: "missing peer ASN and dynamicASN",
        rule: "(has(self.peerASN) && self.peerASN != 0) || has(self.dynamicASN)",
        field: "peerASN",
    },
    Rule {
        message: "both peer ASN and dynamicASN specified",
        rule: "!(has(self.peerASN) && self.peerASN != 0 && has(self.dynamicASN))",
        field: "dynamicASN",
    },
    Rule {
        message: "invalid ebgp-multihop parameter set for an ibgp peer",
        rule: "!(has(self.ebgpMultiHop) && self.ebgpMultiHop && has(self.peerASN) && self.peerASN == self.myASN)",
        field: "ebgpMultiHop",
    },
    Rule {
        message: "peer has no Address or Interface specified",
        rule: "(has(self.peerAddress) && self.peerAddress != '') || (has(self.interface) && self.interface != '')",
        field: "peerAddress",
    },
    Rule {
        message: "peer has both Address and Interface specified",
        rule: "!(has(self.peerAddress) && self.peerAddress != '' && has(self.interface) && self.interface != '')",
        field: "interface",
    },
    Rule {
        message: "invalid BGPPeer timers: invalid hold time: must be 0, or 3s or more",
        rule: "!has(self.holdTime) || (duration(self.holdTime) >= duration('0s') && (duration(self.holdTime).getSeconds() == 0 || duration(self.holdTime).getSeconds() >= 3))",
        field: "holdTime",
    },
    Rule {
        message: "invalid BGPPeer timers: invalid keepaliveTime: must not be longer than the hold time",
        rule: "!has(self.holdTime) || !has(self.keepaliveTime) || duration(self.keepaliveTime) <= duration(self.holdTime)",
        field: "keepaliveTime",
    },
];

/// The field that an object of that kind has wrong, of whose `spec` an API server says `message`.
#[must_use]
pub fn field_of_rule(kind: ConfigKind, message: &str) -> Option<FieldPath> {
    let rules = match kind {
        ConfigKind::IpAddressPool => &IP_ADDRESS_POOL[..],
        ConfigKind::BgpAdvertisement => &BGP_ADVERTISEMENT,
        ConfigKind::BgpPeer => &BGP_PEER,
        ConfigKind::AddressPool
        | ConfigKind::ExternalIpPool
        | ConfigKind::L2Advertisement
        | ConfigKind::BfdProfile
        | ConfigKind::Community => &[],
    };
    let rule = rules.iter().find(|rule| rule.message == message)?;
    Some(FieldPath::from("spec").name(rule.field))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Each rule that a definition has of a whole `spec` names a field that the `spec` has.
    #[test]
    fn every_rule_of_a_spec_names_a_field() {
        let mut seen = 0;
        for (_, definition) in crate::metallb::manifest::manifests() {
            let kind = definition.pointer("/spec/names/kind").and_then(Value::as_str);
            let Some(kind) = kind.and_then(ConfigKind::from_kind) else { continue };
            for version in definition["spec"]["versions"].as_array().into_iter().flatten() {
                let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
                for rule in spec["x-kubernetes-validations"].as_array().into_iter().flatten() {
                    let message = rule["message"].as_str().unwrap_or_default();
                    let field = field_of_rule(kind, message).map(|field| field.to_string());
                    let name = field.as_deref().and_then(|field| field.strip_prefix("spec."));
                    let known = name.and_then(|name| spec["properties"].get(name));
                    assert!(known.is_some(), "{kind}: {message}: {field:?}");
                    seen += 1;
                }
            }
        }
        assert!(seen >= 12, "{seen} rules");
    }
}
