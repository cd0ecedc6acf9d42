// SPDX-License-Identifier: Apache-2.0
//! What depends on nodes when objects contradict each other (contract 6.3); the other ways are rows of `rejections.yaml`.

use super::{nodes, world};
use crate::config::{Config, Scope, validate};

#[test]
fn advertisements_conflict_only_where_they_share_a_node() {
    let objects = world(
        "IPAddressPool p: {addresses: [10.0.0.0/24]}
---
BGPAdvertisement a: {localPref: 100, nodeSelectors: [{matchLabels: {rack: a}}]}
---
BGPAdvertisement b: {localPref: 200, nodeSelectors: [{matchLabels: {rack: b}}]}",
    );
    for (known, count) in
        [(nodes(&["one rack=a", "two rack=b"]), 0), (nodes(&["one rack=c"]), 0), (nodes(&[]), 1)]
    {
        let (_, rejections) = validate(&objects, &known, Scope::All, &Config::default());
        assert_eq!(rejections.len(), count, "{known:?}");
    }
}
