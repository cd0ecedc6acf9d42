// SPDX-License-Identifier: Apache-2.0
//! The things that `--keep-connections` cannot work with: the flag leads packets on by nftables and asks conntrack, so that what serves Services must be
//! kube-proxy with one of both. Looked for only where the speakers have the flag.

use serde_json::Value;

use super::{Finding, Severity};
use crate::survey::{Survey, key, text};

/// The end of all findings about other data paths.
const REMEDY: &str =
    "let kube-proxy in mode nftables or iptables serve Services, or take the flag away";

/// The findings of a survey.
pub(super) fn findings(survey: &Survey) -> Vec<Finding> {
    let speakers = survey.list("daemonsets").iter().filter(|set| is_speaker(survey, set));
    let Some(keeping) = speakers.flat_map(containers).find(|container| keeps(container)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut add = |severity, text: String| found.push(Finding { severity, text });
    if !may(keeping, "NET_ADMIN") {
        add(
            Severity::Error,
            "the speakers have --keep-connections, and their container has not the capability NET_ADMIN: connections break when an address moves; add NET_ADMIN to securityContext.capabilities (chart: speaker.keepConnections)".to_owned(),
        );
    }
    if proxy_mode(survey.object("kube-proxy")).as_deref() == Some("ipvs") {
        add(
            Severity::Warning,
            "kube-proxy runs in mode ipvs (ConfigMap kube-system/kube-proxy), with which --keep-connections was not tried: connections may break when an address moves; set mode to nftables or iptables, or take the flag away".to_owned(),
        );
    }
    let around = |what: &str, place: &str| {
        format!(
            "{what} ({place}), past nftables and conntrack: --keep-connections keeps nothing there; {REMEDY}"
        )
    };
    let replaces = survey.object("cilium").map(|map| text(map, "/data/kube-proxy-replacement"));
    if replaces.is_some_and(|mode| matches!(mode, "true" | "strict" | "partial" | "probe")) {
        let place = "kube-proxy-replacement in ConfigMap kube-system/cilium-config";
        add(Severity::Error, around("Cilium serves Services by eBPF", place));
    }
    let felix = survey.object("calico").and_then(|felix| felix.pointer("/spec/bpfEnabled"));
    if felix.and_then(Value::as_bool) == Some(true) {
        let place = "bpfEnabled in FelixConfiguration default";
        add(Severity::Error, around("Calico serves Services by eBPF", place));
    }
    let agent = survey.object("antrea").map(|map| text(map, "/data/antrea-agent.conf"));
    if agent.and_then(|config| setting(config, "proxyAll")).as_deref() == Some("true") {
        let place = "antreaProxy.proxyAll in ConfigMap kube-system/antrea-config";
        add(Severity::Error, around("AntreaProxy serves Services by Open vSwitch", place));
    }
    let sets = survey.list("daemonsets").iter();
    for set in sets.filter(|set| text(set, "/metadata/name") == "ovnkube-node") {
        let place = format!("DaemonSet {}", key(set));
        add(Severity::Error, around("OVN-Kubernetes serves Services by Open vSwitch", &place));
    }
    found
}

/// The value of a key in a file of YAML, wherever the key stands; not one in a comment.
pub(super) fn setting(config: &str, name: &str) -> Option<String> {
    config.lines().find_map(|line| {
        let (key, value) = line.trim().split_once(':')?;
        let value = value.split(" #").next().unwrap_or_default();
        (key == name).then(|| value.trim().trim_matches(['"', '\'']).to_owned())
    })
}

/// The mode in kube-proxy's ConfigMap.
fn proxy_mode(map: Option<&Value>) -> Option<String> {
    setting(text(map?, "/data/config.conf"), "mode")
}

fn is_speaker(survey: &Survey, set: &Value) -> bool {
    let label = |name: &str| text(set, &format!("/spec/template/metadata/labels/{name}"));
    text(set, "/metadata/namespace") == survey.namespace
        && (label("component") == "speaker" || label("app.kubernetes.io~1component") == "speaker")
}

fn containers(set: &Value) -> impl Iterator<Item = &Value> {
    let containers = set.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    containers.into_iter().flatten()
}

fn strings<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a str> {
    let list = object.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// True if the container's program has the flag, as Go's programs read it.
fn keeps(container: &Value) -> bool {
    let flags = strings(container, "/command").chain(strings(container, "/args"));
    let values =
        flags.filter_map(|flag| flag.trim_start_matches('-').strip_prefix("keep-connections"));
    let last = values.filter(|value| value.is_empty() || value.starts_with('=')).last();
    last.is_some_and(|value| matches!(value, "" | "=true" | "=True" | "=TRUE" | "=t" | "=T" | "=1"))
}

fn may(container: &Value, capability: &str) -> bool {
    let privileged = container.pointer("/securityContext/privileged").and_then(Value::as_bool);
    let has = |added: &str| {
        let name = added.trim_start_matches("CAP_");
        name == capability || name == "ALL"
    };
    privileged == Some(true) || strings(container, "/securityContext/capabilities/add").any(has)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A cluster whose speakers have these arguments and capabilities.
    fn survey(arguments: &[&str], capabilities: &[&str]) -> Survey {
        let speaker = json!({
            "metadata": { "namespace": "metallb-system", "name": "speaker" },
            "spec": { "template": {
                "metadata": { "labels": { "component": "speaker" } },
                "spec": { "containers": [{
                    "args": arguments, "securityContext": { "capabilities": { "add": capabilities } },
                }] },
            } },
        });
        let ovn = json!({ "metadata": { "namespace": "ovn-kubernetes", "name": "ovnkube-node" } });
        let config = |file: &str, text: &str| json!({ "data": { file: text } });
        Survey::of(&[("daemonsets", json!([speaker, ovn]))])
            .with("kube-proxy", config("config.conf", "kind: X\nmode: \"ipvs\"\n"))
            .with("cilium", config("kube-proxy-replacement", "true"))
            .with("calico", json!({ "spec": { "bpfEnabled": true } }))
            .with(
                "antrea",
                config(
                    "antrea-agent.conf",
                    "antreaProxy:\n  # proxyAll: false\n  proxyAll: true # all\n",
                ),
            )
    }

    fn texts(survey: &Survey) -> Vec<String> {
        findings(survey).iter().map(ToString::to_string).collect()
    }

    const PARTS: [&str; 5] = ["mode ipvs", "Cilium", "Calico", "AntreaProxy", "OVN-Kubernetes"];

    #[test]
    fn each_data_path_that_passes_conntrack_by_is_named_with_its_place() {
        let texts =
            texts(&survey(&["--port=7472", "--keep-connections"], &["NET_RAW", "NET_ADMIN"]));
        assert_eq!(texts.len(), PARTS.len(), "{texts:?}");
        for (text, part) in texts.iter().zip(PARTS) {
            assert!(text.contains(part) && text.contains("take the flag away"), "{text}");
        }
        assert!(texts[0].starts_with("warning") && texts[1].starts_with("error"), "{texts:?}");
        assert!(texts[4].contains("DaemonSet ovn-kubernetes/ovnkube-node"), "{texts:?}");
    }

    #[test]
    fn without_the_flag_nothing_is_said() {
        for arguments in [
            &["--port=7472"][..],
            &["--keep-connections=false"],
            &["--keep-connections", "--keep-connections=0"],
            &["--keep-connections-not"],
        ] {
            assert_eq!(texts(&survey(arguments, &[])), [""; 0], "{arguments:?}");
        }
        let mut other = survey(&["--keep-connections"], &[]);
        other.namespace = "elsewhere".to_owned();
        assert_eq!(texts(&other), [""; 0]);
    }

    #[test]
    fn a_speaker_that_may_not_change_the_kernel_is_an_error() {
        let lacks = |capabilities: &[&str]| {
            let texts = texts(&survey(&["--keep-connections=true"], capabilities));
            texts.iter().any(|text| text.starts_with("error") && text.contains("NET_ADMIN"))
        };
        assert!(lacks(&[]) && lacks(&["NET_RAW"]));
        assert!(
            !lacks(&["NET_RAW", "NET_ADMIN"]) && !lacks(&["CAP_NET_ADMIN"]) && !lacks(&["ALL"])
        );
    }

    #[test]
    fn what_works_with_it_is_not_named() {
        let fine = |name: &'static str, object: Value| {
            texts(&survey(&["--keep-connections"], &["NET_ADMIN"]).with(name, object)).len()
        };
        assert_eq!(fine("kube-proxy", json!({ "data": { "config.conf": "mode: nftables\n" } })), 4);
        assert_eq!(fine("kube-proxy", json!({ "data": { "config.conf": "mode: \"\"\n" } })), 4);
        assert_eq!(fine("cilium", json!({ "data": { "kube-proxy-replacement": "false" } })), 4);
        assert_eq!(fine("cilium", json!({ "data": { "kube-proxy-replacement": "disabled" } })), 4);
        assert_eq!(fine("calico", json!({ "spec": { "bpfEnabled": false } })), 4);
        assert_eq!(
            fine("antrea", json!({ "data": { "antrea-agent.conf": "#  proxyAll: true\n" } })),
            4
        );
    }
}
