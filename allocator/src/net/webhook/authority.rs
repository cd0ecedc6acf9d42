// SPDX-License-Identifier: Apache-2.0
//! Makes, judges and renews the certificates of the webhooks (contract 6.5). No I/O; the time is an argument.
//!
//! The authority's key is kept nowhere. It signs one certificate and is forgotten, so that a program that may list
//! Secrets cannot make certificates that the API server trusts. Each renewal is therefore of both, and the new
//! authority is trusted before its certificate is shown. The Secret has a `ca.key` only where MetalLB's controller
//! filled it, whose rotator keeps one there. After a rollback the rotator finds none and makes all anew by itself. All
//! keys are ECDSA, which every TLS client takes.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;
use x509_parser::prelude::{GeneralName, X509Certificate};

/// The name of the authority, which MetalLB's rotator looks for.
const NAME: &str = "cert";
const ORGANIZATION: &str = "metallb";
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The lifetime of an authority and its certificate.
const LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// The time before its end at which a certificate is renewed.
const AHEAD: Duration = Duration::from_secs(90 * 24 * 3600);
/// The time before now from which a certificate is valid, as clocks differ.
const BEFORE: Duration = Duration::from_secs(3600);

/// The contents of the Secret, each in PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Material {
    /// The authority's certificate, `ca.crt`.
    pub(super) authority: Vec<u8>,
    /// The server's certificate, `tls.crt`.
    pub(super) chain: Vec<u8>,
    /// The server's key, `tls.key`.
    pub(super) key: Vec<u8>,
}

impl std::fmt::Debug for Material {
    /// Writes no key, so that no log can hold one.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Material").finish_non_exhaustive()
    }
}

/// The reason why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuthorityError {
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("the time is out of range")]
    Time,
}

/// Makes an authority and a server's certificate for `name`, and forgets the authority's key.
pub(super) fn make(name: &str, now: UnixTime) -> Result<Material, AuthorityError> {
    let mut params = CertificateParams::new(vec![NAME.to_owned()])?;
    params.distinguished_name = names(NAME, Some(ORGANIZATION));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    (params.not_before, params.not_after) = life(now)?;
    let authority_key = KeyPair::generate()?;
    let authority = params.self_signed(&authority_key)?.pem().into_bytes();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    // A common name has 64 characters at most (RFC 5280, ub-common-name); clients check the alternative name.
    params.distinguished_name =
        if name.len() <= 64 { names(name, None) } else { DistinguishedName::new() };
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    // All authorities have the same name. While two are trusted, some clients tell them apart by this identifier.
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = life(now)?;
    let chain = params.signed_by(&key, &issuer)?.pem().into_bytes();
    Ok(Material { authority, chain, key: key.serialize_pem().into_bytes() })
}

fn names(common: &str, organization: Option<&str>) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, common);
    if let Some(organization) = organization {
        names.push(DnType::OrganizationName, organization);
    }
    names
}

fn life(now: UnixTime) -> Result<(OffsetDateTime, OffsetDateTime), AuthorityError> {
    let at = |seconds: u64| {
        let seconds = i64::try_from(seconds).map_err(|_| AuthorityError::Time)?;
        OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| AuthorityError::Time)
    };
    let now = now.as_secs();
    Ok((at(now.saturating_sub(BEFORE.as_secs()))?, at(now + LIFE.as_secs())?))
}

/// True if the contents of the Secret may stay, for a server called `name`; else all of it is made anew.
pub(super) fn is_good(material: &Material, name: &str, now: UnixTime) -> bool {
    let authority = CertificateDer::from_pem_slice(&material.authority).ok();
    let Some(authority) = authority.as_ref().and_then(|der| parsed(der)) else { return false };
    let lasts = |certificate: &X509Certificate<'_>| {
        let validity = certificate.validity();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let ahead = i64::try_from(AHEAD.as_secs()).unwrap_or(i64::MAX);
        validity.not_before.timestamp() <= now
            && validity.not_after.timestamp() > now.saturating_add(ahead)
    };
    let chain = CertificateDer::from_pem_slice(&material.chain).ok();
    let Some(server) = chain.as_ref().and_then(|der| parsed(der)) else { return false };
    authority.is_ca()
        && lasts(&authority)
        && lasts(&server)
        && is_for(&server, name)
        && server.verify_signature(Some(authority.public_key())).is_ok()
        && daemon::tls::Slot::default().set(&material.chain, &material.key).is_ok()
}

/// True if a certificate is valid at this moment.
pub(super) fn is_current(chain: &[u8], now: UnixTime) -> bool {
    let chain = CertificateDer::from_pem_slice(chain).ok();
    chain.as_ref().and_then(|der| parsed(der)).is_some_and(|certificate| {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let validity = certificate.validity();
        validity.not_before.timestamp() <= now && now < validity.not_after.timestamp()
    })
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    x509_parser::parse_x509_certificate(der).ok().map(|(_, certificate)| certificate)
}

fn is_for(certificate: &X509Certificate<'_>, name: &str) -> bool {
    let names = certificate.subject_alternative_name().ok().flatten();
    names.is_some_and(|names| {
        names
            .value
            .general_names
            .iter()
            .any(|known| matches!(known, GeneralName::DNSName(known) if known.eq_ignore_ascii_case(name)))
    })
}

/// The time between two checks of everything.
pub(super) const CHECK: Duration = Duration::from_secs(DAY.as_secs() / 2);

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "metallb-webhook-service.metallb-system.svc";

    fn day(number: u64) -> UnixTime {
        UnixTime::since_unix_epoch(
            Duration::from_secs(1_800_000_000) + DAY * u32::try_from(number).unwrap(),
        )
    }

    #[test]
    fn what_is_made_is_good_until_ninety_days_before_its_end_and_while_the_clock_is_right() {
        let made = make(SERVICE, day(0)).unwrap();
        for (number, good) in [(0, true), (274, true), (275, false), (400, false)] {
            assert_eq!(is_good(&made, SERVICE, day(number)), good, "day {number}");
        }
        assert!(is_current(&made.chain, day(364)) && !is_current(&made.chain, day(365)));
        // The certificate was made while the clock was ahead, and the clock is right now.
        let ahead = make(SERVICE, day(30)).unwrap();
        assert!(!is_good(&ahead, SERVICE, day(0)) && !is_current(&ahead.chain, day(0)));
    }

    #[test]
    fn what_is_damaged_or_another_ones_is_made_anew() {
        let (made, other) = (make(SERVICE, day(0)).unwrap(), make(SERVICE, day(0)).unwrap());
        assert!(!is_good(&made, "other.metallb-system.svc", day(0)));
        let cases = [
            Material { key: other.key.clone(), ..made.clone() },
            Material { chain: Vec::new(), ..made.clone() },
            Material { chain: other.chain.clone(), key: other.key.clone(), ..made.clone() },
            Material { authority: Vec::new(), ..made.clone() },
            Material { authority: other.authority.clone(), ..made.clone() },
            Material { authority: made.chain.clone(), ..made.clone() },
            Material::default(),
        ];
        for (number, material) in cases.into_iter().enumerate() {
            assert!(!is_good(&material, SERVICE, day(0)), "case {number}");
        }
    }

    #[test]
    fn no_key_of_an_authority_is_left() {
        let made = make(SERVICE, day(0)).unwrap();
        let keys = [&made.authority, &made.chain, &made.key]
            .map(|text| String::from_utf8_lossy(text).matches("PRIVATE KEY-----").count());
        assert_eq!(keys, [0, 0, 2], "one key, with its head and its end");
        // The key that is left cannot sign.
        let chain = CertificateDer::from_pem_slice(&made.chain).unwrap();
        assert!(!parsed(&chain).unwrap().is_ca());
    }
}
