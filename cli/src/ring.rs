// SPDX-License-Identifier: Apache-2.0
//! The ring of `ferrolb run`: hosts that serve copies of one folder, and find one another by addresses given.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;

use anyhow::{Context, ensure};
use crds::address::parse_address;
use l2::Permit;
use speaker::net::args::{MEMBERLIST_PORT, keys, settings};
use speaker::net::{AgentDriver, AgentSignals, Keys, MembershipOptions, SHORT, clock_reading};
use speaker::{Core, Listed, Listing, Modes, Options, Pod};

use crate::args::RingArgs;

/// A ring that has begun; none without other hosts.
pub(crate) struct Started {
    pub(crate) agent: AgentDriver,
    pub(crate) signals: Option<AgentSignals>,
    pub(crate) core: Core,
    /// The hosts to join.
    pub(crate) listed: Listed,
}

/// Starts the ring if other hosts are given.
///
/// # Errors
/// An address, the key or the port cannot be used.
pub(crate) fn start(args: &RingArgs, options: &Options, permit: Permit) -> anyhow::Result<Started> {
    let mut listed = Listed { pods: Vec::new(), listing: Listing::NoApi };
    if args.join.is_empty() {
        let core = Core::disabled(options.clone(), clock_reading());
        return Ok(Started { agent: AgentDriver::disabled(), signals: None, core, listed });
    }
    let others: Vec<SocketAddr> =
        args.join.iter().map(|text| address(text)).collect::<Result<_, _>>()?;
    let (listen, own) = match args.ml_bindaddr {
        // The others must be told a real address, not the unspecified one.
        Some(any) if any.is_unspecified() => {
            let reached = others.iter().filter(|other| other.is_ipv4() == any.is_ipv4());
            (any, towards(&reached.copied().collect::<Vec<_>>())?)
        }
        Some(own) => (own, own),
        None => towards(&others).map(|own| (own, own))?,
    };
    let bind = SocketAddr::new(listen, args.ml_bindport);
    let own = SocketAddr::new(own, args.ml_bindport);
    let options = Options { fencing: args.fencing, ..options.clone() };
    let membership = MembershipOptions {
        bind,
        advertise: Some(own),
        key: ring_keys(args.ml_secret_key_path.as_deref())?.map(|keys| keys.ring),
        settings: settings(false)?,
        fence_two: args.fence_two,
        modes: Modes { sticky: args.sticky, spread: args.spread },
        alone: false,
        permit,
    };
    let (agent, signals, core) = AgentDriver::start(membership, options)?;
    let others = others.into_iter().filter(|other| *other != own);
    let host = |address| Pod { node: None, address: Some(address), ready: true, young_until: None };
    listed.pods = others.map(host).collect();
    Ok(Started { agent, signals: Some(signals), core, listed })
}

/// The addresses of the other hosts that are given as addresses.
pub(crate) fn joined(args: &RingArgs) -> BTreeSet<IpAddr> {
    args.join.iter().filter_map(|text| address(text).ok()).map(|other| other.ip()).collect()
}

/// The keys, if a folder is given. Here only the administrator makes keys, so that weak keys are refused.
///
/// # Errors
/// The folder holds no key, or one that can be guessed.
fn ring_keys(folder: Option<&Path>) -> anyhow::Result<Option<Keys>> {
    let keys = keys(folder.filter(|path| *path != Path::new("")))?;
    if let (Some(keys), Some(folder)) = (&keys, folder) {
        ensure!(
            keys.octets >= SHORT,
            "--ml-secret-key-path: the key {} has {} octets and can be guessed: it must have {SHORT} or more (openssl rand -base64 32)",
            folder.join("secretkey").display(),
            keys.octets
        );
    }
    Ok(keys)
}

/// `ADDR` or `ADDR:PORT`, IPv6 with a port in brackets.
fn address(text: &str) -> anyhow::Result<SocketAddr> {
    let plain = || parse_address(text).map(|ip| SocketAddr::new(ip, MEMBERLIST_PORT));
    let with_port = text.parse().ok();
    with_port
        .map(|socket: SocketAddr| SocketAddr::new(socket.ip().to_canonical(), socket.port()))
        .or_else(plain)
        .with_context(|| format!("--join: {text:?} is neither ADDR nor ADDR:PORT"))
}

/// The own address that the system takes towards the first of the others that is not this host.
fn towards(others: &[SocketAddr]) -> anyhow::Result<IpAddr> {
    for other in others {
        let any: SocketAddr =
            if other.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any)?;
        // A connected UDP socket sends nothing: the kernel only looks up the route.
        socket.connect(other).with_context(|| format!("there is no way to {other}"))?;
        let own = socket.local_addr()?.ip();
        if own != other.ip() {
            return Ok(own);
        }
    }
    ensure!(
        others.len() == 1,
        "--join names only this host; --ml-bindaddr says which address is its own"
    );
    others.first().map(SocketAddr::ip).context("nobody to join")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_port() {
        assert_eq!(address("192.0.2.1").unwrap(), "192.0.2.1:7946".parse().unwrap());
        assert_eq!(address("192.0.2.1:1").unwrap(), "192.0.2.1:1".parse().unwrap());
        assert_eq!(address("fd00::1").unwrap(), "[fd00::1]:7946".parse().unwrap());
        assert_eq!(address("[::ffff:192.0.2.1]:1").unwrap(), "192.0.2.1:1".parse().unwrap());
        assert!(address("192.0.2.01").is_err());
        assert_eq!(address("[fd00::1]:2").unwrap(), "[fd00::1]:2".parse().unwrap());
        assert!(address("host").unwrap_err().to_string().contains("\"host\""));
    }

    #[test]
    fn a_key_that_can_be_guessed_is_refused_and_the_message_does_not_hold_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secretkey");
        let key = "0123456789abcdef";
        std::fs::write(&file, &key[..SHORT - 1]).unwrap();
        let error = ring_keys(Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("--ml-secret-key-path") && error.contains("15 octets"), "{error}");
        assert!(
            error.contains(&file.display().to_string()) && !error.contains("0123456"),
            "{error}"
        );
        std::fs::write(&file, b"").unwrap();
        let error = ring_keys(Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("is empty"), "{error}");
        std::fs::remove_file(&file).unwrap();
        assert!(ring_keys(Some(folder.path())).is_err(), "a folder without a key");
        std::fs::write(&file, key).unwrap();
        assert_eq!(ring_keys(Some(folder.path())).unwrap().unwrap().octets, SHORT);
        assert!(ring_keys(None).unwrap().is_none());
        assert!(ring_keys(Some(Path::new(""))).unwrap().is_none());
    }
}
