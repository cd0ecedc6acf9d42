// SPDX-License-Identifier: Apache-2.0
//! A machine on the switch that is no node: it asks who has an address and fetches pages.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use super::netns::Namespace;
use super::node::fetch;
use super::topology::Switch;

/// A client.
#[derive(Debug)]
pub struct Client {
    /// Where it lives.
    pub namespace: Namespace,
    /// This program.
    e2e: String,
}

impl Client {
    /// Makes it, with 172.30.0.100 and fd30::100.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(switch: &Switch, e2e: &Path) -> anyhow::Result<Self> {
        let namespace = switch.attach("client", "eth0", "02:fb:00:00:00:fe")?;
        namespace.ip("address add 172.30.0.100/24 dev eth0\naddress add fd30::100/64 dev eth0")?;
        Ok(Self { namespace, e2e: e2e.display().to_string() })
    }

    /// The hardware addresses that answer for an address, all of them, by ARP or NDP.
    ///
    /// # Errors
    /// When the question cannot be asked.
    pub fn who_has(&self, address: &str) -> anyhow::Result<BTreeSet<String>> {
        self.who_has_on(address, "eth0")
    }

    /// As [`Client::who_has`], on another link.
    ///
    /// # Errors
    /// When the question cannot be asked.
    pub fn who_has_on(&self, address: &str, link: &str) -> anyhow::Result<BTreeSet<String>> {
        let text = match address.parse()? {
            // Two questions a fifth of a second apart; every answer is printed, also a second one.
            IpAddr::V4(_) => {
                self.namespace.output("arping", ["-c", "2", "-W", "0.2", "-i", link, address])?
            }
            IpAddr::V6(_) => self.namespace.output(&self.e2e, ["solicit", address, link])?,
        };
        let text = String::from_utf8_lossy(&text.stdout).to_lowercase();
        Ok(text.split_whitespace().filter(|word| is_mac(word)).map(str::to_owned).collect())
    }

    /// The page at an address's port 80, if it is served.
    #[must_use]
    pub fn page(&self, address: &str) -> Option<String> {
        self.page_on(address, 80)
    }

    /// The page at an address and port, if it is served.
    #[must_use]
    pub fn page_on(&self, address: &str, port: u16) -> Option<String> {
        let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        fetch(&self.namespace, &format!("http://{host}:{port}/"))
    }
}

fn is_mac(word: &str) -> bool {
    let parts: Vec<&str> = word.split(':').collect();
    parts.len() == 6
        && parts.iter().all(|part| part.len() == 2 && u8::from_str_radix(part, 16).is_ok())
}
