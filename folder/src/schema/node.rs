// SPDX-License-Identifier: Apache-2.0
//! Rules of the API server for Nodes.

use k8s_openapi::api::core::v1::Node;
use serde::Deserialize;
use serde_json::Value;

use super::Fault;
use super::metadata::{label_value, qualified};

/// Judges a Node whose fields have the right types.
pub(super) fn judge(object: &Value, faults: &mut Vec<Fault>) {
    let Ok(node) = Node::deserialize(object) else { return };
    let Some(spec) = node.spec else { return };
    for (index, taint) in spec.taints.iter().flatten().enumerate() {
        let path = format!("spec.taints[{index}]");
        let mut refuse = |field: &str, message: String| {
            faults.push(Fault::refused(format!("{path}.{field}"), message));
        };
        if let Some(wrong) = qualified(&taint.key) {
            refuse("key", wrong);
        }
        if let Some(wrong) = label_value(taint.value.as_deref().unwrap_or_default()) {
            refuse("value", wrong);
        }
        if !matches!(&*taint.effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
            let effect = &taint.effect;
            refuse(
                "effect",
                format!("{effect:?} is not one of NoSchedule, PreferNoSchedule, NoExecute"),
            );
        }
    }
}
