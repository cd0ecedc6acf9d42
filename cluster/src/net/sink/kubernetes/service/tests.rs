// SPDX-License-Identifier: Apache-2.0
use super::*;

fn write(addresses: &[&str], pool: Option<&str>) -> Task {
    task(Allocation::Write(ServiceStatus {
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        hostname: Hostname::None,
        annotation: "metallb.io/ip-allocated-from-pool",
        pool: pool.map(Into::into),
        condition: None,
    }))
}

fn task(allocation: Allocation) -> Task {
    Task { allocation: Some(allocation), announced: None }
}

/// A write that differs in one thing from one of nothing.
fn write_with(set: impl FnOnce(&mut ServiceStatus)) -> Task {
    let mut task = write(&[], None);
    let Some(Allocation::Write(status)) = &mut task.allocation else { panic!("a write") };
    set(status);
    task
}

fn word(met: bool, message: &str) -> ServiceCondition {
    ServiceCondition { met, reason: "R".into(), message: message.into() }
}

fn with_condition(met: bool, reason: &str) -> Task {
    let condition = ServiceCondition { met, reason: reason.into(), message: "m".into() };
    write_with(|status| status.condition = Some(condition))
}

fn service() -> Value {
    json!({
        "metadata": { "name": "a", "resourceVersion": "7", "unknown": [1, { "x": null }],
                      "annotations": { "other": "kept" } },
        "spec": { "type": "LoadBalancer", "futureField": 12345678901234567_u64 },
        "status": { "conditions": [{ "type": "other/Writer" }], "loadBalancer": {} }
    })
}

#[test]
fn everything_that_others_wrote_survives() {
    let mut object = service();
    assert!(change(&mut object, &write(&["192.0.2.1", "2001:db8::1"], Some("p"))));
    assert_eq!(
        object["status"]["loadBalancer"]["ingress"],
        json!([{ "ip": "192.0.2.1" }, { "ip": "2001:db8::1" }])
    );
    assert_eq!(object["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"], "p");
    assert!(change(&mut object, &write(&[], None)));
    assert_eq!(object, service());
}

#[test]
fn nothing_is_written_when_nothing_changes() {
    let mut object = service();
    assert!(!change(&mut object, &write(&[], None)));
    assert!(change(&mut object, &write(&["192.0.2.1"], Some("p"))));
    let written = object.clone();
    assert!(!change(&mut object, &write(&["192.0.2.1"], Some("p"))));
    assert_eq!(object, written);
}

#[test]
fn the_condition_keeps_its_time_while_its_status_stays_and_others_are_left_alone() {
    let mut object = service();
    assert!(change(&mut object, &with_condition(false, "Exhausted")));
    object["status"]["conditions"][1]["lastTransitionTime"] = json!("2026-01-01T00:00:00Z");
    assert!(!change(&mut object, &with_condition(false, "Exhausted")));
    assert!(change(&mut object, &with_condition(false, "UnknownPool")));
    let conditions = &object["status"]["conditions"];
    assert_eq!(conditions[0], json!({ "type": "other/Writer" }));
    assert_eq!(conditions[1]["reason"], "UnknownPool");
    assert_eq!(conditions[1]["lastTransitionTime"], "2026-01-01T00:00:00Z");
    assert!(change(&mut object, &with_condition(true, "Assigned")));
    assert_ne!(object["status"]["conditions"][1]["lastTransitionTime"], "2026-01-01T00:00:00Z");
    object["spec"]["type"] = json!("ClusterIP");
    assert!(change(&mut object, &with_condition(true, "Assigned")));
    assert_eq!(object["status"], service()["status"]);
}

#[test]
fn a_service_of_another_type_is_only_ever_cleared() {
    let mut object = service();
    assert!(change(&mut object, &write(&["192.0.2.1"], Some("p"))));
    object["spec"]["type"] = json!("ClusterIP");
    assert!(change(&mut object, &write(&["192.0.2.9"], Some("q"))));
    assert_eq!(object["status"]["loadBalancer"], json!({}));
    assert_eq!(object["metadata"]["annotations"], json!({ "other": "kept" }));
}

#[test]
fn the_hostname_follows_the_node_and_stays_while_nobody_is_known() {
    let mut object = service();
    let with = |hostname| {
        write_with(|status| {
            status.addresses = vec!["192.0.2.1".parse().unwrap()];
            status.hostname = hostname;
        })
    };
    assert!(change(&mut object, &with(Hostname::Keep)));
    assert_eq!(object["status"]["loadBalancer"]["ingress"], json!([{ "ip": "192.0.2.1" }]));
    let shown = json!([{ "ip": "192.0.2.1", "hostname": "node-1" }]);
    assert!(change(&mut object, &with(Hostname::Node("node-1".into()))));
    assert_eq!(object["status"]["loadBalancer"]["ingress"], shown);
    assert!(!change(&mut object, &with(Hostname::Node("node-1".into()))));
    assert!(!change(&mut object, &with(Hostname::Keep)));
    assert!(change(&mut object, &with(Hostname::Node("node-2".into()))));
    assert!(change(&mut object, &with(Hostname::None)));
    assert_eq!(object["status"]["loadBalancer"]["ingress"], json!([{ "ip": "192.0.2.1" }]));
}

#[test]
fn verifying_leaves_a_load_balancer_alone() {
    let mut object = service();
    assert!(change(&mut object, &write(&["192.0.2.1"], Some("p"))));
    let verify = Allocation::Verify { annotation: "metallb.io/ip-allocated-from-pool" };
    assert!(!change(&mut object, &task(verify)));
}

#[test]
fn a_speakers_word_is_copied_beside_everything_else_and_goes_with_the_type() {
    let announce = |message: &str| Task { allocation: None, announced: Some(word(true, message)) };
    let mut object = service();
    assert!(change(&mut object, &announce("by L2 from node n1")));
    assert_eq!(object["status"]["conditions"][1]["type"], ANNOUNCED_CONDITION);
    assert!(!change(&mut object, &announce("by L2 from node n1")));
    // A wish that waits is not lost to one of the other kind.
    let both = announce("by L2 from node n2").after(Some(with_condition(true, "Assigned")));
    let both = write(&["192.0.2.1"], Some("p")).after(Some(both));
    assert!(change(&mut object, &both));
    assert_eq!(object["status"]["loadBalancer"]["ingress"], json!([{ "ip": "192.0.2.1" }]));
    assert_eq!(object["status"]["conditions"][1]["message"], "by L2 from node n2");
    object["spec"]["type"] = json!("ClusterIP");
    assert!(!change(&mut object, &announce("by L2 from node n3")));
    let verify = Allocation::Verify { annotation: "metallb.io/ip-allocated-from-pool" };
    assert!(change(&mut object, &task(verify)));
    assert_eq!(object["status"], service()["status"]);
}
