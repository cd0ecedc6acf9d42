// SPDX-License-Identifier: Apache-2.0
//! One document as an object: which kind it is, and whether it parses as that.

use std::path::Path;
use std::sync::Arc;

use crds::config::ConfigKind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::tree::Tree;
use super::{Manifests, Mistake, Place};
use crate::model::{EndpointSliceObject, NamespaceObject, NodeObject, ServiceObject};

/// Kinds of core/v1 that a folder may well hold and ferrolb has no use for. Any other kind of core/v1 is
/// probably a misspelt one.
const OTHER_CORE_KINDS: [&str; 13] = [
    "ConfigMap",
    "Endpoints",
    "Event",
    "LimitRange",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Pod",
    "PodTemplate",
    "ReplicationController",
    "ResourceQuota",
    "Secret",
    "ServiceAccount",
    "Binding",
];

/// Kinds of metallb.io that programs write and nobody needs to give.
const STATUS_KINDS: [&str; 3] = ["ServiceL2Status", "ServiceBGPStatus", "ConfigurationState"];

/// An object of a file.
#[derive(Debug)]
pub struct Manifest {
    /// The file.
    pub file: Arc<Path>,
    /// The line on which the document begins.
    pub line: u64,
    /// The kind's name.
    pub kind: String,
    /// `namespace/name`, or the name where there is no namespace.
    pub key: String,
    /// What it is.
    pub payload: Payload,
    fields: Option<(u64, Tree)>,
}

/// An object that parsed as its type; configuration objects are checked as a whole later.
#[derive(Debug)]
pub enum Payload {
    /// A Service.
    Service(Box<ServiceObject>),
    /// An EndpointSlice.
    EndpointSlice(Box<EndpointSliceObject>),
    /// A Node.
    Node(Box<NodeObject>),
    /// A Namespace.
    Namespace(Box<NamespaceObject>),
    /// An object of metallb.io.
    Config(ConfigKind, Value),
}

impl Manifest {
    /// A mistake in this object.
    #[must_use]
    pub fn mistake(&self, field: Option<String>, message: String) -> Mistake {
        self.place(None).mistake(field, message)
    }

    /// Where it stands, with its fields if [`Manifests::with_fields`] read it: they are handed out once.
    #[must_use]
    pub fn take_place(&mut self) -> Place {
        let fields = self.fields.take();
        self.place(fields)
    }

    fn place(&self, fields: Option<(u64, Tree)>) -> Place {
        let object = format!("{} {}", self.kind, self.key);
        Place { file: Arc::clone(&self.file), line: self.line, object, fields }
    }
}

/// Takes a document, or the items of a `List`, into `manifests`.
pub(super) fn manifests(manifests: &mut Manifests, file: &Arc<Path>, offset: u64, tree: Tree) {
    let (api_version, kind) = (tree.text("apiVersion"), tree.text("kind"));
    if kind.as_deref().is_some_and(|kind| kind.ends_with("List"))
        && let Tree::Mapping(entries) = &tree
        && entries.iter().any(|(key, _)| key.value == "items")
    {
        let Tree::Mapping(entries) = tree else { return };
        for (key, entry) in entries {
            if let (true, Tree::Sequence(items)) = (key.value == "items", entry.value) {
                for item in items {
                    self::manifests(manifests, file, offset, item.value);
                }
            }
        }
        return;
    }
    let reader = Reader { file, offset, line: tree.first_line(), tree: &tree };
    let outcome = match (&tree, api_version, kind) {
        (Tree::Scalar(Value::Null), ..) => return,
        (Tree::Scalar(_) | Tree::Sequence(_), ..) => Err(reader.mistake(
            None,
            None,
            "not a Kubernetes object: a mapping with apiVersion and kind is expected".to_owned(),
        )),
        (Tree::Mapping(_), Some(api_version), Some(kind)) => reader.object(&api_version, &kind),
        (Tree::Mapping(_), api_version, _) => {
            let field = if api_version.is_some() { "kind" } else { "apiVersion" };
            let missing = "missing: a Kubernetes object needs apiVersion and kind".to_owned();
            Err(reader.mistake(None, Some(field), missing))
        }
    };
    match outcome {
        Ok(Some(mut object)) => {
            object.fields = manifests.remember_fields.then_some((offset, tree));
            manifests.objects.push(object);
        }
        Ok(None) => manifests.ignored += 1,
        Err(mistake) => manifests.mistakes.push(mistake),
    }
}

/// What an API server checks of any object's metadata.
#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "metadata")]
    _metadata: ObjectMeta,
}

/// Reads one document.
struct Reader<'a> {
    file: &'a Arc<Path>,
    offset: u64,
    line: u64,
    tree: &'a Tree,
}

impl Reader<'_> {
    fn mistake(&self, object: Option<&str>, field: Option<&str>, message: String) -> Mistake {
        let line = field.and_then(|field| self.tree.line(field)).unwrap_or(self.line);
        Mistake {
            file: Arc::clone(self.file),
            line: Some(line + self.offset),
            object: object.map(str::to_owned),
            field: field.map(str::to_owned),
            message,
        }
    }

    /// The object; none for a kind that ferrolb has no use for.
    fn object(&self, api_version: &str, kind: &str) -> Result<Option<Manifest>, Mistake> {
        if !is_used(api_version, kind) {
            return Ok(None);
        }
        let value = self.tree.value();
        let name = self.name(&value, kind, "name")?;
        let Some(name) = name else {
            return Err(self.mistake(Some(kind), Some("metadata.name"), "missing".to_owned()));
        };
        let namespace = self.name(&value, kind, "namespace")?.unwrap_or("default");
        let scoped = format!("{namespace}/{name}");
        let (key, payload) = match (api_version, kind) {
            ("v1", "Service") => {
                let service = self.typed::<ServiceObject>(kind, &scoped, value.clone())?;
                (scoped, Payload::Service(Box::new(service)))
            }
            ("discovery.k8s.io/v1", "EndpointSlice") => {
                let slice = self.typed(kind, &scoped, value.clone())?;
                (scoped, Payload::EndpointSlice(Box::new(slice)))
            }
            ("v1", "Node") => {
                let node = self.typed(kind, name, value.clone())?;
                (name.to_owned(), Payload::Node(Box::new(node)))
            }
            ("v1", "Namespace") => {
                let namespace = self.typed(kind, name, value.clone())?;
                (name.to_owned(), Payload::Namespace(Box::new(namespace)))
            }
            (version, kind) => {
                let config = self.config_kind(version, kind, &scoped)?;
                self.typed::<Metadata>(kind, &scoped, value.clone())?;
                (name.to_owned(), Payload::Config(config, value.clone()))
            }
        };
        let (file, line) = (Arc::clone(self.file), self.line + self.offset);
        Ok(Some(Manifest { file, line, kind: kind.to_owned(), key, payload, fields: None }))
    }

    /// A name in the metadata; none where it is absent.
    fn name<'a>(
        &self,
        value: &'a Value,
        kind: &str,
        field: &str,
    ) -> Result<Option<&'a str>, Mistake> {
        let message = match value.pointer(&format!("/metadata/{field}")) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(name)) if is_name(name) => return Ok(Some(name)),
            Some(Value::String(name)) => format!("{name:?} is not a valid name"),
            Some(other) => format!("{other} is not text; it needs quotes"),
        };
        Err(self.mistake(Some(kind), Some(&format!("metadata.{field}")), message))
    }

    fn config_kind(&self, api_version: &str, kind: &str, key: &str) -> Result<ConfigKind, Mistake> {
        let object = format!("{kind} {key}");
        let Some(config) = ConfigKind::from_kind(kind) else {
            let message = format!("unknown kind {kind:?} in apiVersion {api_version:?}");
            return Err(self.mistake(Some(&object), Some("kind"), message));
        };
        let versions: &[&str] = match config {
            ConfigKind::BgpPeer => &["metallb.io/v1beta1", "metallb.io/v1beta2"],
            ConfigKind::ExternalIpPool => &["crd.antrea.io/v1beta1"],
            ConfigKind::AddressPool => &["metallb.io/v1alpha1", "metallb.io/v1beta1"],
            _ => &["metallb.io/v1beta1"],
        };
        if !versions.contains(&api_version) {
            let message = format!("{api_version:?} is not served; use {}", versions.join(" or "));
            return Err(self.mistake(Some(&object), Some("apiVersion"), message));
        }
        Ok(config)
    }

    fn typed<T: DeserializeOwned>(
        &self,
        kind: &str,
        key: &str,
        value: Value,
    ) -> Result<T, Mistake> {
        serde_path_to_error::deserialize(value).map_err(|error| {
            let path = error.path().to_string();
            let field = (path != ".").then_some(path.as_str());
            self.mistake(Some(&format!("{kind} {key}")), field, error.inner().to_string())
        })
    }
}

/// Whether ferrolb has a use for the kind, or would have for one that is spelt nearly so.
fn is_used(api_version: &str, kind: &str) -> bool {
    match api_version {
        "v1" => !OTHER_CORE_KINDS.contains(&kind),
        "discovery.k8s.io/v1" => true,
        // Antrea has many kinds that are not for here.
        _ if api_version.starts_with("crd.antrea.io/") => kind == "ExternalIPPool",
        _ => api_version.starts_with("metallb.io/") && !STATUS_KINDS.contains(&kind),
    }
}

/// RFC 1123 subdomain names, as Kubernetes has them.
fn is_name(name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= 253
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| {
            byte.is_ascii_digit() || byte.is_ascii_lowercase() || matches!(byte, b'-' | b'.')
        })
}
