// SPDX-License-Identifier: Apache-2.0
//! The word of the speakers with `--keep-connections` on open connections: where they are not kept, and what is left of addresses that
//! other nodes have now.

use std::fmt::Write;

use crds::ferrolb::{Connections, Draining};
use serde::Serialize;
use serde_json::Value;

use crate::survey::text;
use crate::table::render;

/// The words of one node's speaker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NodeConnections {
    node: String,
    #[serde(flatten)]
    said: Connections,
}

impl NodeConnections {
    /// Reads a SpeakerReport. None for one that has words about Services.
    pub(super) fn of(report: &Value) -> Option<Self> {
        let name = text(report, "/metadata/name");
        let node = name.strip_suffix(&speaker::net::object_name(""))?;
        let said = serde_json::from_value(report.pointer("/spec/connections")?.clone()).ok()?;
        Some(Self { node: node.to_owned(), said })
    }

    pub(super) fn node(&self) -> &str {
        &self.node
    }
}

/// The words as text for people; nothing where all is well and nothing drains.
pub(super) fn table(all: &[NodeConnections]) -> String {
    let rows = all.iter().flat_map(|NodeConnections { node, said }| {
        let open = said.draining.iter().filter(|it| it.tcp > 0 || it.udp > 0);
        open.map(|Draining { ip, tcp, udp }| {
            vec![node.clone(), ip.clone(), tcp.to_string(), udp.to_string()]
        })
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let mut text = String::new();
    if !rows.is_empty() {
        let header = ["NODE", "DRAINS", "TCP CONNECTIONS", "UDP FLOWS"];
        let _ = write!(text, "\n{}", render(&header, &rows));
    }
    for NodeConnections { node, said: Connections { kept, message, .. } } in all {
        let _ = match (kept, message.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => write!(text, "\nnode {node}: {message}\n"),
            (false, _) => {
                write!(text, "\nnode {node}: --keep-connections has no effect: {message}\n")
            }
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_drains_and_what_is_wrong_is_shown_for_each_node() {
        let report = |name: &str, said: Value| json!({ "metadata": { "name": name }, "spec": { "connections": said } });
        let draining = json!([{ "ip": "192.0.2.1", "tcp": 3, "udp": 1 }, { "ip": "192.0.2.2", "tcp": 0, "udp": 0 }]);
        let all = [
            report(
                "n1.connections",
                json!({ "kept": true, "tcp": 3, "udp": 1, "draining": draining }),
            ),
            report("n2.connections", json!({ "kept": false, "message": "no permission" })),
            report("n3.connections", json!({ "kept": true, "message": "not counted: no list" })),
            report("n4.connections", json!({ "kept": true })),
            json!({ "metadata": { "name": "n5.a" }, "spec": { "words": [] } }),
        ];
        let all: Vec<_> = all.iter().filter_map(NodeConnections::of).collect();
        assert_eq!(
            all.iter().map(NodeConnections::node).collect::<Vec<_>>(),
            ["n1", "n2", "n3", "n4"]
        );
        let text = table(&all);
        let wanted = "\
\nNODE   DRAINS      TCP CONNECTIONS   UDP FLOWS
n1     192.0.2.1   3                 1
\nnode n2: --keep-connections has no effect: no permission
\nnode n3: not counted: no list
";
        assert_eq!(text, wanted);
        assert_eq!(table(&all[3..]), "");
        let as_json = serde_json::to_value(&all[0]).unwrap();
        assert_eq!((&as_json["node"], &as_json["draining"][0]["tcp"]), (&json!("n1"), &json!(3)));
    }
}
