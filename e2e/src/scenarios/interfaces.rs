// SPDX-License-Identifier: Apache-2.0
//! L2Advertisement.interfaces, links that go and come, and links that are new.
//!
//! Topology: two nodes and a client on two switches (eth0, eth1), later on a third (eth2).
//! Steps: without a list the address is answered on eth0 and eth1; with [eth1] on eth1 only, and the status names it; with
//! a name that does not exist there is an event announceFailed and silence; eth1 goes down at the owner: the other node
//! answers; up: the first one again; eth2 is plugged in while the speaker runs: answered there as well.

use anyhow::anyhow;
use serde_json::json;

use crate::lab::netns::Namespace;
use crate::lab::node::{PodAddresses, Proxy};
use crate::lab::objects::{POOL_V4, POOL_V6, l2_advertisement, pool, service};
use crate::lab::topology::Switch;
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

const ADDRESSES: [&str; 2] = ["172.30.0.200", "fd30::1000"];

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.client()?;
    lab.start_controller(&[])?;
    lab.start_nodes(2, Proxy::Absent)?;
    let _second = plug(lab, 1)?;
    lab.start_speakers(&[])?;
    lab.kube().apply(&pool("pool", &[POOL_V4, POOL_V6]))?;
    lab.kube().apply(&l2_advertisement("all", json!({})))?;
    let endpoint = PodAddresses {
        node: "node1".into(),
        v4: "10.244.1.99".into(),
        v6: "fd00:244:1::99".into(),
    };
    lab.set_endpoints("web", &[endpoint])?;
    lab.kube().create(&service("web", json!({"spec": {"ipFamilyPolicy": "RequireDualStack"}})))?;
    lab.expect_addresses("web", &ADDRESSES)?;
    let owner = lab.wait_owner(ADDRESSES[0])?;
    expect(lab, &owner, &["eth0", "eth1"], &[])?;

    lab.kube().apply(&l2_advertisement("all", json!({"interfaces": ["eth1"]})))?;
    expect(lab, &owner, &["eth1"], &["eth0"])?;
    eventually_true("the status names the interface", SOON, || {
        let statuses =
            lab.kube().list("/apis/metallb.io/v1beta1/namespaces/metallb-system/servicel2statuses")?;
        let interfaces: Vec<_> =
            statuses.iter().map(|status| status.pointer("/status/interfaces")).collect();
        Ok(interfaces == [Some(&json!([{"name": "eth1"}]))])
    })?;

    lab.kube().apply(&l2_advertisement("all", json!({"interfaces": ["eth9"]})))?;
    expect(lab, &owner, &[], &["eth0", "eth1"])?;
    for address in ADDRESSES {
        let text = format!(
            "the interfaces specified by LB IP \"{address}\" doesn't exist in assigned node \"{owner}\" with protocol \"layer2\""
        );
        eventually_true("an event tells of the missing interface", SOON, || {
            let events = lab.kube().events("web")?;
            Ok(events.iter().any(|event| event.kind == "Warning" && event.message == text))
        })?;
    }

    lab.kube().apply(&l2_advertisement("all", json!({"interfaces": ["eth1", "eth2"]})))?;
    expect(lab, &owner, &["eth1"], &["eth0"])?;
    lab.node(&owner)?.namespace.ip("link set eth1 down")?;
    let other = if owner == "node1" { "node2" } else { "node1" };
    expect(lab, other, &["eth1"], &["eth0"])?;
    lab.node(&owner)?.namespace.ip("link set eth1 up")?;
    expect(lab, &owner, &["eth1"], &["eth0"])?;
    let _third = plug(lab, 2)?;
    expect(lab, &owner, &["eth1", "eth2"], &["eth0"])
}

/// One more switch with a link of the client and of every node.
fn plug(lab: &mut Lab, number: u8) -> anyhow::Result<Switch> {
    let switch = Switch::new(lab.lane(), &format!("switch{number}"))?;
    let link = format!("eth{number}");
    let attach = |namespace: &Namespace, port: &str, last: usize| {
        switch.plug(namespace, port, &link, &format!("02:fb:00:00:{number:02x}:{last:02x}"))
    };
    let client = lab.client()?;
    attach(&client.namespace, "client", 0xfe)?;
    client.namespace.ip(&format!("address add 172.31.{number}.100/24 dev {link}"))?;
    for node in &lab.nodes {
        attach(&node.namespace, &node.name, node.number)?;
    }
    Ok(switch)
}

/// The owner alone answers for both addresses on these links, nobody on those.
fn expect(lab: &Lab, owner: &str, on: &[&str], not_on: &[&str]) -> anyhow::Result<()> {
    let all = on.iter().map(|link| (*link, true)).chain(not_on.iter().map(|link| (*link, false)));
    // All at once: each question takes its time.
    std::thread::scope(|scope| {
        let asked: Vec<_> = all
            .flat_map(|(link, answered)| ADDRESSES.map(|address| (link, answered, address)))
            .map(|(link, answered, address)| {
                scope.spawn(move || expect_one(lab, owner, link, answered, address))
            })
            .collect();
        for asked in asked {
            asked.join().map_err(|_| anyhow!("a question panicked"))??;
        }
        Ok(())
    })
}

fn expect_one(
    lab: &Lab,
    owner: &str,
    link: &str,
    answered: bool,
    address: &str,
) -> anyhow::Result<()> {
    let who = if answered { owner } else { "nobody" };
    eventually_true(&format!("{who} answers for {address} on {link}"), SOON, || {
        let owners = lab.owners_on(address, link)?;
        Ok(match answered {
            true => owners.len() == 1 && owners.contains(owner),
            false => owners.is_empty(),
        })
    })
}
