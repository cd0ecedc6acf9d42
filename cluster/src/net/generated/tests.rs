// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::net::fake::api;

fn objects(client: Client) -> Generated<&'static str> {
    let owner = Owner::find(client.clone(), "n".to_owned(), None);
    Generated::new(client, ("g/v1", "Thing", "things"), "n".into(), "thing-".into(), owner)
}

#[tokio::test]
async fn an_object_is_created_once_and_anew_when_somebody_removed_it_and_deleted_once() {
    let gone = Arc::new(AtomicUsize::new(0));
    let number = Arc::clone(&gone);
    // The first object is removed by somebody else.
    let (client, asked) = api(move |method, path| match *method {
        Method::POST => {
            let number = number.fetch_add(1, Ordering::SeqCst);
            (201, json!({ "metadata": { "name": format!("thing-{number}") } }))
        }
        Method::PATCH if number.load(Ordering::SeqCst) == 1 && path.contains("gone") => {
            (404, Value::Null)
        }
        _ => (200, json!({})),
    });
    let objects = objects(client);
    let write = async |key| objects.write(&key, json!({ "l": key }), json!({ "a": 1 })).await;
    write("a").await.unwrap();
    write("a").await.unwrap();
    assert_eq!((asked.count(&Method::POST), asked.count(&Method::PATCH)), (1, 2));
    let (path, body) = asked.last(&Method::PATCH).unwrap();
    assert_eq!(path, "/apis/g/v1/namespaces/n/things/thing-0/status");
    assert_eq!(body, json!({ "status": { "a": 1 } }));
    let (path, body) = asked.last(&Method::POST).unwrap();
    assert_eq!(path, "/apis/g/v1/namespaces/n/things");
    let metadata = json!({ "generateName": "thing-", "namespace": "n", "labels": { "l": "a" } });
    assert_eq!(
        body,
        json!({ "apiVersion": "g/v1", "kind": "Thing", "metadata": metadata, "spec": {} })
    );
    lock(&objects.names).insert("b", "gone".to_owned());
    write("b").await.unwrap();
    assert_eq!((asked.count(&Method::POST), asked.count(&Method::PATCH)), (2, 4));
    objects.delete(&"a").await.unwrap();
    objects.delete(&"a").await.unwrap();
    assert_eq!(asked.count(&Method::DELETE), 1);
    assert_eq!(lock(&objects.names).keys().collect::<Vec<_>>(), [&"b"]);
}

#[tokio::test]
async fn a_new_object_without_a_status_to_write_is_a_failure_and_one_that_is_gone_is_deleted() {
    let (client, asked) = api(|method, _| match *method {
        Method::POST => (201, json!({ "metadata": { "name": "thing" } })),
        _ => (404, Value::Null),
    });
    let objects = objects(client);
    assert!(objects.write(&"a", json!({}), json!({})).await.is_err());
    assert_eq!(asked.count(&Method::POST), 1);
    lock(&objects.names).insert("b", "gone".to_owned());
    objects.delete(&"b").await.unwrap();
    assert!(lock(&objects.names).is_empty());
}

#[tokio::test]
async fn a_list_goes_over_all_pages() {
    let (client, _) = api(|_, path| {
        let next = if path.contains("continue=second") { "" } else { "second" };
        let item = json!({ "metadata": { "name": path } });
        (200, json!({ "metadata": { "continue": next }, "items": [item] }))
    });
    let mut pages = Vec::new();
    let take = |page: Object<Value>| pages.extend(page.metadata.name);
    objects(client).list("a%3Db", take).await.unwrap();
    let first = "/apis/g/v1/namespaces/n/things?labelSelector=a%3Db&limit=100";
    assert_eq!(pages, [first.to_owned(), format!("{first}&continue=second")]);
}
