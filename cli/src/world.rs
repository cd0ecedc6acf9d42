// SPDX-License-Identifier: Apache-2.0
//! A folder as the daemons would see it, settled: every decision taken, nothing carried out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use allocator::{Allocator, Output, POOL_ANNOTATION};
use anyhow::Context;
use cluster::folder::{Folder, FolderState, host_name};
use cluster::manifest::{Manifests, Mistake};
use cluster::model::Service;
use cluster::net::sink::folder::StateFile;
use cluster::{ConfigScope, ObjectKey, Snapshot};
use speaker::{BgpMode, Circumstances, Members, Options, PoolOrder, Verdict, announce};

use crate::args::View;

/// The objects of a folder and the books of the allocator.
pub struct World {
    /// The objects.
    pub snapshot: Snapshot,
    /// Who has which address, and who has none and why.
    pub allocator: Allocator,
    /// What could not be read.
    pub mistakes: Vec<Mistake>,
    /// What the speaker is told.
    pub options: Options,
    folder: Folder,
}

impl World {
    /// Reads a folder and its state, and settles.
    ///
    /// # Errors
    /// When the folder or its state cannot be read.
    pub fn load(folder: &Path, view: &View) -> anyhow::Result<Self> {
        anyhow::ensure!(folder.is_dir(), "{} is not a folder", folder.display());
        let path = view.folder_state.clone().unwrap_or_else(|| StateFile::default_for(folder));
        let state = match path.is_dir() {
            true => StateFile::new(&path, folder)?.read()?,
            false => FolderState::default(),
        };
        let mut world = Self::empty(view);
        let manifests = read(folder);
        world.take_in(manifests, &state);
        Ok(world)
    }

    /// One without objects.
    #[must_use]
    pub fn empty(view: &View) -> Self {
        let node: Arc<str> = view.node.as_deref().map_or_else(host_name, Into::into);
        Self {
            snapshot: Snapshot::new(ConfigScope::All, true),
            allocator: Allocator::new(view.lb_class.as_deref()),
            mistakes: Vec::new(),
            options: Options {
                node,
                class: view.lb_class.as_deref().map(Into::into),
                ignore_exclude_label: view.ignore_exclude_lb,
                assume_endpoints: !view.require_endpoints,
                drain_on_cordon: false,
                bgp_mode: BgpMode::of(view.bgp_type.as_deref()),
            },
            folder: Folder::default(),
        }
    }

    /// From the next time these hosts are nodes too, where the folder has none.
    pub fn set_hosts(&mut self, hosts: BTreeSet<Arc<str>>) {
        self.folder.set_hosts(hosts);
    }

    /// Takes in manifests and settles; returns what the decisions tell of.
    pub fn take_in(&mut self, mut manifests: Manifests, state: &FolderState) -> Vec<Output> {
        self.mistakes = std::mem::take(&mut manifests.mistakes);
        let node = &self.options.node;
        self.mistakes.extend(self.folder.feed(&mut self.snapshot, manifests, state, node));
        self.settle()
    }

    /// What the speaker of `node` decides for a Service. Interfaces of other machines are not known: those that
    /// advertisements name are taken to exist.
    #[must_use]
    pub fn verdict(&self, key: &ObjectKey, service: &Service, node: &str) -> Verdict {
        let interfaces: BTreeSet<Box<str>> = self
            .snapshot
            .config()
            .l2_advertisements
            .values()
            .flat_map(|advertisement| advertisement.interfaces.iter().cloned())
            .collect();
        let options = Options { node: node.into(), ..self.options.clone() };
        let circumstances = Circumstances {
            members: &Members::Disabled,
            interfaces: &interfaces,
            transport: None,
            pools: &PoolOrder::default(),
            time: jiff::Timestamp::now(),
            tenure: None,
        };
        announce(key, service, &self.snapshot, &circumstances, &options)
    }

    /// Decides until nothing changes, with every decision written back at once; returns what else the decisions tell of.
    pub fn settle(&mut self) -> Vec<Output> {
        let mut told = Vec::new();
        loop {
            let dirty = self.snapshot.take_dirty();
            let outputs = self.allocator.reconcile(&self.snapshot, &dirty);
            let mut written = false;
            for output in outputs {
                match output {
                    Output::Write(write) => {
                        written = true;
                        self.snapshot.set_status(
                            &write.service,
                            &write.addresses,
                            POOL_ANNOTATION,
                            write.pool.as_deref(),
                        );
                        self.allocator.observed(&write.service);
                    }
                    Output::Tell { .. } | Output::Cleared { .. } => told.push(output),
                }
            }
            if !written {
                return told;
            }
        }
    }
}

/// Reads all manifests of a folder.
#[must_use]
pub fn read(folder: &Path) -> Manifests {
    let mut manifests = Manifests::default();
    manifests.read_paths(&[folder.to_owned()]);
    manifests
}

/// Opens the state of a folder.
///
/// # Errors
/// When it cannot be had there.
pub fn open_state(folder: &Path, given: Option<&PathBuf>) -> anyhow::Result<StateFile> {
    let path = given.cloned().unwrap_or_else(|| StateFile::default_for(folder));
    StateFile::new(&path, folder).with_context(|| {
        format!("the state cannot be kept in {}; see --folder-state", path.display())
    })
}
