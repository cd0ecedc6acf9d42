// SPDX-License-Identifier: Apache-2.0
//! The body of the fuzz target `manifest`, also run as a property test: arbitrary octets through reader and snapshot. It
//! panics when a rule is broken. Not used by the programs.

use std::path::Path;
use std::sync::Arc;

use crate::manifest::{Grade, Manifests};
use crate::{FolderState, feed};
use cluster::{ConfigScope, Snapshot};

/// Octets as a file of manifests.
pub fn manifest(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let file: Arc<Path> = Arc::from(Path::new("a.yaml"));
    let mut manifests = Manifests::with_fields();
    manifests.read(&file, &text);
    let refused = manifests.mistakes.iter().any(|mistake| mistake.grade == Grade::Refused);
    assert_eq!(refused, !manifests.broken.is_empty());

    // Lines end as YAML has it: by either character or both.
    let last = text.chars().filter(|char| matches!(char, '\n' | '\r')).count() + 1;
    let is_within = |line: Option<u64>| line.is_some_and(|line| (1..=last as u64).contains(&line));
    for mistake in &manifests.mistakes {
        assert!(is_within(mistake.line), "{mistake}");
        assert!(!mistake.message.is_empty());
    }
    for object in &mut manifests.objects {
        let (line, key) = (object.line, object.key.clone());
        assert!(is_within(Some(line)), "{key} on line {line}");
        let place = object.take_place();
        let again = place.mistake(Some("metadata.name".to_owned()), String::new());
        assert!(is_within(again.line), "{again}");
    }

    let objects = manifests.objects.len();
    let mut snapshot = Snapshot::new(ConfigScope::All, true);
    feed(&mut snapshot, manifests, &FolderState::default(), "here");
    snapshot.take_dirty();
    assert!(snapshot.services().len() + snapshot.nodes().len() <= objects + 1);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEED: &str = "apiVersion: v1\nkind: Service\nmetadata: &a\n  name: web\n  labels: {a: b}\nspec:\n  type: LoadBalancer\n  ports:\n  - port: 80\n---\napiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p}\nspec:\n  addresses:\n  - 10.0.0.0/30\n  - 10.0.1.1-10.0.1.9\n";

    /// The seed with a few octets put over it.
    fn mangled() -> impl Strategy<Value = Vec<u8>> {
        let changes = prop::collection::vec((0..SEED.len(), any::<u8>()), 0..8);
        changes.prop_map(|changes| {
            let mut octets = SEED.as_bytes().to_vec();
            for (at, octet) in changes {
                octets[at] = octet;
            }
            octets
        })
    }

    proptest! {
        #[test]
        fn arbitrary_octets_do_no_harm(data in prop::collection::vec(any::<u8>(), 0..300)) {
            manifest(&data);
        }

        #[test]
        fn mangled_manifests_do_no_harm(data in mangled()) {
            manifest(&data);
        }

        #[test]
        fn signs_that_mean_something_do_no_harm(text in "[-&*a!:\\[\\]{}<>|?#%'\",\n\r \t]{0,80}") {
            manifest(text.as_bytes());
        }
    }
}
