// SPDX-License-Identifier: Apache-2.0
//! The sources of the world: watches of a Kubernetes API, or a folder of manifests.

mod follower;
mod journal;
pub mod kubernetes;
mod pause;
mod secret;

pub use journal::Journal;

use crate::snapshot::{Kind, Object, Snapshot};

/// One step in the life of a kind's objects.
#[derive(Debug)]
pub enum Update {
    /// A list of the kind begins anew.
    Restart(Kind),
    /// An object is there, new or changed.
    Apply(Object),
    /// An object is gone; the key as [`Snapshot::delete`] takes it.
    Delete(Kind, Box<str>),
    /// The list of the kind is complete.
    Finish(Kind),
    /// The kind cannot be had, because its CRD or the permission is absent; with the error. The source tries again.
    Absent(Kind, String),
    /// The source has trouble with the kind, and goes on trying. The known objects stay.
    Trouble(Kind, String),
}

impl Snapshot {
    /// Takes in one update.
    pub fn handle(&mut self, update: Update) {
        match update {
            Update::Restart(kind) => self.restart(kind),
            Update::Apply(object) => self.apply(object),
            Update::Delete(kind, key) => self.delete(kind, &key),
            Update::Finish(kind) => self.finish(kind),
            Update::Absent(kind, _) => self.set_absent(kind),
            Update::Trouble(..) => {}
        }
    }
}
