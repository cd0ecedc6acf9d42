// SPDX-License-Identifier: Apache-2.0
//! One document as an object: which kind it is, and whether it parses as that.

use std::path::Path;
use std::sync::Arc;

use cluster::model::{EndpointSliceObject, NamespaceObject, NodeObject, ServiceObject};
use crds::config::ConfigKind;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::tree::Tree;
use super::{Grade, Manifests, Mistake, Place};
use crate::schema::{self, KindUse, Trimmed};

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
    /// The object itself, without the fields in which something is wrong; only if [`Manifests::with_fields`] read it.
    pub object: Trimmed,
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
        for (key, entry) in entries.into_iter().filter(|(key, _)| key.value == "items") {
            match entry.value {
                Tree::Sequence(items) => {
                    for item in items {
                        self::manifests(manifests, file, offset, item.value);
                    }
                }
                Tree::Scalar(Value::Null) => {}
                Tree::Scalar(_) | Tree::Mapping(_) => manifests.mistakes.push(Mistake {
                    file: Arc::clone(file),
                    line: Some(key.referenced.line() + offset),
                    object: kind.clone(),
                    field: Some("items".to_owned()),
                    message: "a list is expected here".to_owned(),
                    grade: Grade::Refused,
                }),
            }
        }
        return;
    }
    let reader = Reader { file, offset, line: tree.first_line(), tree: &tree };
    let refused = |field: &str, message: &str| Read {
        mistakes: vec![reader.found(None, field, message.to_owned(), Grade::Refused)],
        ..Read::default()
    };
    let read = match (&tree, api_version, kind) {
        (Tree::Scalar(Value::Null), ..) => return,
        (Tree::Scalar(_) | Tree::Sequence(_), ..) => {
            refused("", "not a Kubernetes object: a mapping with apiVersion and kind is expected")
        }
        (Tree::Mapping(_), Some(api_version), Some(kind)) => reader.object(&api_version, &kind),
        (Tree::Mapping(_), api_version, _) => {
            let field = if api_version.is_some() { "kind" } else { "apiVersion" };
            let message = match tree.has(field) {
                true => "text is expected here",
                false => "missing: a Kubernetes object needs apiVersion and kind",
            };
            refused(field, message)
        }
    };
    manifests.mistakes.extend(read.mistakes);
    manifests.ignored += usize::from(read.foreign);
    let keeps_all = manifests.remember_fields;
    let list = match read.object.is_some() {
        true => &mut manifests.objects,
        false => &mut manifests.refused,
    };
    let kept = read.object.or(read.refused.filter(|_| keeps_all));
    if let Some(mut object) = kept {
        match keeps_all {
            true => object.fields = Some((offset, tree)),
            false => object.object = Trimmed::default(),
        }
        list.push(object);
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
    fn found(&self, object: Option<&str>, field: &str, message: String, grade: Grade) -> Mistake {
        let line = self.tree.line(field).unwrap_or(self.line);
        Mistake {
            file: Arc::clone(self.file),
            line: Some(line + self.offset),
            object: object.map(str::to_owned),
            field: (!field.is_empty()).then(|| field.to_owned()),
            message,
            grade,
        }
    }

    /// The object, and what is wrong in it; no object for a kind that ferrolb has no use for, and of one that an API server would
    /// not take.
    fn object(&self, api_version: &str, kind: &str) -> Read {
        let mut object = Trimmed::new(self.tree.value());
        let name = |field: &str| object.value().pointer(&format!("/metadata/{field}"))?.as_str();
        let name_of = name("name").filter(|name| !name.is_empty()).map(str::to_owned);
        let namespace = name("namespace").filter(|name| !name.is_empty()).unwrap_or("default");
        let scoped = name_of.as_ref().map(|name| format!("{namespace}/{name}"));
        // Configuration is read in one namespace, and told by its name alone.
        let is_scoped = matches!(kind, "Service" | "EndpointSlice");
        let label = match (&scoped, &name_of) {
            (Some(scoped), _) if is_scoped => format!("{kind} {scoped}"),
            (_, Some(name)) => format!("{kind} {name}"),
            _ => kind.to_owned(),
        };
        let mut read = Read::default();
        match schema::standing(api_version, kind) {
            KindUse::Used => {}
            KindUse::Foreign => {
                read.foreign = true;
                return read;
            }
            KindUse::Nobody { field, message, grade } => {
                read.foreign = grade == Grade::Hint;
                read.mistakes.push(self.found(Some(&label), field, message, grade));
                return read;
            }
        }
        for fault in schema::judge(api_version, kind, &mut object) {
            read.mistakes.push(self.found(Some(&label), &fault.field, fault.message, fault.grade));
        }
        let (Some(scoped), Some(name)) = (scoped, name_of) else {
            if read.is_taken() {
                let message = "missing: an object of a folder needs a name".to_owned();
                read.mistakes.push(self.found(
                    Some(kind),
                    "metadata.name",
                    message,
                    Grade::Refused,
                ));
            }
            return read;
        };
        let value = object.value().clone();
        let is_core = !api_version.contains('/') || kind == "EndpointSlice";
        let (key, payload) = match kind {
            "Service" if is_core => (scoped, typed(value).map(Box::new).map(Payload::Service)),
            "EndpointSlice" => (scoped, typed(value).map(Box::new).map(Payload::EndpointSlice)),
            "Node" => (name, typed(value).map(Box::new).map(Payload::Node)),
            "Namespace" => (name, typed(value).map(Box::new).map(Payload::Namespace)),
            _ => {
                let config = ConfigKind::from_kind(kind).ok_or_else(String::new);
                (name, config.map(|config| Payload::Config(config, value)))
            }
        };
        match payload {
            Ok(payload) => {
                let (file, line) = (Arc::clone(self.file), self.line + self.offset);
                let kind = kind.to_owned();
                let manifest = Manifest { file, line, kind, key, payload, object, fields: None };
                match read.is_taken() {
                    true => read.object = Some(manifest),
                    false => read.refused = Some(manifest),
                }
            }
            Err(field) if read.is_taken() => {
                let message = "has a form that is not understood".to_owned();
                read.mistakes.push(self.found(Some(&label), &field, message, Grade::Refused));
            }
            Err(_) => {}
        }
        read
    }
}

/// What a document came to.
#[derive(Default)]
struct Read {
    object: Option<Manifest>,
    /// What is left of one that an API server would not take.
    refused: Option<Manifest>,
    /// Whether ferrolb has no use for it.
    foreign: bool,
    mistakes: Vec<Mistake>,
}

impl Read {
    /// Whether an API server would take the object.
    fn is_taken(&self) -> bool {
        self.mistakes.iter().all(|mistake| mistake.grade != Grade::Refused)
    }
}

/// The value as its type, or the field that does not fit.
fn typed<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| error.path().to_string())
}
