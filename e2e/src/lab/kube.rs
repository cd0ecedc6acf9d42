// SPDX-License-Identifier: Apache-2.0
//! The API as the administrator sees it: objects are JSON, calls wait for their answer. The requests are made
//! by a thread that lives in the control plane's namespace, so that nothing of the rack shows outside of it.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc as answers;
use std::time::Duration;

use anyhow::{Context, bail};
use http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Namespace of the configuration objects.
pub const SYSTEM: &str = "metallb-system";

/// What a request brought.
pub type Answer = Result<Value, Failure>;
type Call = (Request<Vec<u8>>, answers::Sender<Answer>);

/// Why a request brought nothing.
#[derive(Debug)]
pub struct Failure {
    /// The HTTP status, if the API answered at all.
    pub code: Option<u16>,
    /// What was said.
    pub message: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "API: {:?} {}", self.code, self.message)
    }
}

impl std::error::Error for Failure {}

/// The API.
#[derive(Clone, Debug)]
pub struct Kube {
    calls: mpsc::UnboundedSender<Call>,
}

impl Kube {
    /// Starts the thread that makes the requests.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(namespace: &str, kubeconfig: &Path) -> anyhow::Result<Self> {
        let (calls, receiver) = mpsc::unbounded_channel();
        let namespace = File::open(namespace)?;
        let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
        std::thread::Builder::new().name("kube".into()).spawn(move || {
            if let Err(error) = serve(&namespace, kubeconfig, receiver) {
                eprintln!("e2e: the thread for API requests ended: {error:#}");
            }
        })?;
        Ok(Self { calls })
    }

    fn call(&self, request: http::request::Builder, body: Vec<u8>) -> Answer {
        let failure = |message: String| Failure { code: None, message };
        let request = request.body(body).map_err(|error| failure(error.to_string()))?;
        let (answer, answered) = answers::channel();
        self.calls.send((request, answer)).map_err(|error| failure(error.to_string()))?;
        answered.recv().map_err(|error| failure(error.to_string()))?
    }

    /// What a path answers.
    ///
    /// # Errors
    /// When the API refuses or is not there.
    pub fn get(&self, path: &str) -> Answer {
        self.call(Request::get(path), Vec::new())
    }

    /// What a path answers that speaks no JSON (`/metrics`).
    ///
    /// # Errors
    /// When the API refuses or is not there.
    pub fn text(&self, path: &str) -> Result<String, Failure> {
        let plain = Request::get(path).header("accept", "text/plain");
        match self.call(plain, Vec::new())? {
            Value::String(text) => Ok(text),
            other => Err(Failure { code: None, message: format!("no text: {other}") }),
        }
    }

    /// As [`Kube::get`], with nothing for what does not exist.
    ///
    /// # Errors
    /// When the API refuses or is not there.
    pub fn find(&self, path: &str) -> Result<Option<Value>, Failure> {
        match self.get(path) {
            Ok(object) => Ok(Some(object)),
            Err(Failure { code: Some(404), .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The items of a list.
    ///
    /// # Errors
    /// When the API refuses or is not there.
    pub fn list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let list = self.get(path)?;
        Ok(list.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
    }

    /// Creates an object.
    ///
    /// # Errors
    /// When the API refuses or is not there.
    pub fn create(&self, object: &Value) -> Answer {
        let request = Request::post(collection(object)).header("content-type", "application/json");
        self.call(request, object.to_string().into_bytes())
    }

    /// Creates an object at a path, which may have a query: `?dryRun=All`, or end in a subresource.
    ///
    /// # Errors
    /// When the API refuses or is not there.
    pub fn post(&self, path: &str, object: &Value) -> Answer {
        let request = Request::post(path).header("content-type", "application/json");
        self.call(request, object.to_string().into_bytes())
    }

    /// As [`Kube::post`], with the object as somebody wrote it.
    ///
    /// # Errors
    /// When the API refuses or is not there.
    pub fn post_yaml(&self, path: &str, text: &str) -> Answer {
        let request = Request::post(path).header("content-type", "application/yaml");
        self.call(request, text.as_bytes().to_vec())
    }

    /// Puts an object in the place of the one that is there.
    ///
    /// # Errors
    /// When the API refuses or is not there.
    pub fn replace(&self, object: &Value) -> Answer {
        let request = Request::put(path(object)).header("content-type", "application/json");
        self.call(request, object.to_string().into_bytes())
    }

    /// Makes an object be as given (server-side apply).
    ///
    /// # Errors
    /// When the API refuses or is not there.
    pub fn apply(&self, object: &Value) -> Answer {
        let path = format!("{}?fieldManager=e2e&force=true", path(object));
        let request = Request::patch(path).header("content-type", "application/apply-patch+yaml");
        self.call(request, object.to_string().into_bytes())
    }

    /// Changes some fields (merge patch); `path` may end in a subresource.
    ///
    /// # Errors
    /// When the API refuses or is not there.
    pub fn patch(&self, path: &str, change: &Value) -> Answer {
        let request = Request::patch(path).header("content-type", "application/merge-patch+json");
        self.call(request, change.to_string().into_bytes())
    }

    /// Deletes what is at a path, at once; what is not there is fine.
    ///
    /// # Errors
    /// When the API refuses or is not there.
    pub fn delete(&self, path: &str) -> Result<(), Failure> {
        let request = Request::delete(path).header("content-type", "application/json");
        match self.call(request, json!({"gracePeriodSeconds": 0}).to_string().into_bytes()) {
            Ok(_) | Err(Failure { code: Some(404), .. }) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// The events about a Service of the namespace default, as (type, reason, message).
    ///
    /// # Errors
    /// When the API refuses or is not there.
    pub fn events(&self, service: &str) -> Result<Vec<Event>, Failure> {
        let events = self.list("/api/v1/namespaces/default/events")?;
        let text = |event: &Value, field: &str| {
            event.pointer(field).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        Ok(events
            .iter()
            .filter(|event| text(event, "/involvedObject/name") == service)
            // The API server's own repair of cluster addresses may find one just before it is noted.
            .filter(|event| {
                !text(event, "/reportingComponent").starts_with("ipallocator")
                    && !text(event, "/source/component").starts_with("ipallocator")
            })
            .map(|event| Event {
                kind: text(event, "/type"),
                reason: text(event, "/reason"),
                message: text(event, "/message"),
            })
            .collect())
    }
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Normal or Warning.
    pub kind: String,
    /// One word.
    pub reason: String,
    /// The text.
    pub message: String,
}

/// Where an object is.
#[must_use]
pub fn path(object: &Value) -> String {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    format!("{}/{name}", collection(object))
}

/// Where objects of its kind are.
#[must_use]
pub fn collection(object: &Value) -> String {
    let text = |field| object.pointer(field).and_then(Value::as_str);
    let version = text("/apiVersion").unwrap_or_default();
    let root = if version.contains('/') { "/apis" } else { "/api" };
    let plural = plural(text("/kind").unwrap_or_default());
    match text("/metadata/namespace") {
        Some(namespace) => format!("{root}/{version}/namespaces/{namespace}/{plural}"),
        None => format!("{root}/{version}/{plural}"),
    }
}

/// The plural of a kind, as it is in paths.
#[must_use]
pub fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') => format!("{kind}es"),
        None => format!("{kind}s"),
    }
}

/// The documents of a YAML text.
///
/// # Errors
/// When one is not YAML.
pub fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    text.split("\n---\n")
        .map(|document| document.trim_start_matches("---\n"))
        .filter(|document| !document.trim().is_empty())
        .map(|document| serde_saphyr::from_str(document).context("a manifest of the rack"))
        .collect()
}

fn serve(
    namespace: &File,
    kubeconfig: Kubeconfig,
    mut calls: mpsc::UnboundedReceiver<Call>,
) -> anyhow::Result<()> {
    setns(namespace, CloneFlags::CLONE_NEWNET).context("setns")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        let client = kube::Client::try_from(config)?;
        while let Some((request, answer)) = calls.recv().await {
            let client = client.clone();
            tokio::spawn(async move {
                let plain = request.headers().contains_key("accept");
                let asked = async {
                    if plain {
                        client.request_text(request).await.map(Value::String)
                    } else {
                        client.request::<Value>(request).await
                    }
                };
                let called = tokio::time::timeout(TIMEOUT, asked).await;
                let result = match called {
                    Ok(Ok(value)) => Ok(value),
                    Ok(Err(kube::Error::Api(status))) => {
                        Err(Failure { code: Some(status.code), message: status.message.clone() })
                    }
                    Ok(Err(error)) => Err(Failure { code: None, message: error.to_string() }),
                    Err(_) => Err(Failure { code: None, message: "no answer in time".into() }),
                };
                // Whoever asked may have gone on.
                let _ = answer.send(result);
            });
        }
        anyhow::Ok(())
    })
}

/// The message with which the API refused; an error if it did not refuse.
///
/// # Errors
/// When the request succeeded or failed in another way.
pub fn refusal(answer: Answer) -> anyhow::Result<String> {
    match answer {
        Err(Failure { code: Some(422), message }) => Ok(message),
        Err(failure) => Err(failure.into()),
        Ok(object) => bail!("the API accepted {object}"),
    }
}
