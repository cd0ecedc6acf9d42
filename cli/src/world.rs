// SPDX-License-Identifier: Apache-2.0
//! A folder as the daemons would see it, settled: every decision is taken, nothing is carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use allocator::{Allocator, Output, POOL_ANNOTATION};
use anyhow::Context;
use cluster::model::Service;
use cluster::{ConfigScope, ObjectKey, Snapshot};
use folder::StateFile;
use folder::manifest::{Manifests, Mistake};
use folder::{Folder, FolderState, host_name};
use nix::net::if_::InterfaceFlags;
use speaker::election::RingPlaces;
use speaker::{
    BgpMode, Circumstances, Fencing, Options, PoolOrder, RingSpeakers, ServicesByAddress, Verdict,
    announce, announce_sharers,
};

use crate::args::FolderOptions;

/// The objects of a folder and the books of the allocator.
pub struct World {
    /// The objects.
    pub snapshot: Snapshot,
    /// The books of the allocator: each Service's addresses, or the reason why it has none.
    pub allocator: Allocator,
    /// The objects that could not be read.
    pub mistakes: Vec<Mistake>,
    /// The options of the speaker.
    pub options: Options,
    /// The addresses of the other hosts of the ring. A Service gets them, and those of this host, only if it asks for
    /// them.
    pub others: BTreeSet<IpAddr>,
    /// The places of the nodes on Antrea's ring.
    places: RingPlaces,
    folder: Folder,
}

impl World {
    /// Reads a folder and its state, and settles.
    ///
    /// # Errors
    /// The folder or its state cannot be read.
    pub fn load(folder: &Path, view: &FolderOptions) -> anyhow::Result<Self> {
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

    /// A world without objects.
    #[must_use]
    pub fn empty(view: &FolderOptions) -> Self {
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
                fencing: Fencing::default(),
            },
            others: BTreeSet::new(),
            places: RingPlaces::default(),
            folder: Folder::default(),
        }
    }

    /// Makes these hosts nodes too, where the folder has no Nodes; settles, and returns the outputs of the decisions.
    pub fn set_hosts(&mut self, hosts: BTreeSet<Arc<str>>) -> Vec<Output> {
        self.folder.set_hosts(&mut self.snapshot, hosts, &self.options.node);
        self.settle()
    }

    /// The number of Services whose address is known from their manifests alone.
    #[must_use]
    pub fn exported(&self) -> usize {
        self.folder.exported()
    }

    /// The objects that stay as they were because the folder does not describe them in a readable way.
    #[must_use]
    pub fn kept(&self) -> &[String] {
        self.folder.kept()
    }

    /// Goes on as a program that has given the addresses of `state`, when its folder `old` becomes the content of
    /// `new`.
    ///
    /// # Errors
    /// `new` is no folder.
    pub fn change(&mut self, old: &Path, new: &Path, state: &FolderState) -> anyhow::Result<()> {
        anyhow::ensure!(new.is_dir(), "{} is not a folder", new.display());
        self.folder.replace(old, new);
        self.take_in(read(new), state);
        Ok(())
    }

    /// Takes in manifests and settles; returns the outputs of the decisions.
    pub fn take_in(&mut self, mut manifests: Manifests, state: &FolderState) -> Vec<Output> {
        let own = own_addresses().chain(self.others.iter().copied());
        self.snapshot.set_host_addresses(own.collect());
        self.mistakes = std::mem::take(&mut manifests.mistakes);
        let node = &self.options.node;
        self.mistakes.extend(self.folder.feed(&mut self.snapshot, manifests, state, node));
        self.settle()
    }

    /// The decision of `node`'s speaker for a Service. The interfaces of other machines are unknown: those that
    /// advertisements name are taken to exist.
    #[must_use]
    pub fn verdict(&self, key: &ObjectKey, service: &Service, node: &str) -> Verdict {
        self.as_node(node, |circumstances, options| {
            announce(key, service, &self.snapshot, circumstances, options)
        })
    }

    /// The decisions for a Service and for those whose addresses go with its own; `sharing` is that of the snapshot.
    #[must_use]
    pub fn verdicts(
        &self,
        key: &ObjectKey,
        sharing: &ServicesByAddress,
        node: &str,
    ) -> BTreeMap<ObjectKey, Verdict> {
        self.as_node(node, |circumstances, options| {
            announce_sharers(key, sharing, &self.snapshot, circumstances, options)
        })
    }

    fn as_node<R>(&self, node: &str, decide: impl FnOnce(&Circumstances<'_>, &Options) -> R) -> R {
        let interfaces: BTreeSet<Box<str>> = self
            .snapshot
            .config()
            .l2_advertisements
            .values()
            .flat_map(|advertisement| advertisement.interfaces.iter().cloned())
            .collect();
        let options = Options { node: node.into(), ..self.options.clone() };
        let circumstances = Circumstances {
            members: &RingSpeakers::Disabled,
            interfaces: &interfaces,
            transport: None,
            pools: &PoolOrder::default(),
            places: &self.places,
            time: jiff::Timestamp::now(),
            placement: None,
        };
        decide(&circumstances, &options)
    }

    /// Decides until nothing changes, and writes every decision back at once; returns the other outputs of the
    /// decisions.
    pub fn settle(&mut self) -> Vec<Output> {
        settle(&mut self.snapshot, &mut self.allocator)
    }
}

/// Decides until nothing changes, and writes every decision back at once; returns the other outputs of the decisions.
pub fn settle(snapshot: &mut Snapshot, allocator: &mut Allocator) -> Vec<Output> {
    let mut told = Vec::new();
    loop {
        let dirty = snapshot.take_dirty();
        let outputs = allocator.reconcile(snapshot, &dirty);
        let mut written = false;
        for output in outputs {
            match output {
                Output::Write(write) => {
                    written = true;
                    let pool = write.pool.as_deref();
                    snapshot.set_status(&write.service, &write.addresses, POOL_ANNOTATION, pool);
                    allocator.observed(&write.service);
                }
                Output::Tell { .. } | Output::Cleared { .. } => told.push(output),
            }
        }
        if !written {
            return told;
        }
    }
}

/// The addresses of this host on links by which other stations reach it. The loopback interface and links without ARP
/// are left out: people put the addresses of Services there.
fn own_addresses() -> impl Iterator<Item = IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let reached = interfaces.filter(|interface| {
        !interface.flags.intersects(InterfaceFlags::IFF_LOOPBACK | InterfaceFlags::IFF_NOARP)
    });
    reached.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    })
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
/// The state cannot be had there.
pub fn open_state(folder: &Path, given: Option<&PathBuf>) -> anyhow::Result<StateFile> {
    let path = given.cloned().unwrap_or_else(|| StateFile::default_for(folder));
    StateFile::new(&path, folder).with_context(|| {
        format!("the state cannot be kept in {}; see --folder-state", path.display())
    })
}
