// SPDX-License-Identifier: Apache-2.0
//! A node that hosts an address of Antrea's world dies, or is no longer one of the pool's: the address moves, and the hostname follows.
//!
//! Topology: three nodes with speakers, of which two have the label of the pool; a client.
//! Steps: the owner's speaker is killed: the other node of the pool takes over; it comes back and has its address again, as the ring says; it
//! loses its label, and the address moves; no node has the label: nobody answers, and the address stays in the status; node3 gets it and answers.

use serde_json::{Value, json};

use crate::lab::Lab;
use crate::lab::antrea::{ADDRESS, POOL, SERVICE};

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_for_antrea(3)?;
    lab.apply_text(POOL)?;
    lab.apply_text(SERVICE)?;
    let owner = lab.wait_owner(ADDRESS)?;
    let other = if owner == "node1" { "node2" } else { "node1" };
    lab.expect_hostname("my-service", ADDRESS, &owner)?;

    lab.node(&owner)?.speaker = None;
    lab.expect_owner(ADDRESS, other)?;
    lab.expect_hostname("my-service", ADDRESS, other)?;
    let node = lab.node(&owner)?;
    node.start_speaker(&[])?;
    node.wait_speaker()?;
    lab.expect_owner(ADDRESS, &owner)?;
    lab.expect_hostname("my-service", ADDRESS, &owner)?;

    lab.label(&owner, &Value::Null)?;
    lab.expect_owner(ADDRESS, other)?;
    lab.expect_hostname("my-service", ADDRESS, other)?;
    lab.label(other, &Value::Null)?;
    lab.expect_silence(ADDRESS)?;
    lab.expect_addresses("my-service", &[ADDRESS])?;
    lab.label("node3", &json!("ingress-node"))?;
    lab.expect_owner(ADDRESS, "node3")?;
    lab.expect_hostname("my-service", ADDRESS, "node3")
}
