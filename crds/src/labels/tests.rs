// SPDX-License-Identifier: Apache-2.0
use super::*;
use serde_json::{Value, json};

fn selector(value: Value) -> Result<Selector, SelectorError> {
    Selector::parse(&serde_json::from_value(value).unwrap())
}

fn labels(text: &str) -> Labels {
    text.split(' ').filter_map(|pair| pair.split_once('=')).collect()
}

#[test]
fn selectors_match_as_in_kubernetes() {
    let expression = |operator: &str, values: Value| json!({ "matchExpressions": [{ "key": "a", "operator": operator, "values": values }] });
    for (sentence, value, matching, other) in [
        ("an empty one matches everything", json!({}), vec!["", "a=b"], vec![]),
        (
            "all labels must be there",
            json!({ "matchLabels": { "a": "b", "c": "d" } }),
            vec!["a=b c=d", "a=b c=d e=f"],
            vec!["", "a=b", "a=b c=x"],
        ),
        ("In", expression("In", json!(["b", "c"])), vec!["a=b", "a=c x=y"], vec!["", "a=d", "x=b"]),
        (
            "NotIn holds for an absent label",
            expression("NotIn", json!(["b"])),
            vec!["", "a=c"],
            vec!["a=b"],
        ),
        ("Exists", expression("Exists", json!([])), vec!["a=", "a=b"], vec!["", "b=a"]),
        (
            "DoesNotExist",
            expression("DoesNotExist", json!(null)),
            vec!["", "b=a"],
            vec!["a=", "a=b"],
        ),
        (
            "labels and expressions are AND",
            json!({ "matchLabels": { "c": "d" }, "matchExpressions": [{ "key": "a", "operator": "Exists" }] }),
            vec!["a=b c=d"],
            vec!["a=b", "c=d"],
        ),
    ] {
        let selector = selector(value).unwrap();
        for text in matching {
            assert!(selector.matches(&labels(text)), "{sentence}: {text:?}");
        }
        for text in other {
            assert!(!selector.matches(&labels(text)), "{sentence}: {text:?}");
        }
    }
}

#[test]
fn a_list_of_selectors_is_or() {
    let a = selector(json!({ "matchLabels": { "a": "b" } })).unwrap();
    let c = selector(json!({ "matchLabels": { "c": "d" } })).unwrap();
    assert!(any_matches(&[a.clone(), c.clone()], &labels("c=d")));
    assert!(!any_matches(&[a, c], &labels("e=f")));
    assert!(!any_matches(&[], &labels("e=f")));
}

#[test]
fn selectors_that_mean_the_same_are_equal() {
    let in_order = |values: [&str; 2]| {
        selector(
            json!({ "matchExpressions": [{ "key": "a", "operator": "In", "values": values }] }),
        )
    };
    assert_eq!(in_order(["b", "c"]), in_order(["c", "b"]));
    assert_ne!(in_order(["b", "c"]), in_order(["b", "d"]));
}

#[test]
fn keys_and_values_that_no_label_can_have_are_refused() {
    let long = "a".repeat(64);
    for key in ["", "/a", "a/", "a b", "-a", "a-", "A.b/c", "a..b/c", "a/b/c", "ä", long.as_str()]
    {
        let refused = selector(json!({ "matchLabels": { key: "b" } }));
        assert_eq!(refused, Err(SelectorError::Key(key.into())));
    }
    for key in ["a", "A_b.c-d", "example.com/a", "kubernetes.io/metadata.name"] {
        assert!(selector(json!({ "matchLabels": { key: "" } })).is_ok(), "{key}");
    }
    for value in ["a b", "-", "a/b", long.as_str()] {
        assert!(
            matches!(
                selector(json!({ "matchLabels": { "a": value } })),
                Err(SelectorError::Value { .. })
            ),
            "{value}"
        );
    }
}

#[test]
fn labels_are_found_by_key_and_come_in_order() {
    let labels: Labels = [("b", "2"), ("a", "1"), ("b", "3")].into_iter().collect();
    assert_eq!((labels.get("a"), labels.get("b"), labels.get("c")), (Some("1"), Some("3"), None));
    assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "3")]);
    assert_eq!(labels.filtered(|key| key != "a").iter().count(), 1);
    assert!(serde_json::from_value::<Labels>(Value::Null).unwrap().is_empty());
}
