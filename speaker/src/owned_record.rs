// SPDX-License-Identifier: Apache-2.0
//! The record of what a speaker owned last and by which rules. It outlives the process: a speaker that starts while the API cannot be read
//! asks its links for these addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use l2::Scope;
use ownership::{Listed, Listing, Pod};
use serde::{Deserialize, Serialize};

/// The time that a start waits for the cluster's objects before it goes by the record.
pub const RECORD_WAIT: Duration = Duration::from_secs(3);
/// The version of the format. A record of another version is not read.
const VERSION: u32 = 1;
/// The addresses that a record may have.
const ADDRESS_LIMIT: usize = 100_000;

/// The addresses that a speaker owned last, and the other speakers of its ring.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnedRecord {
    /// The version of the format.
    pub version: u32,
    /// The node of the speaker. A record of another node is not used.
    pub node: String,
    /// The addresses that the speaker announced.
    pub addresses: Vec<OwnedAddress>,
    /// The other speakers of the ring.
    pub members: Vec<OtherSpeaker>,
}

/// An address that a speaker owned, and the reason for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnedAddress {
    /// The address.
    pub address: IpAddr,
    /// The links on which it was announced; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<BTreeSet<String>>,
    /// The pool, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The Services that share the address, each as `namespace/name`.
    pub services: Vec<String>,
}

/// Another speaker of the ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherSpeaker {
    /// The name of its node.
    pub node: String,
    /// The address of its memberlist.
    pub address: SocketAddr,
}

/// The reason why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The text is no record.
    #[error("it is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// Another build wrote the record.
    #[error("it has version {0}, which this build does not read")]
    Version(u32),
    /// Another node's speaker wrote the record.
    #[error("it is of node {0:?}")]
    OtherNode(String),
    /// The record has more addresses than any speaker owns.
    #[error("it has {0} addresses")]
    TooMany(usize),
}

impl OwnedRecord {
    /// A record of this node.
    #[must_use]
    pub fn new(node: &str, addresses: Vec<OwnedAddress>, members: Vec<OtherSpeaker>) -> Self {
        Self { version: VERSION, node: node.to_owned(), addresses, members }
    }

    /// Reads a record that the speaker of this node wrote.
    ///
    /// # Errors
    /// The text is no record of this version and node.
    pub fn parse(text: &[u8], node: &str) -> Result<Self, RecordError> {
        let record: Self = serde_json::from_slice(text)?;
        if record.version != VERSION {
            return Err(RecordError::Version(record.version));
        }
        if record.node != node {
            return Err(RecordError::OtherNode(record.node));
        }
        if record.addresses.len() > ADDRESS_LIMIT {
            return Err(RecordError::TooMany(record.addresses.len()));
        }
        Ok(record)
    }

    /// The text of the record.
    ///
    /// # Errors
    /// None that is known: every record can be written as JSON.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// The addresses with the links for each.
    pub fn scopes(&self) -> impl Iterator<Item = (IpAddr, Scope)> {
        self.addresses.iter().map(|owned| {
            let scope = match &owned.interfaces {
                None => Scope::AllInterfaces,
                Some(names) => {
                    Scope::Interfaces(names.iter().map(|name| name.as_str().into()).collect())
                }
            };
            (owned.address, scope)
        })
    }

    /// The places of the other speakers, as a list that nothing is concluded from.
    #[must_use]
    pub fn listed(&self) -> Listed {
        let pod = |other: &OtherSpeaker| Pod {
            node: Some(other.node.as_str().into()),
            address: Some(other.address),
            ready: true,
            young_until: None,
        };
        Listed { pods: self.members.iter().map(pod).collect(), listing: Listing::Unsettled }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> OwnedRecord {
        let address = |last: u8, interfaces: Option<&str>| OwnedAddress {
            address: [192, 0, 2, last].into(),
            interfaces: interfaces.map(|name| [name.to_owned()].into()),
            pool: Some("p".into()),
            services: vec!["d/s".into()],
        };
        let other = OtherSpeaker { node: "b".into(), address: "192.0.2.9:7946".parse().unwrap() };
        OwnedRecord::new("a", vec![address(1, None), address(2, Some("eth1"))], vec![other])
    }

    #[test]
    fn a_record_is_read_back() {
        let text = record().text().unwrap();
        let read = OwnedRecord::parse(text.as_bytes(), "a").unwrap();
        assert_eq!(read, record());
        let scopes: Vec<_> = read.scopes().collect();
        assert_eq!(scopes[0], ([192, 0, 2, 1].into(), Scope::AllInterfaces));
        assert_eq!(scopes[1].1, Scope::Interfaces(["eth1".into()].into()));
        assert_eq!(read.listed().pods.len(), 1);
    }

    #[test]
    fn what_is_no_record_of_this_node_is_refused_with_a_reason() {
        let text = record().text().unwrap();
        let refused = |text: &str, node: &str| {
            OwnedRecord::parse(text.as_bytes(), node).unwrap_err().to_string()
        };
        assert!(refused(&text, "b").contains("of node \"a\""));
        assert!(refused(&text.replace("\"version\": 1", "\"version\": 2"), "a").contains("2"));
        for damaged in ["", "{", "[]", "{\"version\": 1}", &text[..text.len() / 2]] {
            assert!(refused(damaged, "a").contains("damaged"), "{damaged}");
        }
        let many = text.replace("192.0.2.1", "not an address");
        assert!(refused(&many, "a").contains("damaged"));
    }
}
