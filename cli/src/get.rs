// SPDX-License-Identifier: Apache-2.0
//! `ferrolb get serviceexternalip`: prints the Services of type LoadBalancer as `antctl` does (contract C.9), so that
//! scripts go on working.

use std::collections::BTreeMap;

use anyhow::Context;
use cluster::net::client::connect;
use crds::antrea::POOL_ANNOTATION;
use serde::Serialize;

use crate::args::{GetArgs, GetKind, GetOutput};
use crate::survey::{Survey, addresses, is_load_balancer, text};

/// The lists that the command needs.
const WANTED: [&str; 2] = ["services", "servicel2statuses"];

/// A Service, in the order of the columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: Box<str>,
    #[serde(rename = "serviceName", skip_serializing_if = "str::is_empty")]
    name: Box<str>,
    #[serde(rename = "externalIPPool", skip_serializing_if = "str::is_empty")]
    pool: Box<str>,
    #[serde(rename = "externalIP", skip_serializing_if = "str::is_empty")]
    ip: Box<str>,
    #[serde(rename = "assignedNode", skip_serializing_if = "str::is_empty")]
    node: Box<str>,
}

/// Prints the Services.
///
/// # Errors
/// The cluster cannot be reached, a name comes without a namespace, or nothing has that name.
pub async fn run(args: &GetArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.name.is_none() || args.namespace.is_some(),
        "a name needs a namespace: -n NAMESPACE"
    );
    let client = connect().await?;
    let survey = Survey::take(&client, &args.system_namespace, &WANTED).await?;
    let mut rows = rows(&survey);
    if let Some(namespace) = &args.namespace {
        rows.retain(|row| *row.namespace == **namespace);
    }
    if let Some(name) = &args.name {
        rows.retain(|row| *row.name == **name);
        anyhow::ensure!(!rows.is_empty(), "no Service of type LoadBalancer is named {name} there");
    }
    // The command has one kind so far.
    let GetKind::ServiceExternalIp = args.what;
    print!("{}", shown(&rows, args.output)?);
    Ok(())
}

/// All Services of type LoadBalancer. Those of MetalLB's world are among them; their pool and node are empty.
fn rows(survey: &Survey) -> Vec<Row> {
    let nodes: BTreeMap<(&str, &str), &str> = survey
        .list("servicel2statuses")
        .iter()
        .map(|status| {
            let service =
                (text(status, "/status/serviceNamespace"), text(status, "/status/serviceName"));
            (service, text(status, "/status/node"))
        })
        .collect();
    let services = survey.list("services").iter().filter(|service| is_load_balancer(service));
    let mut rows: Vec<Row> = services
        .map(|service| {
            let (namespace, name) =
                (text(service, "/metadata/namespace"), text(service, "/metadata/name"));
            let annotations = service.pointer("/metadata/annotations");
            let pool =
                annotations.and_then(|all| all.get(POOL_ANNOTATION)?.as_str()).unwrap_or_default();
            let node = nodes.get(&(namespace, name)).copied().filter(|_| !pool.is_empty());
            Row {
                namespace: namespace.into(),
                name: name.into(),
                pool: pool.into(),
                ip: addresses(service).join(",").into(),
                node: node.unwrap_or_default().into(),
            }
        })
        .collect();
    rows.sort();
    rows
}

fn shown(rows: &[Row], output: GetOutput) -> anyhow::Result<String> {
    Ok(match output {
        // Go writes a list that was never made as null.
        GetOutput::Json if rows.is_empty() => "null\n".to_owned(),
        GetOutput::Json => format!("{}\n", serde_json::to_string_pretty(rows)?),
        GetOutput::Yaml => serde_saphyr::to_string(&rows).context("cannot be written as YAML")?,
        GetOutput::Table => table(rows),
    })
}

fn table(rows: &[Row]) -> String {
    let header = ["NAMESPACE", "NAME", "EXTERNAL-IP-POOL", "EXTERNAL-IP", "ASSIGNED-NODE"];
    let cells = rows.iter().map(|row| {
        [&row.namespace, &row.name, &row.pool, &row.ip, &row.node].map(|cell| cell.to_string())
    });
    crate::table::render(&header, &cells.map(Vec::from).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn survey() -> Survey {
        let service = |name: &str, annotations: Value, ip: &str| {
            json!({
                "metadata": { "namespace": "default", "name": name, "annotations": annotations },
                "spec": { "type": "LoadBalancer" },
                "status": { "loadBalancer": { "ingress": [{ "ip": ip }] } },
            })
        };
        let status = |name: &str, node: &str| json!({ "status": { "node": node, "serviceName": name, "serviceNamespace": "default" } });
        Survey::of(&[
            (
                "services",
                json!([
                    service("web", json!({ POOL_ANNOTATION: "edge" }), "10.10.0.2"),
                    service("own", json!({}), "192.0.2.1"),
                    { "metadata": { "namespace": "default", "name": "c" }, "spec": { "type": "ClusterIP" } },
                ]),
            ),
            ("servicel2statuses", json!([status("web", "node-1"), status("own", "node-2")])),
        ])
    }

    #[test]
    fn the_columns_and_keys_are_antctls() {
        let rows = rows(&survey());
        let table = shown(&rows, GetOutput::Table).unwrap();
        let words: Vec<Vec<&str>> =
            table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            words,
            [
                vec!["NAMESPACE", "NAME", "EXTERNAL-IP-POOL", "EXTERNAL-IP", "ASSIGNED-NODE"],
                vec!["default", "own", "192.0.2.1"],
                vec!["default", "web", "edge", "10.10.0.2", "node-1"],
            ]
        );
        let json: Value = serde_json::from_str(&shown(&rows, GetOutput::Json).unwrap()).unwrap();
        assert_eq!(
            json[1],
            json!({
                "serviceName": "web", "namespace": "default", "externalIP": "10.10.0.2",
                "externalIPPool": "edge", "assignedNode": "node-1",
            })
        );
        assert_eq!(json[0].as_object().unwrap().len(), 3, "what is empty is left out");
        assert_eq!(shown(&[], GetOutput::Json).unwrap(), "null\n");
    }
}
