// SPDX-License-Identifier: Apache-2.0
//! `Community`: aliases, each of which is defined once (contract 6.2).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::community::Community;
use crate::config::objects::Object;
use crate::metallb::CommunitySpec;

pub(super) fn parse(
    _: &Arc<str>,
    _: &Object<CommunitySpec>,
    spec: &CommunitySpec,
) -> Result<BTreeMap<Box<str>, Community>, String> {
    let mut aliases = BTreeMap::new();
    for entry in spec.communities.iter().flatten() {
        let alias = entry.name.as_deref().unwrap_or_default();
        let community = entry
            .value
            .as_deref()
            .unwrap_or_default()
            .parse()
            .map_err(|error| format!("parsing community {alias:?}: {error}"))?;
        if aliases.insert(alias.into(), community).is_some() {
            return Err(duplicate(alias));
        }
    }
    Ok(aliases)
}

fn duplicate(alias: &str) -> String {
    format!("duplicate definition of community {alias:?}")
}

/// The aliases of all admitted objects.
#[derive(Default)]
pub(super) struct Aliases {
    pub(super) by_alias: BTreeMap<Box<str>, Community>,
    pub(super) by_object: BTreeMap<Arc<str>, BTreeMap<Box<str>, Community>>,
}

impl Aliases {
    /// Takes in what an object defines, unless one of its aliases is defined already.
    pub(super) fn admit(
        &mut self,
        name: &Arc<str>,
        defined: BTreeMap<Box<str>, Community>,
    ) -> Result<(), String> {
        if let Some(alias) = defined.keys().find(|alias| self.by_alias.contains_key(*alias)) {
            return Err(duplicate(alias));
        }
        self.by_alias.extend(defined.iter().map(|(alias, value)| (alias.clone(), *value)));
        self.by_object.insert(name.clone(), defined);
        Ok(())
    }
}
