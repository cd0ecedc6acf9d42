// SPDX-License-Identifier: Apache-2.0
//! Secrets of the own namespace: only their type and their key `password` are kept.

use crds::config::Secret;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::watcher;
use kube::{Api, Client};

use super::follower::Follower;
use crate::snapshot::Object;

pub(super) async fn follow(client: Client, namespace: String, follower: Follower) {
    let resource = ApiResource {
        group: String::new(),
        version: "v1".into(),
        api_version: "v1".into(),
        kind: "Secret".into(),
        plural: "secrets".into(),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &resource);
    let convert = |object: DynamicObject| {
        let name = object.metadata.name.clone().unwrap_or_default();
        let secret = Secret::parse(&serde_json::to_value(object).ok()?);
        Some(Object::Secret(name.into(), secret))
    };
    follower.follow(api, watcher::Config::default(), convert, || {}).await;
}
