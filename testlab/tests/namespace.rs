// SPDX-License-Identifier: Apache-2.0
//! What the tests of other crates count on: what is made is taken away, also when a test fails.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use testlab::{Namespace, run};

fn there() -> String {
    run("ip", &["netns", "list"])
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_namespace_is_gone_after_a_panic() {
    let mut name = String::new();
    let failed = catch_unwind(AssertUnwindSafe(|| {
        let namespace = Namespace::new("labt", "panic");
        namespace.name().clone_into(&mut name);
        assert!(there().contains(&name));
        panic!("a test that fails");
    }));
    assert!(failed.is_err() && name.starts_with("labt-"));
    assert!(!there().contains(&name));
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn what_runs_inside_sees_the_links_of_its_namespace_alone() {
    let (one, other) = (Namespace::new("labt", "one"), Namespace::new("labt", "other"));
    one.join("left", &other, "right");
    one.up("left");
    other.up("right");
    one.address("left", "192.0.2.1/24");
    other.address("right", "2001:db8::1/64");
    let links = || std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let (inside_one, inside_other) = (one.inside(links), other.inside(links));
    assert!(inside_one.contains("left:") && !inside_one.contains("right:"), "{inside_one}");
    assert!(inside_other.contains("right:") && !inside_other.contains("left:"), "{inside_other}");
    assert!(one.ip(&["-4", "addr", "show", "dev", "left"]).contains("192.0.2.1/24"));
    let output = testlab::output(other.command("cat").arg("/proc/net/if_inet6")).unwrap();
    let addresses = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(addresses.contains("20010db8000000000000000000000001"), "{addresses}");
}
