// SPDX-License-Identifier: Apache-2.0
//! The lists of a kind: what a new list does not hold is gone, and a kind counts as synced once its first list was
//! delivered.

use std::collections::BTreeSet;

use crds::config::ConfigKind;

use super::Snapshot;
use crate::kinds::Kind;

impl Snapshot {
    /// True if the kind's first list has been delivered as a whole.
    #[must_use]
    pub fn is_synced(&self, kind: Kind) -> bool {
        self.synced.contains(&kind)
    }

    /// A list of `kind` begins anew: what is not applied again before [`Snapshot::finish`] is gone.
    pub fn restart(&mut self, kind: Kind) {
        let known: BTreeSet<Box<str>> = match kind {
            Kind::Service => self.services.keys().map(|key| key.as_str().into()).collect(),
            Kind::EndpointSlice => {
                self.slice_owners.keys().map(|slice| slice.as_str().into()).collect()
            }
            Kind::Node => self.nodes.keys().map(|name| (**name).into()).collect(),
            Kind::Namespace => self.namespaces.keys().map(|name| (**name).into()).collect(),
            Kind::Secret => self.objects.secret_names().map(Into::into).collect(),
            Kind::Config(kind) => {
                self.objects.names(kind).iter().map(|name| (**name).into()).collect()
            }
            Kind::ServiceL2Status => self.announcers.names().map(Into::into).collect(),
            Kind::SpeakerReport => self.reports.names().map(Into::into).collect(),
        };
        self.stale.insert(kind, known);
    }

    /// Counts an object as listed again, as it is known: the source could not read it this time.
    pub fn keep(&mut self, kind: Kind, key: &str) {
        self.seen(kind, key);
    }

    /// The list of `kind` is complete.
    pub fn finish(&mut self, kind: Kind) {
        for key in self.stale.remove(&kind).unwrap_or_default() {
            self.delete(kind, &key);
        }
        self.synced.insert(kind);
        if kind == Kind::Config(ConfigKind::ExternalIpPool) {
            self.dirty.all |= !std::mem::replace(&mut self.external_pools, true);
        }
    }

    /// The kind cannot be had (its CRD or the permission is absent): it counts as synced. What was known stays.
    ///
    /// Not so the kinds whose absence would take addresses away: an API server refuses everything for a moment while it
    /// starts, and a controller that starts with it must not take that for a cluster without pools.
    pub fn set_absent(&mut self, kind: Kind) {
        let needed = [
            Kind::Service,
            Kind::EndpointSlice,
            Kind::Node,
            Kind::Namespace,
            Kind::Config(ConfigKind::IpAddressPool),
        ];
        if !needed.contains(&kind) {
            self.synced.insert(kind);
        }
    }

    pub(super) fn seen(&mut self, kind: Kind, key: &str) {
        if let Some(stale) = self.stale.get_mut(&kind) {
            stale.remove(key);
        }
    }
}
