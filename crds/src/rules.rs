// SPDX-License-Identifier: Apache-2.0
//! The rules that the API server asks of several fields together, in its expression language, each with the field that breaks it. The schemas have
//! no `fieldPath`, which API servers know since Kubernetes 1.28 only.

use serde::Serialize;

use crate::config::{ConfigKind, FieldPath};

/// A rule of `x-kubernetes-validations`.
#[derive(Serialize)]
pub(crate) struct Rule {
    message: &'static str,
    rule: &'static str,
    /// The names from `spec` to the field to look at; the rule is one of what holds that field.
    #[serde(skip)]
    field: &'static [&'static str],
}

pub(crate) const IP_ADDRESS_POOL: [Rule; 1] = [Rule {
    message: "pool has no prefixes defined",
    rule: "size(self.addresses) > 0",
    field: &["addresses"],
}];

pub(crate) const BGP_ADVERTISEMENT: [Rule; 3] = [
    Rule {
        message: "serviceSelectors and aggregationLength are mutually exclusive, can only be used \
            together with default aggregationLength (32) and aggregationLengthV6 (128)",
        rule: "!has(self.serviceSelectors) || self.serviceSelectors.size() == 0 || \
            ((!has(self.aggregationLength) || self.aggregationLength == 32) && \
            (!has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128))",
        field: &["serviceSelectors"],
    },
    Rule {
        message: "invalid aggregation length, must be in 1-32 range",
        rule: "!has(self.aggregationLength) || self.aggregationLength <= 32",
        field: &["aggregationLength"],
    },
    Rule {
        message: "invalid aggregation length, must be in 0-128 range",
        rule: "!has(self.aggregationLengthV6) || self.aggregationLengthV6 <= 128",
        field: &["aggregationLengthV6"],
    },
];

/// What one peer can have wrong, in the words of the webhook (contract 6.2). Of fields that refer to other objects, which MetalLB's
/// webhook does not look at, a plain password beside a Secret among them, and of addresses, which the expressions of older API
/// servers cannot read, nothing is said here.
pub(crate) const BGP_PEER: [Rule; 8] = [
    Rule { message: "missing local ASN", rule: "self.myASN != 0", field: &["myASN"] },
    Rule {
        message: "missing peer ASN and dynamicASN",
        rule: "(has(self.peerASN) && self.peerASN != 0) || has(self.dynamicASN)",
        field: &["peerASN"],
    },
    Rule {
        message: "both peer ASN and dynamicASN specified",
        rule: "!(has(self.peerASN) && self.peerASN != 0 && has(self.dynamicASN))",
        field: &["dynamicASN"],
    },
    Rule {
        message: "invalid ebgp-multihop parameter set for an ibgp peer",
        rule: "!(has(self.ebgpMultiHop) && self.ebgpMultiHop && has(self.peerASN) && self.peerASN == self.myASN)",
        field: &["ebgpMultiHop"],
    },
    Rule {
        message: "peer has no Address or Interface specified",
        rule: "(has(self.peerAddress) && self.peerAddress != '') || (has(self.interface) && self.interface != '')",
        field: &["peerAddress"],
    },
    Rule {
        message: "peer has both Address and Interface specified",
        rule: "!(has(self.peerAddress) && self.peerAddress != '' && has(self.interface) && self.interface != '')",
        field: &["interface"],
    },
    Rule {
        message: "invalid BGPPeer timers: invalid hold time: must be 0, or 3s or more",
        rule: "!has(self.holdTime) || (duration(self.holdTime) >= duration('0s') && (duration(self.holdTime).getSeconds() == 0 || duration(self.holdTime).getSeconds() >= 3))",
        field: &["holdTime"],
    },
    Rule {
        message: "invalid BGPPeer timers: invalid keepaliveTime: must not be longer than the hold time",
        rule: "!has(self.holdTime) || !has(self.keepaliveTime) || duration(self.keepaliveTime) <= duration(self.holdTime)",
        field: &["keepaliveTime"],
    },
];

/// Of an `ExternalIPPool`. The rule says what Antrea's webhook says (contract C.3 rule 1), without the number: an expression for the message
/// costs more than an API server allows beside texts without a greatest length.
pub(crate) const SUBNET_INFO: [Rule; 1] = [Rule {
    message: "invalid prefixLength",
    rule: "self.gateway.contains(':') || self.prefixLength <= 31",
    field: &["subnetInfo", "prefixLength"],
}];

/// The field that an object of that kind has wrong, of whose `spec`, or part of it, an API server says `message`: the field's parent is what
/// the API server names.
#[must_use]
pub fn field_of_rule(kind: ConfigKind, message: &str) -> Option<FieldPath> {
    let rules = match kind {
        ConfigKind::IpAddressPool => &IP_ADDRESS_POOL[..],
        ConfigKind::BgpAdvertisement => &BGP_ADVERTISEMENT,
        ConfigKind::BgpPeer => &BGP_PEER,
        ConfigKind::ExternalIpPool => &SUBNET_INFO,
        ConfigKind::AddressPool
        | ConfigKind::L2Advertisement
        | ConfigKind::BfdProfile
        | ConfigKind::Community => &[],
    };
    let rule = rules.iter().find(|rule| rule.message == message)?;
    Some(rule.field.iter().fold("spec".into(), |field: FieldPath, name| field.name(*name)))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Each rule that a definition has of the whole `spec` or of a part of it names a field there.
    #[test]
    fn every_rule_of_several_fields_names_one_of_them() {
        let mut seen = 0;
        for (_, definition) in crate::metallb::manifest::manifests() {
            let kind = definition.pointer("/spec/names/kind").and_then(Value::as_str);
            let Some(kind) = kind.and_then(ConfigKind::from_kind) else { continue };
            for version in definition["spec"]["versions"].as_array().into_iter().flatten() {
                let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
                let parts = spec["properties"].as_object().into_iter().flatten();
                let parts =
                    parts.map(|(name, part)| (FieldPath::from("spec").name(name.clone()), part));
                for (at, part) in std::iter::once((FieldPath::from("spec"), spec)).chain(parts) {
                    let fields = part["properties"].as_object();
                    let rules = part["x-kubernetes-validations"].as_array();
                    for rule in rules.filter(|_| fields.is_some()).into_iter().flatten() {
                        let message = rule["message"].as_str().unwrap_or_default();
                        let told = field_of_rule(kind, message);
                        let known = fields.into_iter().flatten();
                        let mut known = known.map(|(name, _)| at.clone().name(name.clone()));
                        assert!(
                            known.any(|field| Some(&field) == told.as_ref()),
                            "{kind}: {message}"
                        );
                        seen += 1;
                    }
                }
            }
        }
        assert!(seen >= 13, "{seen} rules");
    }
}
