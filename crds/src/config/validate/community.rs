// SPDX-License-Identifier: Apache-2.0
//! `Community`: aliases, each of which is defined once (contract 6.2).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::community::Community;
use crate::config::fault::{Fault, FieldPath, OtherEntry};
use crate::config::objects::{ConfigKind, Object, Stored};
use crate::metallb::CommunitySpec;

/// The field of the aliases.
const LIST: &str = "communities";

pub(super) fn parse(
    name: &Arc<str>,
    _: &Object<CommunitySpec>,
    spec: &CommunitySpec,
) -> Result<BTreeMap<Box<str>, Community>, Fault> {
    let mut aliases = BTreeMap::new();
    for (index, entry) in spec.communities.iter().flatten().enumerate() {
        let alias = entry.name.as_deref().unwrap_or_default();
        let community = entry.value.as_deref().unwrap_or_default().parse().map_err(|error| {
            let message = format!("parsing community {alias:?}: {error}");
            Fault::new((LIST, index), message)
        })?;
        if aliases.insert(alias.into(), community).is_some() {
            let fault = Fault::new((LIST, index), duplicate(alias));
            return Err(fault.against(definition(name, Some(spec), alias)));
        }
    }
    Ok(aliases)
}

fn duplicate(alias: &str) -> String {
    format!("duplicate definition of community {alias:?}")
}

/// Where an object defines an alias first.
fn definition(name: &Arc<str>, spec: Option<&CommunitySpec>, alias: &str) -> OtherEntry {
    let mut entries = spec.and_then(|spec| spec.communities.as_ref()).into_iter().flatten();
    let list = FieldPath::from("spec").name(LIST);
    let field = match entries.position(|entry| entry.name.as_deref().unwrap_or_default() == alias) {
        Some(index) => list.index(index),
        None => list,
    };
    OtherEntry { kind: ConfigKind::Community, name: Arc::clone(name), field }
}

/// The aliases of all admitted objects.
pub(super) struct Aliases<'a> {
    objects: &'a Stored<CommunitySpec>,
    pub(super) by_alias: BTreeMap<Box<str>, Community>,
    pub(super) by_object: BTreeMap<Arc<str>, BTreeMap<Box<str>, Community>>,
}

impl<'a> Aliases<'a> {
    pub(super) fn new(objects: &'a Stored<CommunitySpec>) -> Self {
        Self { objects, by_alias: BTreeMap::new(), by_object: BTreeMap::new() }
    }

    /// Takes in what an object defines, unless one of its aliases is defined already.
    pub(super) fn admit(
        &mut self,
        name: &Arc<str>,
        defined: BTreeMap<Box<str>, Community>,
    ) -> Result<(), Fault> {
        if let Some(alias) = defined.keys().find(|alias| self.by_alias.contains_key(*alias)) {
            let mut fault = Fault::new(self.definition(name, alias).field, duplicate(alias));
            let mut others = self.by_object.iter();
            let other = others.find(|(_, aliases)| aliases.contains_key(alias));
            fault.other = other.map(|(other, _)| self.definition(other, alias));
            return Err(fault);
        }
        self.by_alias.extend(defined.iter().map(|(alias, value)| (alias.clone(), *value)));
        self.by_object.insert(name.clone(), defined);
        Ok(())
    }

    fn definition(&self, name: &Arc<str>, alias: &str) -> OtherEntry {
        let spec = self.objects.get(name).and_then(|object| object.spec.as_ref().ok());
        definition(name, spec, alias)
    }
}
