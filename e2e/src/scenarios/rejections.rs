// SPDX-License-Identifier: Apache-2.0
//! What can be wrong with configuration is refused by the API server when it is made: by the schema of the CRD, or in the
//! contract's words by the webhook. The rows are those of the unit tests.
//!
//! Topology: control plane and controller; the API server finds the webhooks by their Service (failure policy Fail).
//! Steps: for each row its objects are made, last the one that is wrong: it is refused, unless the row says why not.

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::lab::{Lab, webhooks};
use crate::lab::kube::{Failure, path};
use crate::lab::objects::{bgp_peer, configuration};

const ROWS: &str = include_str!("../../../crds/src/config/validate/tests/rejections.yaml");

#[derive(Deserialize)]
struct Row {
    case: String,
    /// Each one `Kind name: spec`.
    objects: Vec<serde_json::Map<String, Value>>,
    rejected: String,
    message: String,
    /// Why the API server takes it all the same.
    accepted: Option<String>,
}

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    webhooks::install(lab.kube())?;
    lab.start_controller(&[])?;
    let options = serde_saphyr::options! { strict_booleans: true };
    let rows: Vec<Row> = serde_saphyr::from_str_with_options(ROWS, options)?;
    let (mut by_schema, mut by_webhook) = (0, 0);
    let mut wrong = Vec::new();
    for row in rows {
        match refusal(lab, &row) {
            Ok(Some(422)) => by_schema += 1,
            Ok(Some(_)) => by_webhook += 1,
            Ok(None) => {}
            Err(error) => wrong.push(format!("{}, {}: {error:#}", row.rejected, row.case)),
        }
    }
    println!("     {by_schema} refused by the schema, {by_webhook} by the webhooks");
    ensure!(wrong.is_empty(), "{} rows: {}", wrong.len(), wrong.join("\n"));
    ensure!(by_webhook > 20, "only {by_webhook} were refused by the webhooks");
    Ok(())
}

/// The status code of the refusal; none if it was rightly accepted.
fn refusal(lab: &Lab, row: &Row) -> anyhow::Result<Option<u16>> {
    let kube = lab.kube();
    let (mut there, mut wrong) = (Vec::new(), None);
    for (head, spec) in row.objects.iter().flatten() {
        let (kind, name) = head.split_once(' ').context("a kind and a name")?;
        let mut spec = spec.clone();
        // Objects are as old as the order says in which they are made.
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("creationTimestamp");
        }
        let object = match kind {
            "BGPPeer" => bgp_peer(name, spec),
            _ => configuration(kind, name, spec),
        };
        if *head == row.rejected {
            wrong = Some(object);
        } else {
            kube.create(&object).with_context(|| object.to_string())?;
            there.push(object);
        }
    }
    let wrong = wrong.context("the row says which one is wrong")?;
    let answer = kube.create(&wrong);
    if answer.is_ok() {
        there.push(wrong);
    }
    for object in there.iter().rev() {
        kube.delete(&path(object)).with_context(|| object.to_string())?;
    }
    match answer {
        Ok(_) if row.accepted.is_some() => Ok(None),
        Err(failure) if row.accepted.is_some() => Err(failure.into()),
        Ok(object) => bail!("the API accepted {object}"),
        Err(Failure { code: Some(422), .. }) => Ok(Some(422)),
        Err(Failure { code: Some(403), message }) => {
            ensure!(message.contains("denied the request: "), "{message}");
            ensure!(message.contains(&row.message), "{message}\nis not {}", row.message);
            Ok(Some(403))
        }
        Err(failure) => Err(failure.into()),
    }
}
