// SPDX-License-Identifier: Apache-2.0
//! The tables of buckets that were filled before: many addresses have the same nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::buckets::Buckets;
use crate::order::Layer;

/// The tables that are remembered, at most: of 1,024 names each.
const LIMIT: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Tables(BTreeMap<Layer, Arc<Buckets>>);

impl Tables {
    /// The table of each layer.
    pub(super) fn of(&mut self, layers: &[Layer]) -> Vec<Arc<Buckets>> {
        if self.0.len() + layers.len() > LIMIT {
            self.0.clear();
        }
        let table = |layer: &Layer| {
            let known = self.0.entry(layer.clone());
            Arc::clone(known.or_insert_with(|| Arc::new(Buckets::fill(layer.weights()))))
        };
        layers.iter().map(table).collect()
    }
}
