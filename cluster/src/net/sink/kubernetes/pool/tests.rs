// SPDX-License-Identifier: Apache-2.0
use http::Method;

use super::*;
use crate::net::fake::api;

fn counters(assigned: u64) -> BTreeMap<PoolId, PoolCounters> {
    let metallb = PoolCounters::Metallb {
        assigned_v4: assigned,
        assigned_v6: 0,
        available_v4: 9,
        available_v6: 0,
    };
    let antrea = PoolCounters::Antrea { total: 9, used: assigned };
    let id = |kind| PoolId { kind, name: "p".into() };
    BTreeMap::from([(id(PoolKind::IpAddressPool), metallb), (id(PoolKind::ExternalIpPool), antrea)])
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_refused_is_tried_again_later_and_the_other_one_is_written() {
    let (client, asked) = api(|method, path| match *method {
        Method::PUT if path.contains("ipaddresspools") => (403, Value::Null),
        _ => (200, json!({ "metadata": { "name": "p" } })),
    });
    let sink = PoolSink::start(&client, "system", &Fence::open());
    for assigned in 1..5 {
        sink.publish(&counters(assigned));
        tokio::time::sleep(2 * REST).await;
    }
    // Four of the one kind, one of the other.
    assert_eq!(asked.count(&Method::PUT), 5);
    tokio::time::sleep(crate::writer::REFUSED).await;
    assert_eq!(asked.count(&Method::PUT), 6);
    let path = "/apis/metallb.io/v1beta1/namespaces/system/ipaddresspools/p/status";
    let (asked, body) = asked.last(&Method::PUT).unwrap();
    assert_eq!((&*asked, &body["status"]["assignedIPv4"]), (path, &json!(4)));
}

#[tokio::test(start_paused = true)]
async fn a_pool_is_written_once_a_second_at_most_and_only_when_it_changes() {
    let (client, asked) = api(|_, _| (200, json!({ "metadata": { "name": "p" } })));
    let sink = PoolSink::start(&client, "system", &Fence::open());
    for assigned in 0..100 {
        sink.publish(&counters(assigned));
        tokio::time::sleep(REST / 10).await;
    }
    let written = asked.count(&Method::PUT);
    assert!((18..=24).contains(&written), "{written}");
    tokio::time::sleep(10 * REST).await;
    let written = asked.count(&Method::PUT);
    sink.publish(&counters(99));
    tokio::time::sleep(10 * REST).await;
    assert_eq!(asked.count(&Method::PUT), written);
}

#[tokio::test(start_paused = true)]
async fn a_controller_whose_lease_is_lost_writes_no_counters() {
    let (client, asked) = api(|_, _| (200, json!({ "metadata": { "name": "p" } })));
    let fence = Fence::open();
    let sink = PoolSink::start(&client, "system", &fence);
    sink.publish(&counters(1));
    asked.wait_for(&Method::PUT, 2).await;
    // The lease has run out: the write asks for it, and finds that it is another one's.
    fence.extend(None, clock::now());
    sink.publish(&counters(2));
    fence.asked().await;
    fence.close();
    tokio::time::sleep(10 * REST).await;
    sink.publish(&counters(3));
    tokio::time::sleep(10 * REST).await;
    assert_eq!(asked.count(&Method::PUT), 2);
}
