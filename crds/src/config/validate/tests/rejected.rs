// SPDX-License-Identifier: Apache-2.0
//! Every way in which an object can be wrong by itself or contradict others, one row each in `rejections.yaml` (contract 6.2, 6.3), and
//! what needs more than a row.

use serde::Deserialize;
use serde_json::Value;

use super::{Nodes, all, apply, manifest};
use crate::config::validate::{Scope, validate};
use crate::config::{Config, Objects};

const ROWS: &str = include_str!("rejections.yaml");

/// A row of that file.
#[derive(Deserialize)]
struct Row {
    case: String,
    objects: Vec<Value>,
    rejected: String,
    field: String,
    message: String,
    /// The entry that it contradicts, as `Kind name: field`.
    other: Option<String>,
}

#[test]
fn what_is_wrong_by_itself_or_contradicts_others_is_rejected_alone() {
    let options = serde_saphyr::options! { strict_booleans: true };
    let rows: Vec<Row> = serde_saphyr::from_str_with_options(ROWS, options).unwrap();
    assert!(rows.len() > 90, "only {} rows", rows.len());
    for Row { case, objects, rejected, field, message, other } in rows {
        let mut known = Objects::default();
        objects.into_iter().for_each(|object| apply(&mut known, manifest(object)));
        let (_, rejections) = validate(&known, &Nodes::new(), Scope::All, &Config::default());
        let [rejection] = rejections.as_slice() else {
            panic!("{case}: one object is rejected, not {rejections:#?}");
        };
        assert_eq!(format!("{} {}", rejection.kind, rejection.name), rejected, "{case}");
        let said = &rejection.message;
        assert!(said.contains(&message), "{case}:\n{said}\ndoes not contain\n{message}");
        assert!(!rejection.kept_last_valid, "{case}");
        assert_eq!(rejection.field.to_string(), field, "{case}");
        let told = rejection.other.as_ref();
        let told = told.map(|other| format!("{} {}: {}", other.kind, other.name, other.field));
        assert_eq!(told, other, "{case}");
    }
}

const PEER: &str = "BGPPeer p: {myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1, ";

#[test]
fn peers_whose_secret_is_wrong_are_rejected_with_two_lines() {
    for (secret, line) in [
        ("", "secret ref not found for peer config \"metallb-system\"/\"p\""),
        (
            "Secret s: {type: Opaque, data: {password: eA==}}",
            "secret type mismatch on \"metallb-system\"/\"s\", type \"kubernetes.io/basic-auth\" is expected",
        ),
        (
            "Secret s: {type: kubernetes.io/basic-auth, data: {username: eA==}}",
            "password not specified in the secret \"metallb-system\"/\"s\"",
        ),
        (
            "Secret s: {type: kubernetes.io/basic-auth, data: {password: ''}}",
            "a TCP MD5 key has 1 to 80 octets, that of the secret \"metallb-system\"/\"s\" has 0",
        ),
    ] {
        let (_, rejections) = all(&format!("{secret}\n---\n{PEER}passwordSecret: {{name: s}}}}"));
        let messages: Vec<&str> = rejections.iter().map(|r| r.message.as_str()).collect();
        let expected = format!("parsing peer p {line}\nfailed to parse peer p password secret");
        assert_eq!(messages, [expected]);
        assert_eq!(rejections[0].field.to_string(), "spec.passwordSecret.name");
        assert!(rejections[0].is_about_a_secret(), "{secret}");
    }
}

#[test]
fn a_peer_whose_profile_is_missing_is_rejected_alone() {
    let (config, rejections) = all(&format!(
        "{PEER}bfdProfile: my-bfd-profile}}\n---\nBGPPeer q: {{myASN: 1, peerASN: 2, peerAddress: 10.0.0.2}}"
    ));
    let messages: Vec<&str> = rejections.iter().map(|r| r.message.as_str()).collect();
    assert_eq!(messages, ["peer p referencing non existing bfd profile my-bfd-profile"]);
    assert_eq!(rejections[0].field.to_string(), "spec.bfdProfile");
    assert!(!rejections[0].is_about_a_secret());
    assert_eq!(super::names(&config.peers), ["q"]);
}

#[test]
fn profiles_with_numbers_at_the_ends_of_their_ranges_are_accepted() {
    for (field, low, high) in [
        ("receiveInterval", 10, 60_000),
        ("transmitInterval", 10, 60_000),
        ("detectMultiplier", 2, 255),
        ("echoInterval", 10, 60_000),
        ("minimumTtl", 1, 254),
    ] {
        for good in [low, high] {
            assert_eq!(all(&format!("BFDProfile b: {{{field}: {good}}}")).1, []);
        }
    }
}

#[test]
fn a_rejection_reads_as_kind_name_and_message() {
    let (_, rejections) = all("IPAddressPool p: {addresses: []}");
    assert_eq!(
        rejections[0].to_string(),
        "IPAddressPool \"p\": parsing address pool p: pool has no prefixes defined"
    );
}

/// What is never given is no entry of its own, and neither is what lies behind it.
#[test]
fn an_entry_keeps_its_index_where_parts_of_others_are_left_out() {
    let (_, rejections) =
        all("IPAddressPool p: {addresses: [169.253.255.0-169.255.0.9, 127.0.0.0/8, 10.0.0.0/24]}
---
IPAddressPool q: {addresses: [127.0.0.0/30, 10.0.0.7-10.0.0.7]}
---
IPAddressPool r: {addresses: [ff02::/16, 169.255.0.9-169.255.0.9]}");
    let told: Vec<(String, String)> = rejections
        .iter()
        .filter_map(|it| Some((it.field.to_string(), it.other.as_ref()?.field.to_string())))
        .collect();
    let expected =
        [("spec.addresses[1]", "spec.addresses[2]"), ("spec.addresses[1]", "spec.addresses[0]")];
    assert_eq!(told, expected.map(|(own, other)| (own.to_owned(), other.to_owned())));
}

#[test]
fn an_object_that_cannot_be_read_names_the_field() {
    for (object, field) in [
        (
            "L2Advertisement a: {nodeSelectors: [{}, {matchLabels: {a: 1}}]}",
            "spec.nodeSelectors[1].matchLabels.a",
        ),
        ("Community c: {communities: [{name: a, value: 1}]}", "spec.communities[0].value"),
        ("BFDProfile b: [1]", "spec"),
        (
            "{kind: BGPPeer, apiVersion: metallb.io/v1beta1, metadata: {name: p}, spec: {peerASN: x}}",
            "spec.peerASN",
        ),
    ] {
        let (_, rejections) = all(object);
        assert_eq!(rejections[0].field.to_string(), field, "{object}");
        assert!(rejections[0].message.contains(" can not be read: "), "{}", rejections[0].message);
    }
}
