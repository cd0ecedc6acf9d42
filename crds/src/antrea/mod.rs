// SPDX-License-Identifier: Apache-2.0
//! The kinds of Antrea's API group `crd.antrea.io` that ferrolb serves (contract C), as the API server stores them, and
//! the annotations of Services that go with them.

#![allow(clippy::duplicated_attributes, reason = "printer columns of one type are no duplicates")]

mod external_ip_pool;

pub use external_ip_pool::{
    ExternalIpPool, ExternalIpPoolSpec, ExternalIpPoolStatus, IpRange, SubnetInfo, Usage,
};

/// The API group of every kind here.
pub const GROUP: &str = "crd.antrea.io";

/// The Service annotation that names an `ExternalIPPool`: with it the Service is served as Antrea would, and by nothing else.
pub const POOL_ANNOTATION: &str = "service.antrea.io/external-ip-pool";

/// The Service annotation that lets several Services request one address.
pub const SHARING_ANNOTATION: &str = "service.antrea.io/allow-shared-load-balancer-ip";

/// A truth value as Go's `strconv.ParseBool` reads it; whatever else is written is not true (contract C.1).
#[must_use]
pub fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

#[cfg(test)]
mod tests {
    #[test]
    fn truth_is_what_go_takes_for_it() {
        for (text, expected) in [
            ("true", true),
            ("True", true),
            ("TRUE", true),
            ("t", true),
            ("T", true),
            ("1", true),
            ("tRUE", false),
            ("yes", false),
            ("", false),
            ("0", false),
            (" true", false),
        ] {
            assert_eq!(super::is_true(text), expected, "{text:?}");
        }
    }
}
