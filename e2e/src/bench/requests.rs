// SPDX-License-Identifier: Apache-2.0
//! What the API server was asked, by its own count.

use std::collections::BTreeMap;

use crate::lab::Lab;

/// How many requests of each kind were answered since the API server started: by verb and resource, as `PUT services/status`.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests(BTreeMap<String, u64>);

/// Verbs that change nothing.
const READS: [&str; 4] = ["GET", "LIST", "WATCH", "CONNECT"];
/// What the API server and the rack ask for themselves.
const OTHERS: [&str; 5] = [
    "endpointslices",
    "leases",
    "flowschemas/status",
    "prioritylevelconfigurations/status",
    "nodes",
];

impl Requests {
    /// The count of now.
    ///
    /// # Errors
    /// When the API server does not tell.
    pub(super) fn of(lab: &Lab) -> anyhow::Result<Self> {
        let text = lab.kube().text("/metrics")?;
        let mut requests = BTreeMap::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("apiserver_request_total{")) {
            let Some((labels, count)) = line.rsplit_once("} ") else { continue };
            let label = |name: &str| {
                labels.split(',').find_map(|pair| {
                    pair.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"')
                })
            };
            let (Some(verb), Some(resource)) = (label("verb"), label("resource")) else { continue };
            let part = label("subresource").filter(|part| !part.is_empty());
            let what = match part {
                Some(part) => format!("{verb} {resource}/{part}"),
                None => format!("{verb} {resource}"),
            };
            let count: u64 = count.parse()?;
            *requests.entry(what).or_default() += count;
        }
        Ok(Self(requests))
    }

    /// What came since `before`, without what the rack and the API server ask for themselves.
    pub(super) fn since(&self, before: &Self) -> Self {
        let grown = self.0.iter().map(|(what, count)| {
            (what.clone(), count - before.0.get(what).copied().unwrap_or_default())
        });
        let ours = |what: &str| {
            what.split_once(' ').is_some_and(|(verb, resource)| {
                !OTHERS.contains(&resource) && (verb, resource) != ("POST", "services")
            })
        };
        Self(grown.filter(|(what, count)| *count > 0 && ours(what)).collect())
    }
}

impl std::fmt::Display for Requests {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("none");
        }
        let (reads, writes): (Vec<_>, Vec<_>) = self.0.iter().partition(|(what, _)| {
            what.split_once(' ').is_some_and(|(verb, _)| READS.contains(&verb))
        });
        let list = |requests: Vec<(&String, &u64)>| {
            let all: Vec<String> =
                requests.iter().map(|(what, count)| format!("{count} {what}")).collect();
            all.join(", ")
        };
        write!(formatter, "writes: {}; reads: {}", list(writes), list(reads))
    }
}
