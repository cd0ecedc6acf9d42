// SPDX-License-Identifier: Apache-2.0
//! Objects whose names the API server makes, one for each key, with everything in their status: an object is created
//! first, and its status written then.

use std::collections::BTreeMap;
use std::sync::Mutex;

use http::Method;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::core::ObjectList;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};

use super::pod::Owner;
use super::request::{delete, send};
use super::writer::lock;

/// The number of objects per page of a list.
const PAGE_SIZE: u32 = 100;

/// A kind: the group with the version, such as `metallb.io/v1beta1`, the kind's name, and its name in paths.
pub type Resource = (&'static str, &'static str, &'static str);

/// The objects of one kind in one namespace.
pub struct Generated<K> {
    client: Client,
    resource: Resource,
    namespace: String,
    generate_name: String,
    owner: Owner,
    /// The names of the objects that exist, by key.
    pub names: Mutex<BTreeMap<K, String>>,
}

/// The parts of an object that are read.
#[derive(Clone, Debug, Deserialize)]
pub struct Object<S> {
    /// Standard metadata.
    pub metadata: ObjectMeta,
    /// The status, if there is one.
    pub status: Option<S>,
}

impl<K: Clone + Ord> Generated<K> {
    /// New ones get names that begin with `generate_name`, and this owner.
    #[must_use]
    pub fn new(
        client: Client,
        resource: Resource,
        namespace: String,
        generate_name: String,
        owner: Owner,
    ) -> Self {
        Self { client, resource, namespace, generate_name, owner, names: Mutex::default() }
    }

    fn path(&self, rest: &str) -> String {
        let (api_version, _, plural) = self.resource;
        format!("/apis/{api_version}/namespaces/{}/{plural}{rest}", self.namespace)
    }

    /// Hands over every object of a label selector, which is in the form of a URL, a page at a time, so that never
    /// all of them are in memory.
    ///
    /// # Errors
    /// When the API refuses or cannot be reached.
    pub async fn list<S: Clone + DeserializeOwned>(
        &self,
        selector: &str,
        mut take: impl FnMut(Object<S>) + Send,
    ) -> Result<(), kube::Error> {
        let mut token = String::new();
        loop {
            let path = self.path(&format!("?labelSelector={selector}&limit={PAGE_SIZE}{token}"));
            let page: ObjectList<Object<S>> = send(&self.client, Method::GET, path, None).await?;
            page.items.into_iter().for_each(&mut take);
            match page.metadata.continue_ {
                Some(next) if !next.is_empty() => token = format!("&continue={next}"),
                _ => return Ok(()),
            }
        }
    }

    /// Writes a status by a merge patch, into a new object with these labels where there is none.
    ///
    /// # Errors
    /// When the API refuses or cannot be reached.
    pub async fn write(&self, key: &K, labels: Value, status: Value) -> Result<(), kube::Error> {
        let patch = json!({ "status": status });
        loop {
            let known = lock(&self.names).get(key).cloned();
            let is_new = known.is_none();
            let name = match known {
                Some(name) => name,
                None => self.create(key, &labels).await?,
            };
            let path = self.path(&format!("/{name}/status"));
            match send(&self.client, Method::PATCH, path, Some(&patch)).await {
                Ok(IgnoredAny) => return Ok(()),
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    // The object has been removed meanwhile: the write begins again.
                    lock(&self.names).remove(key);
                    if is_new {
                        return Err(kube::Error::Api(status));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn create(&self, key: &K, labels: &Value) -> Result<String, kube::Error> {
        let (generate_name, namespace) = (&self.generate_name, &self.namespace);
        let mut metadata =
            json!({ "generateName": generate_name, "namespace": namespace, "labels": labels });
        self.owner.own(&mut metadata).await;
        let (api_version, kind, _) = self.resource;
        let new =
            json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": {} });
        let path = self.path("");
        let created: Object<IgnoredAny> =
            send(&self.client, Method::POST, path, Some(&new)).await?;
        let name = created.metadata.name.unwrap_or_default();
        lock(&self.names).insert(key.clone(), name.clone());
        Ok(name)
    }

    /// Removes the object of this key, if there is one.
    ///
    /// # Errors
    /// When the API refuses or cannot be reached.
    pub async fn delete(&self, key: &K) -> Result<(), kube::Error> {
        let name = lock(&self.names).get(key).cloned();
        if let Some(name) = name {
            self.delete_named(&name).await?;
            lock(&self.names).remove(key);
        }
        Ok(())
    }

    /// Removes an object by its name.
    ///
    /// # Errors
    /// When the API refuses or cannot be reached.
    pub async fn delete_named(&self, name: &str) -> Result<(), kube::Error> {
        delete(&self.client, self.path(&format!("/{name}"))).await
    }
}

#[cfg(test)]
mod tests;
