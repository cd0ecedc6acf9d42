// SPDX-License-Identifier: Apache-2.0
//! Other load balancers: the result is valid, and notes tell everything that was not converted.

use serde_json::{Value, json};

use super::super::{Import, ImportArgs, Imported, run};
use super::{names_of, objects, told};
use crate::args::ImportObjects;

/// Converts, and checks the result as `ferrolb check` does.
fn import(text: &str, import: impl Fn(ImportObjects) -> Import) -> Imported {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("input");
    std::fs::write(&file, text).unwrap();
    let source = import(ImportObjects { file: file.clone(), namespace: None });
    let imported = run(&ImportArgs { source }).unwrap();
    std::fs::remove_file(file).unwrap();
    let result = folder.path().join("result.yaml");
    std::fs::write(&result, &imported.manifests).unwrap();
    assert_eq!(crate::check::run(&[result], None).mistakes, [], "{}", imported.manifests);
    imported
}

fn spec(imported: &Imported, kind: &str, name: &str) -> Value {
    let all = objects(&imported.manifests).into_iter();
    all.filter(|(is, called, _)| is == kind && called == name)
        .map(|(_, _, spec)| spec)
        .next()
        .unwrap()
}

#[test]
fn kube_vips_scopes_become_pools_and_its_annotations_are_told() {
    let imported = import(
        r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: kubevip, namespace: kube-system}
data:
  cidr-global: 192.0.2.0/28, 2001:db8::/124
  range-global: 192.0.2.200-192.0.2.210
  range-shop: 198.51.100.10-198.51.100.20,198.51.100.40-198.51.100.49
  interface-shop: eth1
  allow-share-shop: "true"
  search-order: desc
  skip-end-ips-in-cidr: "true"
---
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
  annotations:
    kube-vip.io/loadbalancerIPs: 198.51.100.11,2001:db8::2
    kube-vip.io/serviceInterface: eth2
    kube-vip.io/vipHost: n1
spec: {type: LoadBalancer, loadBalancerIP: 198.51.100.11, loadBalancerClass: kube-vip.io/kube-vip-class, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: one, namespace: shop, annotations: {kube-vip.io/loadbalancerIPs: 198.51.100.12}}
spec: {type: LoadBalancer, loadBalancerIP: 198.51.100.12, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: dhcp, namespace: shop, annotations: {kube-vip.io/loadbalancerIPs: 0.0.0.0}}
spec: {type: LoadBalancer, ports: [{port: 80}]}
"#,
        Import::KubeVip,
    );
    assert_eq!(
        spec(&imported, "IPAddressPool", "kube-vip-global"),
        json!({ "addresses": ["192.0.2.1-192.0.2.14", "2001:db8::1-2001:db8::e"] })
    );
    assert_eq!(
        spec(&imported, "IPAddressPool", "kube-vip-shop"),
        json!({
            "addresses": ["198.51.100.10-198.51.100.20", "198.51.100.40-198.51.100.49"],
            "serviceAllocation": { "namespaces": ["shop"] },
        })
    );
    assert_eq!(
        spec(&imported, "L2Advertisement", "kube-vip-shop"),
        json!({ "ipAddressPools": ["kube-vip-shop"], "interfaces": ["eth1"] })
    );
    let told = told(&imported);
    for (index, part) in [
        "lost: ConfigMap kubevip: data.allow-share-shop: ",
        "lost: ConfigMap kubevip: data.search-order: ",
        "lost: ConfigMap kubevip: data.range-global: kube-vip uses the CIDRs only",
        "to do: a namespace whose own pool is full",
        "to do: kubectl -n shop patch service web ",
        "lost: Service web: annotation kube-vip.io/serviceInterface: ",
        "to do: kubectl -n shop annotate service web 'metallb.io/loadBalancerIPs=198.51.100.11,2001:db8::2'",
        "to do: Service web has the class \"kube-vip.io/kube-vip-class\"",
        "lost: Service dhcp: annotation kube-vip.io/loadbalancerIPs: ",
    ]
    .iter()
    .enumerate()
    {
        assert!(told[index].starts_with(part), "{part}\n{told:#?}");
    }
    assert_eq!(told.len(), 9, "{told:#?}");
    assert!(imported.loses());
}

#[test]
fn kube_vips_plain_range_loses_nothing() {
    let imported = import(
        "kind: ConfigMap\nmetadata: {name: kubevip}\ndata: {range-global: 192.0.2.1-192.0.2.9}\n",
        Import::KubeVip,
    );
    assert_eq!(told(&imported), [""; 0]);
    assert!(!imported.loses());
}

#[test]
fn ciliums_pools_and_policies_become_pools_and_advertisements() {
    let imported = import(
        r#"
apiVersion: cilium.io/v2
kind: CiliumLoadBalancerIPPool
metadata: {name: blue, labels: {color: blue}}
spec:
  allowFirstLastIPs: "No"
  blocks: [{cidr: 192.0.2.0/28}, {start: 192.0.2.100, stop: 192.0.2.110}, {start: 192.0.2.120}]
  serviceSelector:
    matchLabels: {io.kubernetes.service.namespace: shop, tier: front}
---
apiVersion: cilium.io/v2alpha1
kind: CiliumLoadBalancerIPPool
metadata: {name: named.pool}
spec:
  cidrs: [{cidr: 198.51.100.0/28}]
  serviceSelector: {matchLabels: {io.kubernetes.service.name: web}}
---
apiVersion: cilium.io/v2alpha1
kind: CiliumL2AnnouncementPolicy
metadata: {name: all}
spec:
  loadBalancerIPs: true
  externalIPs: true
  interfaces: [^eth0$, eth1]
  nodeSelector: {matchExpressions: [{key: node-role.kubernetes.io/control-plane, operator: DoesNotExist}]}
  serviceSelector: {matchLabels: {tier: front}}
---
apiVersion: cilium.io/v2alpha1
kind: CiliumL2AnnouncementPolicy
metadata: {name: wide}
spec: {loadBalancerIPs: true, interfaces: ['^eth[0-9]+']}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: other}
---
apiVersion: v1
kind: Service
metadata: {name: web, annotations: {lbipam.cilium.io/ips: 192.0.2.100, lbipam.cilium.io/sharing-key: "a'b"}}
spec: {type: LoadBalancer, ports: [{port: 80}]}
"#,
        Import::Cilium,
    );
    assert_eq!(
        spec(&imported, "IPAddressPool", "blue"),
        json!({
            "addresses": ["192.0.2.1-192.0.2.14", "192.0.2.100-192.0.2.110", "192.0.2.120-192.0.2.120"],
            "serviceAllocation": { "namespaces": ["shop"], "serviceSelectors": [{ "matchLabels": { "tier": "front" } }] },
        })
    );
    assert!(imported.manifests.contains("color: blue"));
    // The pool would serve every Service: so only those that ask for it get an address of it.
    assert_eq!(
        spec(&imported, "IPAddressPool", "named.pool"),
        json!({ "addresses": ["198.51.100.0/28"], "autoAssign": false })
    );
    assert_eq!(
        spec(&imported, "L2Advertisement", "all"),
        json!({
            "interfaces": ["eth0", "eth1"],
            "nodeSelectors": [{ "matchExpressions": [{ "key": "node-role.kubernetes.io/control-plane", "operator": "DoesNotExist" }] }],
            "serviceSelectors": [{ "matchLabels": { "tier": "front" } }],
        })
    );
    assert_eq!(names_of(&imported, "L2Advertisement"), ["all"]);
    let told = told(&imported);
    for (index, part) in [
        "lost: CiliumLoadBalancerIPPool named.pool: spec.serviceSelector.matchLabels[io.kubernetes.service.name]: ",
        "lost: CiliumL2AnnouncementPolicy all: spec.externalIPs: ",
        "lost: CiliumL2AnnouncementPolicy wide: spec.interfaces: ",
        "lost: CiliumL2AnnouncementPolicy wide: without that",
        "lost: CiliumNetworkPolicy other: ",
        r"to do: kubectl -n default annotate service web 'metallb.io/loadBalancerIPs=192.0.2.100' 'metallb.io/allow-shared-ip=a'\''b'",
    ]
    .iter()
    .enumerate()
    {
        assert!(told[index].starts_with(part), "{part}\n{told:#?}");
    }
    assert_eq!(told.len(), 6, "{told:#?}");
}

#[test]
fn ciliums_peering_policies_become_peers() {
    let imported = import(
        r"
kind: CiliumBGPPeeringPolicy
metadata: {name: rack0}
spec:
  nodeSelector: {matchLabels: {rack: r0}}
  virtualRouters:
  - localASN: 64512
    exportPodCIDR: true
    serviceSelector: {matchExpressions: [{key: x, operator: NotIn, values: [never]}]}
    neighbors:
    - {peerAddress: 192.0.2.1/32, peerASN: 64512, eBGPMultihopTTL: 10, holdTimeSeconds: 90, keepAliveTimeSeconds: 30}
    - {peerAddress: '2001:db8::1/128', peerPort: 1790, peerASN: 64513, eBGPMultihopTTL: 2, authSecretRef: s, gracefulRestart: {enabled: true, restartTimeSeconds: 60}, families: [{afi: ipv6, safi: unicast}], advertisedPathAttributes: [{selectorType: PodCIDR}]}
",
        Import::Cilium,
    );
    assert_eq!(
        spec(&imported, "BGPPeer", "rack0"),
        json!({
            "myASN": 64512, "peerASN": 64512, "peerAddress": "192.0.2.1", "holdTime": "90s", "keepaliveTime": "30s",
            "dualStackAddressFamily": true, "nodeSelectors": [{ "matchLabels": { "rack": "r0" } }],
        })
    );
    assert_eq!(
        spec(&imported, "BGPPeer", "rack0-2"),
        json!({
            "myASN": 64512, "peerASN": 64513, "peerAddress": "2001:db8::1", "peerPort": 1790, "ebgpMultiHop": true,
            "passwordSecret": { "name": "s" }, "enableGracefulRestart": true, "gracefulRestartTime": "60s",
            "nodeSelectors": [{ "matchLabels": { "rack": "r0" } }],
        })
    );
    assert_eq!(
        spec(&imported, "BGPAdvertisement", "rack0"),
        json!({
            "peers": ["rack0", "rack0-2"],
            "serviceSelectors": [{ "matchExpressions": [{ "key": "x", "operator": "NotIn", "values": ["never"] }] }],
            "nodeSelectors": [{ "matchLabels": { "rack": "r0" } }],
        })
    );
    let told = told(&imported);
    assert!(
        told[0].starts_with("to do: make a Secret \"s\" of type kubernetes.io/basic-auth"),
        "{told:#?}"
    );
    assert!(told[1].contains("neighbors[1].advertisedPathAttributes"), "{told:#?}");
    assert!(told[2].contains("virtualRouters[0].exportPodCIDR"), "{told:#?}");
    assert_eq!(told.len(), 3, "{told:#?}");
}

#[test]
fn ciliums_cluster_config_becomes_peers_and_their_advertisements() {
    let imported = import(
        r#"
kind: CiliumBGPClusterConfig
metadata: {name: cluster}
spec:
  nodeSelector: {matchLabels: {bgp: "yes"}}
  bgpInstances:
  - name: main
    localASN: 64512
    localPort: 1179
    peers:
    - {name: TOR_1, peerASN: 64513, peerAddress: 192.0.2.1, peerConfigRef: {name: tor}}
    - {name: any, peerAddress: 192.0.2.2}
    - {name: gateway, peerASN: 64513, autoDiscovery: {mode: DefaultGateway, defaultGateway: {addressFamily: ipv4}}}
    - {name: wire, peerASN: 64513, autoDiscovery: {mode: Unnumbered, unnumbered: {interface: eth3}}}
---
kind: CiliumBGPPeerConfig
metadata: {name: tor}
spec:
  transport: {peerPort: 1790}
  timers: {connectRetryTimeSeconds: 5, holdTimeSeconds: 9, keepAliveTimeSeconds: 3}
  ebgpMultihop: 4
  families:
  - {afi: ipv4, safi: unicast, advertisements: {matchLabels: {advertise: bgp}}}
  - {afi: ipv6, safi: unicast, advertisements: {matchLabels: {advertise: bgp}}}
---
kind: CiliumBGPAdvertisement
metadata: {name: services, labels: {advertise: bgp}}
spec:
  advertisements:
  - advertisementType: PodCIDR
  - advertisementType: Service
    service: {addresses: [LoadBalancerIP, ClusterIP], aggregationLengthIPv4: 24}
    selector: {matchLabels: {bgp: blue}}
    attributes: {localPreference: 150, communities: {standard: ["4259840100", 64512:1], wellKnown: [no-export], large: [64512:1:2]}}
---
kind: CiliumBGPAdvertisement
metadata: {name: nobody}
spec: {advertisements: []}
"#,
        Import::Cilium,
    );
    assert_eq!(names_of(&imported, "BGPPeer"), ["cluster-tor-1", "cluster-wire"]);
    assert_eq!(
        spec(&imported, "BGPPeer", "cluster-tor-1"),
        json!({
            "myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1", "peerPort": 1790, "listenPort": 1179,
            "connectTime": "5s", "holdTime": "9s", "keepaliveTime": "3s", "ebgpMultiHop": true,
            "dualStackAddressFamily": true, "nodeSelectors": [{ "matchLabels": { "bgp": "yes" } }],
        })
    );
    assert_eq!(spec(&imported, "BGPPeer", "cluster-wire")["interface"], "eth3");
    assert_eq!(
        spec(&imported, "BGPAdvertisement", "services"),
        json!({
            "peers": ["cluster-tor-1"],
            "serviceSelectors": [{ "matchLabels": { "bgp": "blue" } }],
            "localPref": 150,
            "communities": ["65000:100", "64512:1", "no-export", "large:64512:1:2"],
        })
    );
    let told = told(&imported);
    for part in [
        "peers[1]: a peer with any AS number",
        "peers[2]: the peer is found by itself",
        "advertisements[0]: only addresses of Services",
        "advertisements[1].service.addresses: only addresses of load balancers",
        "advertisements[1].service.aggregationLength: ",
        "CiliumBGPAdvertisement nobody: no peer",
    ] {
        assert!(
            told.iter().any(|line| line.starts_with("lost: ") && line.contains(part)),
            "{part}\n{told:#?}"
        );
    }
    assert_eq!(told.len(), 6, "{told:#?}");
}

#[test]
fn purelbs_groups_become_pools() {
    let imported = import(
        r"
apiVersion: purelb.io/v1
kind: ServiceGroup
metadata: {name: default, namespace: purelb}
spec:
  local:
    v4pool: {subnet: 192.0.2.0/24, pool: 192.0.2.100-192.0.2.110, aggregation: default}
    v6pools: [{subnet: '2001:db8::/64', pool: '2001:db8::100/124', aggregation: default}]
---
apiVersion: purelb.io/v2
kind: ServiceGroup
metadata: {name: routed}
spec:
  remote:
    v4pools: [{subnet: 198.51.100.0/24, pool: 198.51.100.0/26, aggregation: /32}]
    multiPool: true
---
apiVersion: purelb.io/v1
kind: ServiceGroup
metadata: {name: box}
spec: {netbox: {url: 'http://netbox', tenant: t}}
---
apiVersion: purelb.io/v1
kind: LBNodeAgent
metadata: {name: default}
spec: {local: {localint: eth1, extlbint: kube-lb0}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {purelb.io/service-group: routed, purelb.io/allow-shared-ip: k, purelb.io/allocated-by: PureLB, purelb.io/odd: x}}
spec: {type: LoadBalancer, ports: [{port: 80}]}
",
        Import::Purelb,
    );
    assert_eq!(
        spec(&imported, "IPAddressPool", "default"),
        json!({ "addresses": ["192.0.2.100-192.0.2.110", "2001:db8::100/124"] })
    );
    assert_eq!(
        spec(&imported, "L2Advertisement", "default"),
        json!({ "ipAddressPools": ["default"], "interfaces": ["eth1"] })
    );
    assert_eq!(
        spec(&imported, "IPAddressPool", "routed"),
        json!({ "addresses": ["198.51.100.0/26"], "autoAssign": false })
    );
    assert_eq!(
        spec(&imported, "BGPAdvertisement", "routed"),
        json!({ "ipAddressPools": ["routed"], "aggregationLength": 32 })
    );
    let told = told(&imported);
    for (index, part) in [
        "lost: ServiceGroup routed: spec.remote.multiPool: ",
        "to do: the addresses of pool \"routed\"",
        "lost: ServiceGroup box: its addresses are not in it",
        "lost: Service web: annotation purelb.io/odd: ",
        "to do: kubectl -n shop annotate service web 'metallb.io/allow-shared-ip=k' 'metallb.io/address-pool=routed'",
    ]
    .iter()
    .enumerate()
    {
        assert!(told[index].starts_with(part), "{part}\n{told:#?}");
    }
    assert_eq!(told.len(), 5, "{told:#?}");
}
