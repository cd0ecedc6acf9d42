// SPDX-License-Identifier: Apache-2.0
//! `ferrolb drain --wait`: follows a drained node until it announces nothing by layer 2 and no kept connection is left there.

mod progress;

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use cluster::net::client::connect;
use crds::address::core_address;
use crds::ferrolb::Connections;
use serde_json::Value;

use crate::args::DrainArgs;
use crate::survey::{Survey, addresses, key, text};
use progress::{Progress, Step, View};

/// The lists that the wait needs.
const WANTED: [&str; 3] = ["services", "servicel2statuses", "speakerreports"];
/// The time between two looks.
const AGAIN: Duration = Duration::from_secs(2);

/// Waits for the end of the drain, with lines about its progress; returns the last line to print.
///
/// # Errors
/// The cluster cannot be reached, the time is over, or connections are left that nothing leads to the node any more.
pub async fn wait(args: &DrainArgs) -> anyhow::Result<String> {
    let client = connect().await?;
    let began = clock::now();
    let mut progress = Progress::new(&args.node);
    let mut lines = Lines { rewrites: std::io::stdout().is_terminal(), last: String::new() };
    loop {
        let step = match Survey::take(&client, &args.namespace, &WANTED).await {
            Ok(survey) => progress.look(clock::now(), view(&survey, &args.node)?),
            // The API may be away for a moment, as the node may be one of its own.
            Err(error) if lines.last.is_empty() => return Err(error),
            Err(error) => Step::Wait(format!("the API cannot be read: {error:#}")),
        };
        match step {
            Step::Wait(line) => lines.show(line)?,
            Step::Done(line) => {
                lines.end()?;
                return Ok(format!("{line}\n"));
            }
            Step::Failed(line) => {
                lines.end()?;
                bail!(line);
            }
        }
        if let Some(timeout) = args.timeout
            && began.elapsed() >= timeout
        {
            lines.end()?;
            let time = humantime::format_duration(timeout);
            bail!("after {time}: {}", progress.left());
        }
        let left = args.timeout.map(|timeout| timeout.saturating_sub(began.elapsed()));
        tokio::time::sleep(left.map_or(AGAIN, |left| AGAIN.min(left))).await;
    }
}

/// The lines about the progress: one that is written again and again on a terminal, else one for each change.
struct Lines {
    rewrites: bool,
    last: String,
}

impl Lines {
    fn show(&mut self, line: String) -> std::io::Result<()> {
        if line != self.last {
            let mut output = std::io::stdout();
            if self.rewrites {
                // Moves the cursor to the first column, and clears the line.
                write!(output, "\r\x1b[K{line}")?;
                output.flush()?;
            } else {
                writeln!(output, "{line}")?;
            }
            self.last = line;
        }
        Ok(())
    }

    /// The next line stands for itself.
    fn end(&self) -> std::io::Result<()> {
        if self.rewrites && !self.last.is_empty() {
            writeln!(std::io::stdout())?;
        }
        Ok(())
    }
}

/// A node, as the lists show it.
fn view(survey: &Survey, node: &str) -> anyhow::Result<View> {
    if let Some(why) = survey.missing().get("servicel2statuses") {
        bail!(
            "nobody can tell what the node announces: servicel2statuses.metallb.io cannot be listed: {why}"
        );
    }
    let status = |status: &Value| {
        let name = text(status, "/status/serviceName");
        (text(status, "/status/node") == node)
            .then(|| format!("{}/{name}", text(status, "/status/serviceNamespace")))
    };
    let announced: BTreeSet<String> =
        survey.list("servicel2statuses").iter().filter_map(status).collect();
    let services = survey.list("services").iter().filter(|it| announced.contains(&key(it)));
    let owned: BTreeSet<IpAddr> = services
        .flat_map(addresses)
        .filter_map(|address| Some(core_address(address)?.value))
        .collect();
    let unreadable = survey.missing().get("speakerreports");
    let unreadable =
        unreadable.map(|why| format!("speakerreports.ferrolb.io cannot be listed: {why}"));
    Ok(View { owned, connections: connections(survey, node)?, unreadable })
}

/// The word of a node's speaker on open connections.
fn connections(survey: &Survey, node: &str) -> anyhow::Result<Option<Connections>> {
    let name = speaker::net::object_name(node);
    let mut reports = survey.list("speakerreports").iter();
    let report = reports.find(|report| text(report, "/metadata/name") == name);
    let Some(said) = report.and_then(|report| report.pointer("/spec/connections")) else {
        return Ok(None);
    };
    let said = serde_json::from_value(said.clone());
    said.map(Some).with_context(|| format!("SpeakerReport {name} cannot be read"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_node_announces_and_what_its_speaker_says_is_found() {
        let service = |name: &str, ip: &str| {
            json!({ "metadata": { "namespace": "default", "name": name },
                    "status": { "loadBalancer": { "ingress": [{ "ip": ip }] } } })
        };
        let status = |name: &str, node: &str| json!({ "status": { "node": node, "serviceName": name, "serviceNamespace": "default" } });
        let report = |name: &str, tcp: i64| {
            json!({ "metadata": { "name": name }, "spec": { "words": [], "connections": {
                "kept": true, "addresses": 1, "tcp": tcp,
                "draining": [{ "ip": "192.0.2.9", "tcp": tcp, "udp": 0 }] } } })
        };
        let survey = Survey::of(&[
            ("services", json!([service("web", "192.0.2.1"), service("dns", "FD00:0::2")])),
            ("servicel2statuses", json!([status("web", "n1"), status("dns", "n1.a")])),
            ("speakerreports", json!([report("n1.connections", 3), report("n1.a.connections", 4)])),
        ]);
        let seen = view(&survey, "n1").unwrap();
        assert_eq!(seen.owned, BTreeSet::from(["192.0.2.1".parse().unwrap()]));
        assert_eq!(seen.connections.unwrap().draining[0].tcp, 3);
        let seen = view(&survey, "n1.a").unwrap();
        assert_eq!(seen.owned, BTreeSet::from(["fd00::2".parse().unwrap()]));
        assert_eq!(seen.connections.unwrap().tcp, 4);
        let seen = view(&survey, "n2").unwrap();
        assert!(seen.owned.is_empty() && seen.connections.is_none() && seen.unreadable.is_none());
        let seen = view(&Survey::without("speakerreports", "no such kind"), "n1").unwrap();
        assert!(seen.unreadable.unwrap().contains("no such kind"));
        assert!(view(&Survey::without("servicel2statuses", "not there"), "n1").is_err());
    }
}
