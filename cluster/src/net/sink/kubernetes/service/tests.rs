// SPDX-License-Identifier: Apache-2.0
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;

use super::*;
use crate::net::fake::api;

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
    let both = announce("by L2 from node n2").after(Some(&with_condition(true, "Assigned")));
    let both = write(&["192.0.2.1"], Some("p")).after(Some(&both));
    assert!(change(&mut object, &both));
    assert_eq!(object["status"]["loadBalancer"]["ingress"], json!([{ "ip": "192.0.2.1" }]));
    assert_eq!(object["status"]["conditions"][1]["message"], "by L2 from node n2");
    object["spec"]["type"] = json!("ClusterIP");
    assert!(!change(&mut object, &announce("by L2 from node n3")));
    let verify = Allocation::Verify { annotation: "metallb.io/ip-allocated-from-pool" };
    assert!(change(&mut object, &task(verify)));
    assert_eq!(object["status"], service()["status"]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_is_tried_again_with_the_newest_wish_and_every_failure_is_a_report() {
    let fails = Arc::new(AtomicBool::new(true));
    let failing = Arc::clone(&fails);
    let (client, asked) = api(move |method, _| match *method {
        Method::PUT if failing.load(Ordering::SeqCst) => (403, Value::Null),
        _ => (200, service()),
    });
    let (sink, mut reports) = ServiceSink::start(client, Fence::open());
    let status = |address: &str| match write(&[address], None).allocation {
        Some(Allocation::Write(status)) => status,
        _ => panic!("a write"),
    };
    let web = ObjectKey::new("default", "web");
    sink.write(web.clone(), status("192.0.2.1"));
    for _ in 0..3 {
        assert!(matches!(reports.recv().await, Some(ServiceReport::Failed(..))));
    }
    sink.write(web.clone(), status("192.0.2.2"));
    sink.announce(web.clone(), word(true, "by L2 from node n1"));
    // Another Service does not wait for that one.
    let before = asked.count(&Method::PUT);
    sink.write(ObjectKey::new("default", "other"), status("192.0.2.3"));
    tokio::time::sleep(RETRY.0 / 2).await;
    assert_eq!(asked.count(&Method::PUT), before + 1);
    fails.store(false, Ordering::SeqCst);
    let mut written = 0;
    while written < 2 {
        match reports.recv().await.unwrap() {
            ServiceReport::Written(..) => written += 1,
            ServiceReport::Failed(..) => {}
            ServiceReport::Gone(key) => panic!("{key}"),
        }
    }
    let (path, body) = asked.last(&Method::PUT).unwrap();
    assert_eq!(path, "/api/v1/namespaces/default/services/web/status");
    assert_eq!(body["status"]["loadBalancer"]["ingress"], json!([{ "ip": "192.0.2.2" }]));
    assert_eq!(body["status"]["conditions"][1]["message"], "by L2 from node n1");
    // The same wish again says that somebody else changed the object.
    let before = asked.count(&Method::PUT);
    sink.write(web, status("192.0.2.2"));
    assert!(matches!(reports.recv().await, Some(ServiceReport::Written(..))));
    assert_eq!(asked.count(&Method::PUT), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_controller_whose_lease_is_lost_writes_no_service() {
    let (client, asked) = api(|_, _| (200, service()));
    let fence = Fence::closed();
    fence.extend(None, clock::now());
    let (sink, mut reports) = ServiceSink::start(client, fence.clone());
    let verify = |name: &str| sink.verify(ObjectKey::new("default", name), "annotation");
    verify("a");
    fence.asked().await;
    fence.close();
    verify("b");
    tokio::time::sleep(10 * RETRY.1).await;
    assert_eq!((asked.count(&Method::GET), asked.count(&Method::PUT)), (0, 0));
    assert!(reports.try_recv().is_err());
}
