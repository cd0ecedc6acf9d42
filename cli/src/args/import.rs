// SPDX-License-Identifier: Apache-2.0
//! The flags of `ferrolb import`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

/// Flags of `ferrolb import`.
#[derive(Clone, Debug, ClapArgs)]
pub struct ImportArgs {
    /// The configuration to convert.
    #[command(subcommand)]
    pub source: Import,
}

/// The kinds of configuration that can be converted.
#[derive(Clone, Debug, Subcommand)]
pub enum Import {
    /// The ConfigMap of MetalLB 0.12 and before.
    Configmap(ImportSource),
    /// The AddressPool objects of MetalLB 0.13.
    Addresspool(ImportSource),
    /// The ConfigMap of kube-vip's cloud provider, and the annotations of Services.
    KubeVip(ImportObjects),
    /// Cilium's pools, L2 policies and BGP kinds, and the annotations of Services.
    Cilium(ImportObjects),
    /// PureLB's ServiceGroups, and the annotations of Services.
    Purelb(ImportObjects),
}

/// Flags for objects of another load balancer.
#[derive(Clone, Debug, ClapArgs)]
pub struct ImportObjects {
    /// The manifests, as `kubectl get -o yaml` prints them; if Services are among them, the command prints what must
    /// change in their annotations.
    pub file: PathBuf,
    /// Namespace of the new objects; default: metallb-system.
    #[arg(long)]
    pub namespace: Option<String>,
}

/// Flags for a ConfigMap or AddressPools of MetalLB.
#[derive(Clone, Debug, ClapArgs)]
pub struct ImportSource {
    /// The file with the manifest.
    pub file: PathBuf,
    /// The file holds only the text of the ConfigMap's key `config`, not the ConfigMap.
    #[arg(long)]
    pub only_data: bool,
    /// Namespace of the new objects; default: the namespace of the source.
    #[arg(long)]
    pub namespace: Option<String>,
}
