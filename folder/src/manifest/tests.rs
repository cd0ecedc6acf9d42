// SPDX-License-Identifier: Apache-2.0
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Document, MAX_FILE, Manifests, Payload, documents};

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
            "a.yaml:10: Service default/web: spec.ports[0].port: a whole number is expected here, not the text \"eighty\""
        ]
    );
}

#[test]
fn a_misspelt_kind_is_a_mistake_and_a_foreign_one_is_not() {
    let text = "apiVersion: v1\nkind: Servise\nmetadata: {name: x}\n";
    assert_eq!(
        mistakes(text),
        [
            "a.yaml:2: Servise x: kind: no API server has a kind \"Servise\" in v1; did you mean \"Service\"?"
        ]
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
            "a.yaml:1: IPAddressPool p: apiVersion: \"metallb.io/v1beta2\" is not served for IPAddressPool; use metallb.io/v1beta1"
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

/// The labels of a Namespace, one of which has this value as it is written; or what is wrong.
fn label(value: &str) -> Result<String, String> {
    let text = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: x\n  labels:\n    a: {value}\n"
    );
    let read = read(&text);
    if let Some(mistake) = read.mistakes.first() {
        return Err(mistake.to_string());
    }
    match &read.objects[0].payload {
        Payload::Namespace(namespace) => {
            Ok(namespace.metadata.labels.as_ref().unwrap()["a"].clone())
        }
        other => panic!("{other:?}"),
    }
}

/// As `sigs.k8s.io/yaml`, which reads YAML 1.1: an API server gets a boolean or a number and refuses it.
#[test]
fn plain_booleans_and_numbers_are_no_text() {
    for value in ["y", "Y", "n", "yes", "No", "ON", "off", "true", "False"] {
        let message = label(value).unwrap_err();
        assert!(
            message.ends_with("text is expected here, not true; text needs quotes here")
                || message.ends_with("text is expected here, not false; text needs quotes here"),
            "{message}"
        );
        assert_eq!(label(&format!("\"{value}\"")).unwrap(), value);
        assert_eq!(label(&format!("'{value}'")).unwrap(), value);
        assert_eq!(label(&format!("!!str {value}")).unwrap(), value);
    }
    for value in ["1", "0x10", "1.5", "1e3", "[]", "{b: c}"] {
        let message = label(value).unwrap_err();
        assert!(message.contains("metadata.labels.a: text is expected here"), "{value}: {message}");
    }
    for value in ["yeah", "none", "1.2.3", "2020-01-01", "a1", "nope", "10.0.0.1", "0x"] {
        assert_eq!(label(value).unwrap(), value);
    }
}

#[test]
fn a_number_with_a_leading_zero_is_octal() {
    let read = read(&SERVICE.replace("port: 80", "port: 0120"));
    let Payload::Service(service) = &read.objects[0].payload else { panic!("a Service") };
    assert_eq!(service.clone().reduce().ports[0].port, 80);
}

#[test]
fn names_are_text_and_valid() {
    let named = |metadata: &str| {
        mistakes(&format!("apiVersion: v1\nkind: Node\nmetadata:\n  {metadata}\n")).join(";")
    };
    assert_eq!(named("name: n1"), "");
    assert_eq!(named("labels: {}"), "a.yaml:3: Node: metadata.name: missing");
    assert_eq!(
        named("name: 17"),
        "a.yaml:4: Node: metadata.name: text is expected here, not the number 17; text needs quotes here"
    );
    assert_eq!(
        named("name: Upper"),
        "a.yaml:4: Node Upper: metadata.name: \"Upper\" is not a valid name: at most 253 lower-case letters, digits, - and ., with a letter or digit at both ends"
    );
    assert!(named("{name: a, namespace: b/c}").contains("metadata.namespace: \"b/c\""));
    assert!(
        named("{name: a, namespace: yes}")
            .contains("metadata.namespace: text is expected here, not true")
    );
}

#[test]
fn the_metadata_of_configuration_is_checked_as_well() {
    let text = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata:\n  name: p\n  labels:\n    zone: 1\nspec: {addresses: []}\n";
    assert_eq!(
        mistakes(text),
        [
            "a.yaml:6: IPAddressPool p: metadata.labels.zone: text is expected here, not the number 1; text needs quotes here"
        ]
    );
}

#[test]
fn kinds_of_others_are_let_be_whatever_they_look_like() {
    for text in [
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a.yaml]\n",
        "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: x-}\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n",
        "apiVersion: metallb.io/v1beta1\nkind: ServiceL2Status\nmetadata: {name: s}\n",
    ] {
        let read = read(text);
        assert_eq!((read.ignored, read.mistakes.len()), (1, 0), "{text}");
        assert!(read.broken.is_empty());
    }
}

#[test]
fn typed_lists_hold_objects_too() {
    let item = "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {ports: [{port: 80}]}}";
    let read = read(&format!("apiVersion: v1\nkind: ServiceList\nitems: [{item}]\n"));
    assert_eq!(read.objects.len(), 1, "{:?}", read.mistakes);
}

#[test]
fn anchors_and_merges_are_followed() {
    let text = "apiVersion: v1\nkind: Node\nmetadata:\n  name: n1\n  annotations: &same {a: b}\n  labels:\n    <<: *same\n    c: d\n";
    let read = read(text);
    assert_eq!(read.mistakes, []);
    let Payload::Node(node) = &read.objects[0].payload else { panic!("a Node") };
    let labels = node.clone().reduce().labels;
    assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "b"), ("c", "d")]);
}

#[test]
fn one_anchor_may_be_used_many_times() {
    let aliases = ["*e"; 200].join(", ");
    let text = format!(
        "apiVersion: example.com/v1\nkind: Any\nmetadata: {{name: x}}\nspec: {{selector: &e {{a: b}}}}\nmore: [{aliases}]\n"
    );
    assert_eq!(mistakes(&text), [] as [&str; 0]);
}

#[test]
fn an_alias_bomb_is_a_mistake_and_takes_no_memory() {
    let mut text = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\na0: &a0 [lol]\n".to_owned();
    for level in 1..=20 {
        let before = format!("*a{}", level - 1);
        let items = [before.as_str(); 9].join(",");
        text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let read = read(&format!("{text}---\n{SERVICE}"));
    assert_eq!(read.mistakes.len(), 1);
    assert!(read.mistakes[0].message.starts_with("not valid YAML: "), "{:?}", read.mistakes);
    assert_eq!(read.objects.len(), 1, "the next document is read");
}

#[test]
fn an_anchor_within_itself_is_a_mistake() {
    assert_eq!(
        mistakes("apiVersion: v1\nkind: Node\nmetadata: &a {name: n, labels: *a}\n").len(),
        1
    );
}

/// On a stack as large as that of a program's first thread, for frames that are not optimised.
fn on_a_large_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(8 << 20).spawn(test).unwrap().join().unwrap();
}

#[test]
fn deep_nesting_is_a_mistake() {
    on_a_large_stack(|| {
        for depth in [70, 100_000] {
            let flow = format!("a: {}{}\n", "[".repeat(depth), "]".repeat(depth));
            let json = format!("{}1{}\n", "{\"a\":".repeat(depth), "}".repeat(depth));
            let dashes = format!("{}x\n", "- ".repeat(depth));
            for text in [flow, json, dashes] {
                let found = mistakes(&text);
                assert_eq!(found.len(), 1);
                assert!(found[0].contains("too deep"), "{found:?}");
            }
        }
    });
}

#[test]
fn the_schemas_of_crds_are_not_too_deep() {
    on_a_large_stack(|| {
        let nested = format!("{}{}", "[".repeat(60), "]".repeat(60));
        let text = format!("apiVersion: a/v1\nkind: Deep\na: {nested}\n");
        assert_eq!(mistakes(&text), [] as [&str; 0]);
    });
}

#[test]
fn a_list_of_ten_thousand_objects_is_one_document() {
    let item = "- {apiVersion: v1, kind: Service, metadata: {name: sNUMBER, namespace: x, labels: {a: b}}, spec: {type: LoadBalancer, selector: {app: web, tier: front}, ports: [{port: 80, name: http, targetPort: 8080}, {port: 443, name: https}]}}\n";
    let mut text = "apiVersion: v1\nkind: List\nitems:\n".to_owned();
    for number in 0..10_000 {
        text.push_str(&item.replace("NUMBER", &number.to_string()));
    }
    let read = read(&text);
    assert_eq!(read.mistakes, []);
    assert_eq!(read.objects.len(), 10_000);
    assert_eq!(read.objects[9_999].line, 10_003);
}

#[test]
fn a_field_that_stands_twice_is_a_mistake() {
    let found = mistakes(&SERVICE.replace("kind: Service\n", "kind: Service\nkind: Node\n"));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0], "a.yaml:3: the field \"kind\" stands twice in this mapping");
}

#[test]
fn line_ends_and_marks_of_other_systems_are_read() {
    let text = format!("\u{feff}# hello\n---\n{SERVICE}---\n\n---\n# only this\n...\n");
    for text in [text.clone(), text.replace('\n', "\r\n")] {
        let read = read(&text);
        assert_eq!(read.mistakes, []);
        assert_eq!(read.objects.len(), 1);
        assert_eq!(read.objects[0].line, 3);
    }
}

#[test]
fn folders_are_read_in_order_and_hidden_and_foreign_files_are_not() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let node = |name: &str| format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n");
    write("b.yaml", &node("second"));
    write("a/z.yml", &node("first"));
    write("c.json", r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"third"}}"#);
    write("d.yaml", &node("second"));
    write(".hidden.yaml", "{");
    write(".git/x.yaml", "{");
    write("a.yaml~", "{");
    write("README.md", "# text");
    std::fs::write(root.path().join("e.yaml"), [0xff, 0xfe]).unwrap();
    let mut manifests = Manifests::default();
    manifests.read_paths(&[root.path().to_owned()]);
    let keys: Vec<_> = manifests.objects.iter().map(|object| object.key.as_str()).collect();
    assert_eq!(keys, ["first", "second", "third"]);
    let root = root.path().display();
    let found: Vec<_> = manifests.mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            format!("{root}/e.yaml: cannot be read: it is not UTF-8 text"),
            format!(
                "{root}/d.yaml:1: Node second: the same object stands at {root}/b.yaml:1 already; that one counts"
            ),
        ]
    );
    assert_eq!(manifests.broken.len(), 1);
}

#[test]
fn a_file_that_is_named_is_read_whatever_it_is_called_and_must_exist() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("manifest.txt");
    std::fs::write(&path, SERVICE).unwrap();
    let mut manifests = Manifests::default();
    manifests.read_paths(&[path, root.path().join("none.yaml")]);
    assert_eq!(manifests.objects.len(), 1);
    assert_eq!(manifests.mistakes.len(), 1);
    assert!(manifests.mistakes[0].message.starts_with("cannot be read: No such file"));
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("large.yaml");
    std::fs::File::create(&path).unwrap().set_len(MAX_FILE + 1).unwrap();
    let mut manifests = Manifests::default();
    manifests.read_paths(&[path]);
    assert!(manifests.mistakes[0].message.contains("larger than"), "{:?}", manifests.mistakes);
}

#[test]
fn a_place_knows_the_line_of_a_field_if_it_was_asked_for() {
    let text = format!("---\n{SERVICE}");
    for (mut manifests, expected) in [(Manifests::default(), 2), (Manifests::with_fields(), 9)] {
        manifests.read(&Arc::from(Path::new("a.yaml")), &text);
        let place = manifests.objects[0].take_place();
        let mistake = place.mistake(Some("spec.ports[0].port".to_owned()), "odd".to_owned());
        assert_eq!(mistake.line, Some(expected));
        assert_eq!(place.mistake(None, String::new()).line, Some(2));
    }
}

#[test]
fn annotations_with_dots_have_lines() {
    let text = SERVICE.replace(
        "  name: web\n",
        "  name: web\n  annotations:\n    a.b/c: d\n    metallb.io/loadBalancerIPs: x\n",
    );
    let mut manifests = Manifests::with_fields();
    manifests.read(&Arc::from(Path::new("a.yaml")), &text);
    let place = manifests.objects[0].take_place();
    let field = "metadata.annotations.metallb.io/loadBalancerIPs".to_owned();
    assert_eq!(place.mistake(Some(field), String::new()).line, Some(7));
}

/// Whatever is wrong with a text is told in the words of YAML and Kubernetes.
#[test]
fn no_message_speaks_of_the_program() {
    let rows = [
        ("a: b: c\n", "mapping values are not allowed in this context"),
        ("a: \"x\n", "unclosed quote"),
        ("a: {b: c\n", "unclosed bracket '{'"),
        ("a: *b\n", "there is no anchor (&) above for this alias (*)"),
        ("a: &x [*x]\n", "an anchor (&) stands within itself"),
        ("? {a: b}\n: c\n", "a key must be text"),
        ("<<: 3\n", "only a mapping can be merged (<<)"),
        ("a: .inf\n", ".inf is no number in Kubernetes"),
        ("a: b\na: c\n", "the field \"a\" stands twice in this mapping"),
        ("apiVersion: 1\nkind: Service\n", "apiVersion: text is expected here"),
        ("apiVersion: v1\nkind: List\nitems: 3\n", "List: items: a list is expected here"),
        ("apiVersion: v1\nkind: List\nitems: [3]\n", "not a Kubernetes object"),
    ];
    for (text, expected) in rows {
        let found = mistakes(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains(expected), "{text}: {found:?}");
        for word in ["Options", "from_", "struct", "u16", "expected a ", "::", "serde", "recursi"] {
            assert!(!found[0].contains(word), "{text}: {found:?}");
        }
    }
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
        for Document { line: offset, text: document, .. } in documents(&text) {
            for (index, line) in document.lines().enumerate() {
                prop_assert_eq!(all[usize::try_from(offset).unwrap() + index], line);
            }
        }
    }
}
