// SPDX-License-Identifier: Apache-2.0
//! Writes BGPSessionState objects as frr-k8s does (group frrk8s.metallb.io): one per peer of this node, only on change, and only where the
//! kind and the permission are there.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::Client;
use serde::Deserialize;
use serde_json::json;

use cluster::net::generated::{Generated, Object};
use cluster::net::pod::Owner;
use cluster::net::writer::{Failure, Found, Kind, Sink, lock, message};
use cluster::writer::{Limits, Trouble};

/// The time in which states that flicker settle before they are written.
const SETTLE_TIME: Duration = Duration::from_millis(300);

/// The state of one session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SessionState {
    /// The BGP state by the RFC's name.
    pub(super) bgp: String,
    /// The BFD state: `up`, `down`, ... or `N/A` without BFD.
    pub(super) bfd: String,
}

/// The peer's address or interface (in the form of a label: IPv6 in full, with hyphens), and its VRF, empty for none.
type Peer = (String, String);

/// The states of all sessions.
pub(super) type SessionStates = BTreeMap<Peer, SessionState>;

/// The handle of the writing task.
pub(super) struct SessionStateSink(Sink<Peer, SessionState>);

impl SessionStateSink {
    /// `owner` owns the objects: they are deleted with it.
    pub(super) fn start(client: Client, namespace: String, node: String, owner: Owner) -> Self {
        let resource = ("frrk8s.metallb.io/v1beta1", "BGPSessionState", "bgpsessionstates");
        let objects = Generated::new(client, resource, namespace, format!("{node}-"), owner);
        let limits = Limits { settle: SETTLE_TIME, ..Limits::default() };
        Self(Sink::start(SessionObjects { objects, node }, limits))
    }

    /// Sets the content of all objects of this node.
    pub(super) fn publish(&self, states: SessionStates) {
        self.0.change(|core, now| core.set_all(states, now));
    }
}

struct SessionObjects {
    objects: Generated<Peer>,
    node: String,
}

impl Kind for SessionObjects {
    type Key = Peer;
    type Value = SessionState;

    async fn list(&self) -> Result<Found<Self>, kube::Error> {
        let mut found = Found::<Self>::new();
        let selector = format!("frrk8s.metallb.io%2Fnode%3D{}", self.node);
        let take = |Object { metadata, status }: Object<Status>| {
            let Status { peer, vrf, bgp_status: bgp, bfd_status: bfd } = status.unwrap_or_default();
            let key = (peer, vrf);
            lock(&self.objects.names).insert(key.clone(), metadata.name.unwrap_or_default());
            found.push((key, Some(SessionState { bgp, bfd })));
        };
        self.objects.list(&selector, take).await?;
        Ok(found)
    }

    async fn write(&self, key: &Peer, state: Option<&SessionState>) -> Result<(), Failure> {
        let Some(state) = state else { return Ok(self.objects.delete(key).await?) };
        let (peer, vrf) = key;
        let labels = json!({
            "frrk8s.metallb.io/node": self.node,
            "frrk8s.metallb.io/peer": peer,
            "frrk8s.metallb.io/vrf": vrf,
        });
        let status = json!({
            "node": self.node, "peer": peer, "vrf": vrf,
            "bgpStatus": state.bgp, "bfdStatus": state.bfd,
        });
        Ok(self.objects.write(key, labels, status).await?)
    }

    fn tell(&self, _: Option<&Peer>, trouble: Trouble, error: &kube::Error) {
        match trouble {
            Trouble::Refused => tracing::info!(
                event = "sessionStateOff",
                error = message(error),
                "BGPSessionState objects are off: the kind or the permission is absent here; it is tried again"
            ),
            Trouble::Failed => {
                tracing::warn!(%error, "failed to write BGPSessionState; it is tried again")
            }
        }
    }
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    peer: String,
    vrf: String,
    bgp_status: String,
    bfd_status: String,
}
