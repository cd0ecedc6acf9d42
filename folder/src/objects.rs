// SPDX-License-Identifier: Apache-2.0
//! A folder of manifests as a cluster: what an API server would add is added, and the status comes from a
//! state file outside the folder. Reading is all that happens here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::manifest::{Manifests, Mistake, Payload};
use cluster::model::{NodeObject, ServiceObject};
use cluster::{Kind, Object, Snapshot};

/// Every kind that a folder can hold.
fn kinds() -> Vec<Kind> {
    Kind::with_configuration(&[Kind::Service, Kind::EndpointSlice, Kind::Node, Kind::Namespace])
}

/// What has been given, as the state file keeps it across restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderState {
    /// The node on which it was written.
    pub node: String,
    /// By `namespace/name`.
    pub services: BTreeMap<String, ServiceState>,
}

/// The status of one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceState {
    /// Its addresses.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// The pool that they are from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The node that announces them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced_by: Option<String>,
    /// Why there is no address, or why nobody announces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Makes the snapshot equal to what the manifests and the state say, read for the first and only time.
pub fn feed(snapshot: &mut Snapshot, manifests: Manifests, state: &FolderState, node: &str) {
    Folder::default().feed(snapshot, manifests, state, node);
}

/// A folder that is read again and again. It remembers which file each object came from: an object of a file that
/// cannot be read as a whole now is not gone, and stays as it was (docs/design/rules.md, rule 6). Nor are those of a file that holds
/// nothing all at once, as one does that is being written: they go with the file, or when something else stands in it.
#[derive(Debug, Default)]
pub struct Folder {
    origins: BTreeMap<(Kind, Box<str>), Arc<Path>>,
    /// Other hosts that stand in as nodes where the folder has none.
    hosts: BTreeSet<Arc<str>>,
    /// Whether the folder has none.
    without_nodes: bool,
    /// How many Services were taken in with the status of their manifest.
    exported: usize,
    /// Objects that stayed although nothing readable speaks of them, as `Kind namespace/name`.
    kept: Vec<String>,
}

impl Folder {
    /// From now on these hosts are nodes, and `node`, the local one, where the folder has none.
    pub fn set_hosts(&mut self, snapshot: &mut Snapshot, hosts: BTreeSet<Arc<str>>, node: &str) {
        let before = std::mem::replace(&mut self.hosts, hosts);
        if self.without_nodes {
            for gone in before.difference(&self.hosts).filter(|host| &***host != node) {
                snapshot.delete(Kind::Node, gone);
            }
            self.stand_in_for_nodes(snapshot, node);
        }
    }

    /// How many Services have a status that only their manifest speaks of, as one has that was exported from a cluster: their
    /// addresses are taken as theirs.
    #[must_use]
    pub fn exported(&self) -> usize {
        self.exported
    }

    /// Objects that the last reading left as they were, since their file cannot be read as a whole or holds nothing, as
    /// `Kind namespace/name`.
    #[must_use]
    pub fn kept(&self) -> &[String] {
        &self.kept
    }

    /// The folder is another from now on: each file takes the place of the one with the same path below the old folder.
    pub fn replace(&mut self, old: &Path, new: &Path) {
        for file in self.origins.values_mut() {
            if let Ok(path) = file.strip_prefix(old) {
                *file = new.join(path).into();
            }
        }
    }

    fn stand_in_for_nodes(&self, snapshot: &mut Snapshot, node: &str) {
        let hosts: BTreeSet<&str> = self.hosts.iter().map(|host| &**host).chain([node]).collect();
        for host in hosts {
            let object = json!({
                "metadata": { "name": host, "labels": { "kubernetes.io/hostname": host } },
            });
            if let Ok(object) = serde_json::from_value::<NodeObject>(object) {
                snapshot.apply(Object::Node(Box::new(object)));
            }
        }
    }

    /// Makes the snapshot equal to what the manifests and the state say. `node` stands in where the folder has
    /// no Nodes: it is the local host then. Returns what is to be said besides the mistakes of the manifests.
    pub fn feed(
        &mut self,
        snapshot: &mut Snapshot,
        manifests: Manifests,
        state: &FolderState,
        node: &str,
    ) -> Vec<Mistake> {
        for kind in kinds() {
            snapshot.restart(kind);
        }
        let mut origins = BTreeMap::new();
        self.exported = 0;
        self.kept.clear();
        for manifest in manifests.objects {
            let object = match manifest.payload {
                Payload::Service(mut service) => {
                    let known = state.services.get(&manifest.key).cloned();
                    let exported = known.is_none().then(|| exported(&service)).flatten();
                    self.exported += usize::from(exported.is_some());
                    complete(&mut service, known.or(exported).as_ref());
                    Object::Service(service)
                }
                Payload::EndpointSlice(slice) => Object::EndpointSlice(slice),
                Payload::Node(object) => Object::Node(object),
                Payload::Namespace(namespace) => Object::Namespace(namespace),
                Payload::Config(kind, value) => Object::Config(kind, value),
            };
            origins.insert((object.kind(), manifest.key.into()), manifest.file);
            snapshot.apply(object);
        }
        let mut emptied = BTreeSet::new();
        for (object, file) in std::mem::take(&mut self.origins) {
            let unknown = manifests.broken.iter().any(|broken| file.starts_with(broken));
            let blank = manifests.blank.contains(&file);
            if (unknown || blank) && !origins.contains_key(&object) {
                snapshot.keep(object.0, &object.1);
                self.kept.push(format!("{} {}", name(object.0), object.1));
                if blank {
                    emptied.insert(Arc::clone(&file));
                }
                origins.insert(object, file);
            }
        }
        if !manifests.broken.is_empty() {
            // After a restart nothing is known of what a broken file holds, but what its Services had is.
            for (key, known) in &state.services {
                if !origins.contains_key(&(Kind::Service, key.as_str().into()))
                    && let Some(service) = stand_in(key, known)
                {
                    snapshot.apply(Object::Service(Box::new(service)));
                }
            }
        }
        self.without_nodes = !origins.keys().any(|(kind, _)| *kind == Kind::Node);
        if self.without_nodes {
            self.stand_in_for_nodes(snapshot, node);
        }
        for kind in kinds() {
            snapshot.finish(kind);
        }
        self.origins = origins;
        let message = "it holds nothing any more; what it held stays until it is deleted";
        emptied.into_iter().map(|file| Mistake::of_file(file, message.to_owned())).collect()
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Service => "Service",
        Kind::EndpointSlice => "EndpointSlice",
        Kind::Node => "Node",
        Kind::Namespace => "Namespace",
        Kind::Secret => "Secret",
        Kind::Config(kind) => kind.kind(),
        Kind::ServiceL2Status => "ServiceL2Status",
        Kind::SpeakerReport => "SpeakerReport",
    }
}

/// The status that a manifest carries.
fn exported(service: &ServiceObject) -> Option<ServiceState> {
    let (addresses, pool) = service.status();
    let pool = pool.map(str::to_owned);
    (!addresses.is_empty()).then(|| ServiceState { addresses, pool, ..ServiceState::default() })
}

/// What the API server and the controller would have written: cluster addresses of the right families, and
/// the status.
fn complete(service: &mut ServiceObject, state: Option<&ServiceState>) {
    service.default_cluster_ips();
    service.set_status(
        state.map(|state| state.addresses.as_slice()).unwrap_or_default(),
        state.and_then(|state| state.pool.as_deref()),
    );
}

/// A Service that had addresses and whose file cannot be read now: it keeps them, so that nobody else gets them, and it stays
/// announced.
fn stand_in(key: &str, state: &ServiceState) -> Option<ServiceObject> {
    let (namespace, name) = key.split_once('/')?;
    if state.addresses.is_empty() {
        return None;
    }
    let families: BTreeSet<&str> =
        state.addresses.iter().map(|ip| if ip.is_ipv4() { "IPv4" } else { "IPv6" }).collect();
    let policy = if families.len() > 1 { "RequireDualStack" } else { "SingleStack" };
    let mut service = serde_json::from_value(json!({
        "metadata": { "namespace": namespace, "name": name },
        "spec": { "type": "LoadBalancer", "ipFamilies": families, "ipFamilyPolicy": policy },
    }))
    .ok()?;
    complete(&mut service, Some(state));
    Some(service)
}

/// The name of this host, for a folder without Nodes.
#[must_use]
pub fn host_name() -> Arc<str> {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().into())
        .unwrap_or_else(|_| "localhost".into())
}
