// SPDX-License-Identifier: Apache-2.0
//! `caBundle`: the authorities that the API server is told to trust, and the fields that hold them.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

/// The greatest number of authorities in a bundle: the one in use and those before it.
const MOST: usize = 3;

/// The fate of the authorities that were in use before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Older {
    /// The authorities stay: a server may still show a certificate of theirs.
    Keep,
    /// The authorities go.
    Drop,
}

/// The bundle that should stand in the place of `there`; none if `there` is right. Two controllers agree on the bundle,
/// whichever of them was there before.
pub(super) fn wanted(there: &[u8], authority: &[u8], older: Older) -> Option<Vec<u8>> {
    let known = certificates(there);
    let current = certificates(authority);
    let has_current = current.iter().all(|one| known.contains(one));
    let has_others = known.iter().any(|one| !current.contains(one));
    if has_current && (older == Older::Keep || !has_others) {
        return None;
    }
    let mut bundle = authority.to_vec();
    if older == Older::Keep {
        let before = known.iter().filter(|one| !current.contains(one));
        for certificate in before.take(MOST - 1) {
            if !bundle.ends_with(b"\n") {
                bundle.push(b'\n');
            }
            bundle.extend(pem(certificate).into_bytes());
        }
    }
    Some(bundle)
}

fn certificates(text: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(text).filter_map(Result::ok).collect()
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    // The text of a certificate: 64 characters of base64 a line (RFC 7468).
    let encoded = base64(certificate);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in encoded.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// Octets as JSON carries them.
fn base64(octets: &[u8]) -> String {
    let value = serde_json::to_value(k8s_openapi::ByteString(octets.to_vec())).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn octets(value: &Value) -> Vec<u8> {
    serde_json::from_value::<k8s_openapi::ByteString>(value.clone())
        .map(|text| text.0)
        .unwrap_or_default()
}

/// The change (a merge patch) that makes all webhooks of a ValidatingWebhookConfiguration trust the authority.
pub(super) fn webhooks_patch(object: &Value, authority: &[u8], older: Older) -> Option<Value> {
    let mut webhooks = object.get("webhooks")?.as_array()?.clone();
    let mut changed = false;
    for webhook in &mut webhooks {
        changed |= inject(webhook.get_mut("clientConfig")?, authority, older);
    }
    changed.then(|| patch(object, "webhooks", webhooks.into()))
}

/// The change (a merge patch) that makes a CRD with a conversion webhook trust the authority.
pub(super) fn conversion_patch(object: &Value, authority: &[u8], older: Older) -> Option<Value> {
    let mut client = object.pointer("/spec/conversion/webhook/clientConfig")?.clone();
    let changed = inject(&mut client, authority, older);
    let spec = json!({ "conversion": { "webhook": { "clientConfig": {
        "caBundle": client.get("caBundle"),
    } } } });
    changed.then(|| patch(object, "spec", spec))
}

fn inject(client: &mut Value, authority: &[u8], older: Older) -> bool {
    let Some(client) = client.as_object_mut() else { return false };
    let there = client.get("caBundle").map(octets).unwrap_or_default();
    let Some(bundle) = wanted(&there, authority, older) else { return false };
    client.insert("caBundle".into(), base64(&bundle).into());
    true
}

/// A patch with the object's version: the API server refuses it if the object has changed meanwhile.
fn patch(object: &Value, field: &str, value: Value) -> Value {
    json!({
        "metadata": { "resourceVersion": object.pointer("/metadata/resourceVersion") },
        field: value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(name: &str) -> Vec<u8> {
        daemon::tls::self_signed(name).unwrap().0.into_bytes()
    }

    #[test]
    fn old_and_new_overlap_until_the_old_may_go() {
        let (old, new) = (authority("old"), authority("new"));
        assert_eq!(wanted(b"", &old, Older::Keep).as_deref(), Some(&*old));
        assert_eq!(wanted(b"nonsense", &old, Older::Keep).as_deref(), Some(&*old));
        assert_eq!(wanted(&old, &old, Older::Keep), None);
        let both = wanted(&old, &new, Older::Keep).unwrap();
        assert_eq!(certificates(&both), [certificates(&new), certificates(&old)].concat());
        // Another controller finds nothing to change, whichever authority it knows.
        assert_eq!(wanted(&both, &new, Older::Keep), None);
        assert_eq!(wanted(&both, &old, Older::Keep), None);
        assert_eq!(wanted(&both, &new, Older::Drop).as_deref(), Some(&*new));
        assert_eq!(wanted(&new, &new, Older::Drop), None);
    }

    #[test]
    fn a_bundle_does_not_grow_for_ever() {
        let mut bundle = Vec::new();
        for number in 0..9 {
            bundle = wanted(&bundle, &authority(&number.to_string()), Older::Keep).unwrap();
        }
        assert_eq!(certificates(&bundle).len(), MOST);
    }

    #[test]
    fn all_webhooks_are_told_and_nothing_else_is_changed() {
        let ca = authority("a");
        let object = json!({
            "metadata": { "name": "x", "resourceVersion": "7" },
            "webhooks": [
                { "name": "a", "clientConfig": { "service": { "name": "s" } }, "unknown": 1 },
                { "name": "b", "clientConfig": { "caBundle": base64(&ca) } },
            ],
        });
        let patch = webhooks_patch(&object, &ca, Older::Keep).unwrap();
        assert_eq!(patch["metadata"], json!({ "resourceVersion": "7" }));
        assert_eq!(patch["webhooks"][0]["unknown"], 1);
        assert_eq!(patch["webhooks"][0]["clientConfig"]["service"]["name"], "s");
        assert_eq!(patch["webhooks"][0]["clientConfig"]["caBundle"], json!(base64(&ca)));
        let mut after = object.clone();
        after["webhooks"] = patch["webhooks"].clone();
        assert_eq!(webhooks_patch(&after, &ca, Older::Keep), None);
        assert_eq!(webhooks_patch(&json!({}), &ca, Older::Keep), None);
    }

    #[test]
    fn a_crd_is_told_if_a_webhook_converts_it() {
        let ca = authority("a");
        let object = json!({ "metadata": {}, "spec": { "conversion": {
            "strategy": "Webhook", "webhook": { "clientConfig": { "service": {} } },
        } } });
        let patch = conversion_patch(&object, &ca, Older::Keep).unwrap();
        assert_eq!(
            patch.pointer("/spec/conversion/webhook/clientConfig"),
            Some(&json!({ "caBundle": base64(&ca) }))
        );
        let none = json!({ "spec": { "conversion": { "strategy": "None" } } });
        assert_eq!(conversion_patch(&none, &ca, Older::Keep), None);
    }
}
