//! One document as an object: which kind it is, and whether it parses as that.

use std::path::Path;
use std::sync::Arc;

use crds::config::ConfigKind;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::tree::Tree;
use super::{Manifests, Mistake};
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
        Mistake {
            file: Arc::clone(&self.file),
            line: Some(self.line),
            object: Some(format!("{} {}", self.kind, self.key)),
            field,
            message,
        }
    }
}

/// Takes a document, or the items of a `List`, into `manifests`.
pub(super) fn manifests(manifests: &mut Manifests, file: &Arc<Path>, offset: u64, tree: &Tree) {
    let Tree::Mapping(entries) = tree else {
        if !matches!(tree, Tree::Scalar(Value::Null)) {
            manifests.mistakes.push(Mistake {
                file: Arc::clone(file),
                line: Some(offset + 1),
                object: None,
                field: None,
                message: "not a Kubernetes object: a mapping with apiVersion and kind is expected"
                    .to_owned(),
            });
        }
        return;
    };
    let line = entries.first().map_or(1, |(key, _)| key.referenced.line());
    let reader = Reader { file, offset, line, tree };
    let text = |name: &str| {
        entries.iter().find(|(key, _)| key.value == name).and_then(|(_, entry)| {
            match &entry.value {
                Tree::Scalar(Value::String(text)) => Some(text.as_str()),
                Tree::Scalar(_) | Tree::Sequence(_) | Tree::Mapping(_) => None,
            }
        })
    };
    let (Some(api_version), Some(kind)) = (text("apiVersion"), text("kind")) else {
        let field = if text("kind").is_none() { "kind" } else { "apiVersion" };
        let missing = "missing: a Kubernetes object needs apiVersion and kind".to_owned();
        manifests.mistakes.push(reader.mistake(None, Some(field), missing));
        return;
    };
    if kind.ends_with("List") && entries.iter().any(|(key, _)| key.value == "items") {
        for (key, entry) in entries {
            if let (true, Tree::Sequence(items)) = (key.value == "items", &entry.value) {
                for item in items {
                    self::manifests(manifests, file, offset, &item.value);
                }
            }
        }
        return;
    }
    match reader.object(api_version, kind) {
        Ok(Some(object)) => manifests.objects.push(object),
        Ok(None) => manifests.ignored += 1,
        Err(mistake) => manifests.mistakes.push(mistake),
    }
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
        let value = self.tree.value();
        let metadata =
            |name: &str| value.pointer(&format!("/metadata/{name}")).and_then(Value::as_str);
        let namespace = metadata("namespace").unwrap_or("default");
        let Some(name) = metadata("name").filter(|name| is_name(name)) else {
            let message = match metadata("name") {
                Some(name) => format!("{name:?} is not a valid name"),
                None => "missing".to_owned(),
            };
            return Err(self.mistake(Some(kind), Some("metadata.name"), message));
        };
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
            ("v1", other) if OTHER_CORE_KINDS.contains(&other) => return Ok(None),
            ("v1" | "discovery.k8s.io/v1", _) => {
                let message = format!("unknown kind {kind:?} in apiVersion {api_version:?}");
                return Err(self.mistake(Some(&format!("{kind} {scoped}")), Some("kind"), message));
            }
            (version, kind) if version.starts_with("metallb.io/") => {
                match self.config_kind(version, kind, &scoped)? {
                    Some(config) => (name.to_owned(), Payload::Config(config, value.clone())),
                    None => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        let (file, line) = (Arc::clone(self.file), self.line + self.offset);
        Ok(Some(Manifest { file, line, kind: kind.to_owned(), key, payload }))
    }

    fn config_kind(
        &self,
        api_version: &str,
        kind: &str,
        key: &str,
    ) -> Result<Option<ConfigKind>, Mistake> {
        let object = format!("{kind} {key}");
        if STATUS_KINDS.contains(&kind) {
            return Ok(None);
        }
        let Some(config) = ConfigKind::from_kind(kind) else {
            let message = format!("unknown kind {kind:?} in apiVersion {api_version:?}");
            return Err(self.mistake(Some(&object), Some("kind"), message));
        };
        let versions: &[&str] = match config {
            ConfigKind::BgpPeer => &["metallb.io/v1beta1", "metallb.io/v1beta2"],
            _ => &["metallb.io/v1beta1"],
        };
        if !versions.contains(&api_version) {
            let message = format!("{api_version:?} is not served; use {}", versions.join(" or "));
            return Err(self.mistake(Some(&object), Some("apiVersion"), message));
        }
        Ok(Some(config))
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
