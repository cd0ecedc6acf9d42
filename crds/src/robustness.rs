// SPDX-License-Identifier: Apache-2.0
//! The bodies of the fuzz targets `review` and `conversion`, also run as property tests: arbitrary octets as what an API server, or
//! somebody in its name, asks the webhooks. They panic when a rule is broken. Not used by the programs.

use crate::admission::{Review, alone, converted};

/// What an answer may have beyond twice its question, in octets.
const SLACK: usize = 64 << 10;

/// Octets as an `AdmissionReview`, and as the object in one that is right.
pub fn review(data: &[u8]) {
    for body in [data.to_vec(), within(REVIEW, data)] {
        if let Ok(review) = Review::parse(&body) {
            let answer = alone(&review, "metallb-system");
            let answer = review.answered(&answer).to_string();
            assert!(answer.len() <= 8 * body.len() + SLACK, "{} for {}", answer.len(), body.len());
        }
    }
}

/// Octets as a `ConversionReview`, and as the objects in one that is right.
pub fn conversion(data: &[u8]) {
    for body in [data.to_vec(), within(CONVERSION, data)] {
        if let Ok(answer) = converted(&body) {
            let length: usize = answer.iter().map(Vec::len).sum();
            assert!(length <= 2 * body.len() + SLACK, "{length} for {}", body.len());
        }
    }
}

const REVIEW: (&str, &str) = (
    r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","kind":{"group":"metallb.io","version":"v1beta1","kind":"IPAddressPool"},"operation":"CREATE","namespace":"metallb-system","name":"p","object":"#,
    "}}",
);
const CONVERSION: (&str, &str) = (
    r#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"ConversionReview","request":{"uid":"u","desiredAPIVersion":"metallb.io/v1beta2","objects":["#,
    "]}}",
);

fn within((head, tail): (&str, &str), data: &[u8]) -> Vec<u8> {
    [head.as_bytes(), data, tail.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POOL: &str = r#"{"apiVersion":"metallb.io/v1beta1","kind":"IPAddressPool","metadata":{"name":"p"},"spec":{"addresses":["10.0.0.0/30"]}}"#;
    const PEER: &str = r#"{"apiVersion":"metallb.io/v1beta1","kind":"BGPPeer","metadata":{"name":"p"},"spec":{"myASN":1,"peerASN":2,"peerAddress":"10.0.0.1"}}"#;

    #[test]
    fn what_is_right_is_answered() {
        assert!(Review::parse(&within(REVIEW, POOL.as_bytes())).is_ok());
        let answer = converted(&within(CONVERSION, PEER.as_bytes())).unwrap().concat();
        assert!(String::from_utf8(answer).unwrap().contains("metallb.io/v1beta2"));
    }

    proptest! {
        #[test]
        fn no_octets_break_the_webhooks(
            octets in prop::collection::vec(any::<u8>(), 0..300),
            changes in prop::collection::vec((0_usize..120, any::<u8>()), 0..6),
        ) {
            review(&octets);
            conversion(&octets);
            for seed in [POOL, PEER] {
                let mut mangled = seed.as_bytes().to_vec();
                for (at, octet) in &changes {
                    if let Some(place) = mangled.get_mut(*at) {
                        *place = *octet;
                    }
                }
                review(&mangled);
                conversion(&mangled);
            }
        }
    }
}
