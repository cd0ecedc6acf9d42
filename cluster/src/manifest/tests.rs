use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Manifests, Payload, documents};

fn read(text: &str) -> Manifests {
    let mut manifests = Manifests::default();
    manifests.read(&Arc::from(Path::new("a.yaml")), text);
    manifests
}

fn mistakes(text: &str) -> Vec<String> {
    read(text).mistakes.iter().map(ToString::to_string).collect()
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  type: LoadBalancer\n  ports:\n  - port: 80\n";

#[test]
fn a_broken_document_costs_only_itself() {
    let read = read(&format!("a: [1\n---\n{SERVICE}---\nb: }}\n"));
    assert_eq!(read.objects.len(), 1);
    assert_eq!(read.objects[0].key, "default/web");
    assert_eq!(read.objects[0].line, 3);
    let lines: Vec<_> = read.mistakes.iter().map(|mistake| mistake.line).collect();
    assert_eq!(lines, [Some(1), Some(12)], "{:?}", read.mistakes);
}

#[test]
fn a_field_of_the_wrong_type_is_named_with_its_line() {
    let text = SERVICE.replace("port: 80", "port: eighty");
    assert_eq!(
        mistakes(&format!("# comment\n---\n{text}")),
        [
            "a.yaml:10: Service default/web: spec.ports[0].port: invalid type: string \"eighty\", expected u16"
        ]
    );
}

#[test]
fn a_misspelt_kind_is_a_mistake_and_a_foreign_one_is_not() {
    let text = "apiVersion: v1\nkind: Servise\nmetadata: {name: x}\n";
    assert_eq!(
        mistakes(text),
        ["a.yaml:2: Servise default/x: kind: unknown kind \"Servise\" in apiVersion \"v1\""]
    );
    let foreign = read("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n");
    assert_eq!((foreign.ignored, foreign.mistakes.len()), (1, 0));
}

#[test]
fn a_wrong_version_of_a_known_kind_says_which_is_served() {
    let text = "apiVersion: metallb.io/v1beta2\nkind: IPAddressPool\nmetadata: {name: p}\nspec: {addresses: []}\n";
    assert_eq!(
        mistakes(text),
        [
            "a.yaml:1: IPAddressPool default/p: apiVersion: \"metallb.io/v1beta2\" is not served; use metallb.io/v1beta1"
        ]
    );
}

#[test]
fn a_list_holds_objects() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Node\n  metadata: {name: n1}\n- kind: Node\n  metadata: {name: n2}\n";
    let read = read(list);
    assert!(matches!(read.objects.as_slice(), [one] if matches!(one.payload, Payload::Node(_))));
    assert_eq!(read.mistakes.len(), 1);
    assert_eq!(read.mistakes[0].line, Some(7));
}

#[test]
fn json_is_yaml() {
    let read = read(r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"x"}}"#);
    assert_eq!(read.objects.len(), 1, "{:?}", read.mistakes);
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}(\n---\n\\PC{0,80}){0,3}") {
        let _ = read(&text);
    }

    #[test]
    fn documents_cover_every_line_but_markers(lines in proptest::collection::vec("(---|x: 1|  y|#c|)", 0..12)) {
        let text = lines.join("\n");
        let all = text.lines().collect::<Vec<_>>();
        for (offset, document) in documents(&text) {
            for (index, line) in document.lines().enumerate() {
                prop_assert_eq!(all[usize::try_from(offset).unwrap() + index], line);
            }
        }
    }
}
