// SPDX-License-Identifier: Apache-2.0
//! `ferrolb move` and `ferrolb drain`: write wishes as annotations, which the speakers carry out.

use std::fmt::Write;
use std::net::IpAddr;

use anyhow::{Context, ensure};
use cluster::model::DRAIN_ANNOTATION;
use cluster::net::client::connect;
use crds::address::core_address;
use http::{Request, header};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use serde_json::{Value, json};
use speaker::PREFERRED_NODE_ANNOTATION;

use crate::args::{DrainArgs, MoveArgs};

/// Writes the wish that a node announce an address, or takes the wish back; returns the text to print.
///
/// # Errors
/// The cluster cannot be reached or refuses, no Service has the address, or there is no such node.
pub async fn move_address(args: &MoveArgs) -> anyhow::Result<String> {
    let client = connect().await?;
    let wish = match &args.to {
        Some(node) => {
            let path = format!("/api/v1/nodes/{node}");
            get(&client, &path).await.with_context(|| format!("node {node:?}"))?;
            Some(wish(node, args.time)?)
        }
        None => None,
    };
    let list = get(&client, "/api/v1/services").await.context("cannot list the Services")?;
    let services: Vec<&Value> = list
        .get("items")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|service| holds(service, args.address))
        .collect();
    ensure!(!services.is_empty(), "no Service has the address {}", args.address);
    let mut text = String::new();
    // A shared address moves with all Services that share it.
    for service in services {
        let text_of =
            |pointer| service.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (namespace, name) = (text_of("/metadata/namespace"), text_of("/metadata/name"));
        let path = format!("/api/v1/namespaces/{namespace}/services/{name}");
        annotate(&client, &path, PREFERRED_NODE_ANNOTATION, wish.as_deref())
            .await
            .with_context(|| format!("Service {namespace}/{name}"))?;
        let _ = match &wish {
            Some(wish) => {
                writeln!(text, "Service {namespace}/{name}: {} is to be at {wish}", args.address)
            }
            None => writeln!(
                text,
                "Service {namespace}/{name}: {} is where the election puts it",
                args.address
            ),
        };
    }
    Ok(text)
}

/// Writes the wish that a node give away all that it announces, or takes the wish back; returns the text to print.
///
/// # Errors
/// The cluster cannot be reached or refuses, or there is no such node.
pub async fn drain(args: &DrainArgs) -> anyhow::Result<String> {
    let client = connect().await?;
    let path = format!("/api/v1/nodes/{}", args.node);
    let value = (!args.undo).then_some("true");
    annotate(&client, &path, DRAIN_ANNOTATION, value)
        .await
        .with_context(|| format!("node {:?}", args.node))?;
    Ok(if args.undo {
        format!("node {}: announces again\n", args.node)
    } else {
        format!("node {}: what is announced from it moves away\n", args.node)
    })
}

/// `NODE`, with the end of the wish if it has one.
fn wish(node: &str, time: Option<std::time::Duration>) -> anyhow::Result<String> {
    let Some(time) = time else { return Ok(node.to_owned()) };
    let end = Timestamp::now().checked_add(SignedDuration::try_from(time)?)?;
    Ok(format!("{node}@{end:.0}"))
}

fn holds(service: &Value, address: IpAddr) -> bool {
    service
        .pointer("/status/loadBalancer/ingress")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|entry| core_address(entry.get("ip")?.as_str()?))
        .any(|ip| ip.value == address)
}

async fn get(client: &Client, path: &str) -> anyhow::Result<Value> {
    Ok(client.request(Request::get(path).body(Vec::new())?).await?)
}

async fn annotate(
    client: &Client,
    path: &str,
    annotation: &str,
    value: Option<&str>,
) -> anyhow::Result<()> {
    let patch = json!({"metadata": {"annotations": {annotation: value}}});
    let request = Request::patch(format!("{path}?fieldManager=ferrolb"))
        .header(header::CONTENT_TYPE, "application/merge-patch+json")
        .body(serde_json::to_vec(&patch)?)?;
    let _: Value = client.request(request).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wish_may_end() {
        assert_eq!(wish("node-1", None).unwrap(), "node-1");
        let text = wish("node-1", Some(Duration::from_secs(3600))).unwrap();
        let (node, end) = text.split_once('@').unwrap();
        let left = end.parse::<Timestamp>().unwrap().duration_since(Timestamp::now());
        assert_eq!(node, "node-1");
        assert!((3590..=3601).contains(&left.as_secs()), "{text}");
    }

    #[test]
    fn a_service_holds_an_address_in_any_spelling() {
        let service = json!({"status": {"loadBalancer": {"ingress": [
            {"ip": "10.0.0.1"}, {"ip": "FD00:0::1"}, {"hostname": "x"}]}}});
        assert!(holds(&service, "fd00::1".parse().unwrap()));
        assert!(holds(&service, "10.0.0.1".parse().unwrap()));
        assert!(!holds(&service, "10.0.0.2".parse().unwrap()));
        assert!(!holds(&json!({}), "10.0.0.2".parse().unwrap()));
    }
}
