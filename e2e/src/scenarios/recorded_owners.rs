// SPDX-License-Identifier: Apache-2.0
//! The elections recorded from MetalLB's speakers, held again: the same nodes answer for the same addresses.
//!
//! Topology: four nodes with speakers, a client; no pods: endpoints are only named.
//! Steps: the sections of recorded/l2-owners.json, each with Services that ask for its addresses.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow, ensure};
use serde_json::{Value, json};

use crate::lab::node::{PodAddresses, Proxy};
use crate::lab::objects::{l2_advertisement, pool, service};
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

const RECORDED: &str = include_str!("../../recorded/l2-owners.json");
const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

type Owners = BTreeMap<String, Vec<String>>;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let recorded: BTreeMap<String, Value> = serde_json::from_str(RECORDED)?;
    let section = |name: &str| -> anyhow::Result<Owners> {
        let found = recorded.iter().find(|(key, _)| key.starts_with(name));
        let (_, owners) = found.with_context(|| format!("no section {name}"))?;
        Ok(serde_json::from_value(owners.clone())?)
    };
    lab.client()?;
    lab.start_controller(&[])?;
    lab.start_nodes(4, Proxy::Absent)?;
    lab.start_speakers(&[])?;
    lab.kube().apply(&pool("pool", &["10.5.0.128/25", "fd00:5:0:1::/64"]))?;
    lab.kube().apply(&l2_advertisement("all", json!({})))?;

    let (hash, others) = (section("hash")?, section("v6_and_dual")?);
    for address in hash.keys() {
        create(lab, address, &[address], "Cluster", &[1, 2, 3, 4])?;
    }
    for (name, addresses) in services_of(&others)? {
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        create(lab, &name, &addresses, "Cluster", &[1, 2, 3, 4])?;
    }
    expect(lab, &hash)?;
    expect(lab, &others)?;

    lab.kube().patch("/api/v1/nodes/node2", &json!({"metadata": {"labels": {EXCLUDE: ""}}}))?;
    expect(lab, &section("node2 excluded")?)?;
    lab.kube().patch("/api/v1/nodes/node2", &json!({"metadata": {"labels": {EXCLUDE: null}}}))?;

    let local = section("etp Local")?;
    for address in local.keys() {
        let last: u8 = address.rsplit('.').next().context("an address")?.parse()?;
        let (policy, nodes): (_, &[usize]) = match last {
            130..=135 => ("Local", &[1, 4]),
            140 | 141 => ("Local", &[3]),
            145 => ("Local", &[]),
            _ => ("Cluster", &[2]),
        };
        create(lab, address, &[address], policy, nodes)?;
    }
    expect(lab, &local)
}

/// The dual-stack Services have two addresses, 10.5.0.150+i and fd00:5:0:1::(16+i); the others one of IPv6.
fn services_of(owners: &Owners) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let mut services: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for address in owners.keys() {
        if let Some(last) = address.strip_prefix("10.5.0.") {
            let second = format!("fd00:5:0:1::{:x}", last.parse::<u16>()? - 150 + 16);
            services.insert(address.clone(), vec![address.clone(), second]);
        } else if !address.starts_with("fd00:5:0:1::1") || address.ends_with("::1") {
            services.insert(address.clone(), vec![address.clone()]);
        }
    }
    Ok(services)
}

fn create(
    lab: &Lab,
    name: &str,
    addresses: &[&str],
    policy: &str,
    nodes: &[usize],
) -> anyhow::Result<()> {
    let name = format!("s-{}", name.replace([':', '.'], "-"));
    let endpoints: Vec<PodAddresses> = nodes
        .iter()
        .map(|node| PodAddresses {
            node: format!("node{node}"),
            v4: format!("10.244.{node}.99"),
            v6: format!("fd00:244:{node}::99"),
        })
        .collect();
    lab.set_endpoints(&name, &endpoints)?;
    let families = match addresses {
        [_, _] => json!({"ipFamilyPolicy": "RequireDualStack"}),
        [address] if address.contains(':') => json!({"ipFamilies": ["IPv6"]}),
        _ => json!({}),
    };
    let mut object = service(&name, json!({
        "metadata": {"annotations": {"metallb.io/loadBalancerIPs": addresses.join(",")}},
        "spec": {"externalTrafficPolicy": policy},
    }));
    crate::lab::objects::merge(&mut object, json!({"spec": families}));
    lab.kube().apply(&object)?;
    lab.expect_addresses(&name, addresses)
}

fn expect(lab: &Lab, recorded: &Owners) -> anyhow::Result<()> {
    ensure!(!recorded.is_empty(), "the recording is there");
    let mut wrong = Owners::new();
    eventually_true("the recorded nodes answer", SOON, || {
        // All at once: each question takes its time.
        wrong = std::thread::scope(|scope| {
            let asked: Vec<_> = recorded
                .keys()
                .map(|address| (address, scope.spawn(|| lab.owners(address))))
                .collect();
            let mut answered = Owners::new();
            for (address, asked) in asked {
                let owners = asked.join().map_err(|_| anyhow!("a question panicked"))??;
                answered.insert(address.clone(), owners.into_iter().collect());
            }
            answered.retain(|address, owners| recorded.get(address) != Some(owners));
            anyhow::Ok(answered)
        })?;
        Ok(wrong.is_empty())
    })
    .with_context(|| format!("other nodes answer: {wrong:?}"))
}
