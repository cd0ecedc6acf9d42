// SPDX-License-Identifier: Apache-2.0
//! Arbitrary octets as a file of manifests.
#![no_main]

const COST: cost::Cost = cost::Cost {
    held: cost::Bound { fixed: 64 << 10, per_octet: 512 },
    allocated: cost::Bound { fixed: 128 << 10, per_octet: 8192 },
};

/// Objects by which schemas and rules are made ready: that is paid once, and not for an input.
const FIRST: &str = "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {type: LoadBalancer, ports: [{port: 80}]}}\n---\n{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: a}, spec: {addresses: [192.0.2.0/24]}}\n---\n{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: A_B}, spec: {myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, connectTime: 1s}}\n---\n{apiVersion: metalllb.io/v1, kind: BGPPeer}\n";

libfuzzer_sys::fuzz_target!(
    init: folder::robustness::manifest(FIRST.as_bytes()),
    |data: &[u8]| cost::bounded(data, COST, folder::robustness::manifest)
);
