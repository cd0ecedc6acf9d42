// SPDX-License-Identifier: Apache-2.0
//! The certificates of the webhooks (contract 6.5): made, judged and renewed. No I/O; the time is an argument.
//!
//! The authority's key is RSA in PKCS#1, because MetalLB's own rotator reads nothing else: after a rollback it goes on with
//! this Secret. The server's key is ECDSA, which every TLS client takes and which costs no memory.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm,
    SigningKey,
};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rsa::pkcs1::{EncodeRsaPrivateKey, LineEnding};
use rsa::rand_core::{TryCryptoRng, TryRng};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use time::OffsetDateTime;
use x509_parser::prelude::{GeneralName, X509Certificate};

/// The name of the authority, which MetalLB's rotator looks for.
const NAME: &str = "cert";
/// The length of the authority's key, as MetalLB's rotator makes it.
const BITS: usize = 2048;
const ORGANIZATION: &str = "metallb";
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long an authority is good.
const AUTHORITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How long a server's certificate is good.
const SERVER: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long before its end a certificate is renewed.
const AHEAD: Duration = Duration::from_secs(90 * 24 * 3600);
/// Clocks differ.
const BEFORE: Duration = Duration::from_secs(3600);

/// What the Secret holds, each in PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Material {
    /// `ca.crt`
    pub(super) authority: Vec<u8>,
    /// `ca.key`
    pub(super) authority_key: Vec<u8>,
    /// `tls.crt`
    pub(super) chain: Vec<u8>,
    /// `tls.key`
    pub(super) key: Vec<u8>,
}

impl std::fmt::Debug for Material {
    /// Without the keys, so that no log can hold them.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Material").finish_non_exhaustive()
    }
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Good,
    /// The authority stays, the server needs a new certificate.
    RenewServer,
    /// All is made anew.
    RenewAll,
}

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuthorityError {
    #[error("the authority's key cannot be used: {0}")]
    Key(String),
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("cannot make a key: {0}")]
    Generate(#[from] rsa::Error),
    #[error("cannot write the key: {0}")]
    Write(#[from] rsa::pkcs1::Error),
    #[error("the time is out of range")]
    Time,
}

/// An authority's key that can sign. rcgen with ring reads no PKCS#1.
struct AuthorityKey(RsaKeyPair);

impl AuthorityKey {
    fn read(pem: &[u8]) -> Result<Self, AuthorityError> {
        let error = |text: &dyn std::fmt::Display| AuthorityError::Key(text.to_string());
        let pair = match PrivateKeyDer::from_pem_slice(pem).map_err(|cause| error(&cause))? {
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
            _ => return Err(error(&"it is not RSA")),
        };
        pair.map(Self).map_err(|cause| error(&cause))
    }
}

impl PublicKeyData for AuthorityKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl SigningKey for AuthorityKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signature)
    }
}

/// ring's random numbers for the crate that finds primes with them. The key is used with ring only, which takes the same
/// time whatever it holds.
struct Random(SystemRandom);

impl TryRng for Random {
    type Error = std::io::Error;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut octets = [0; 4];
        self.try_fill_bytes(&mut octets)?;
        Ok(u32::from_le_bytes(octets))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut octets = [0; 8];
        self.try_fill_bytes(&mut octets)?;
        Ok(u64::from_le_bytes(octets))
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(to).map_err(|_| std::io::Error::other("no random numbers"))
    }
}

impl TryCryptoRng for Random {}

/// Makes an authority and a server's certificate for `name`. Finding the primes takes a moment.
pub(super) fn make(name: &str, now: UnixTime) -> Result<Material, AuthorityError> {
    let authority_key = rsa::PrivateKey::new(&mut Random(SystemRandom::new()), BITS)?
        .to_pkcs1_pem(LineEnding::LF)?;
    let key = AuthorityKey::read(authority_key.as_bytes())?;
    let mut params = CertificateParams::new(vec![NAME.to_owned()])?;
    params.distinguished_name = names(NAME, Some(ORGANIZATION));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::KeyCertSign,
    ];
    (params.not_before, params.not_after) = life(now, AUTHORITY)?;
    let authority = params.self_signed(&key)?.pem().into_bytes();
    let made = Material {
        authority,
        authority_key: authority_key.as_bytes().to_vec(),
        ..Material::default()
    };
    renew(made, name, now)
}

/// Makes a new certificate for the server, signed by the authority that is there.
pub(super) fn renew(
    material: Material,
    name: &str,
    now: UnixTime,
) -> Result<Material, AuthorityError> {
    let authority = CertificateDer::from_pem_slice(&material.authority)
        .map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
    let issuer =
        Issuer::from_ca_cert_der(&authority, AuthorityKey::read(&material.authority_key)?)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    // A common name has 64 characters at most (RFC 5280, ub-common-name); what counts is the other one.
    params.distinguished_name =
        if name.len() <= 64 { names(name, None) } else { DistinguishedName::new() };
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    // All authorities have the same name. While two are trusted, some clients tell by this which one it was.
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = life(now, SERVER)?;
    let chain = params.signed_by(&key, &issuer)?.pem().into_bytes();
    Ok(Material { chain, key: key.serialize_pem().into_bytes(), ..material })
}

fn names(common: &str, organization: Option<&str>) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, common);
    if let Some(organization) = organization {
        names.push(DnType::OrganizationName, organization);
    }
    names
}

fn life(
    now: UnixTime,
    length: Duration,
) -> Result<(OffsetDateTime, OffsetDateTime), AuthorityError> {
    let at = |seconds: u64| {
        let seconds = i64::try_from(seconds).map_err(|_| AuthorityError::Time)?;
        OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| AuthorityError::Time)
    };
    let now = now.as_secs();
    Ok((at(now.saturating_sub(BEFORE.as_secs()))?, at(now + length.as_secs())?))
}

/// Judges what the Secret holds, for a server called `name`.
pub(super) fn judge(material: &Material, name: &str, now: UnixTime) -> Verdict {
    let may_sign = AuthorityKey::read(&material.authority_key).ok();
    let authority = CertificateDer::from_pem_slice(&material.authority).ok();
    let Some(authority) = authority.as_ref().and_then(|der| parsed(der)) else {
        return Verdict::RenewAll;
    };
    let lasts = |certificate: &X509Certificate<'_>| {
        let validity = certificate.validity();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let ahead = i64::try_from(AHEAD.as_secs()).unwrap_or(i64::MAX);
        validity.not_before.timestamp() <= now
            && validity.not_after.timestamp() > now.saturating_add(ahead)
    };
    if !authority.is_ca() || !lasts(&authority) {
        return Verdict::RenewAll;
    }
    let chain = CertificateDer::from_pem_slice(&material.chain).ok();
    let is_good = chain.as_ref().and_then(|der| parsed(der)).is_some_and(|server| {
        lasts(&server)
            && is_for(&server, name)
            && server.verify_signature(Some(authority.public_key())).is_ok()
            && daemon::tls::Slot::default().set(&material.chain, &material.key).is_ok()
    });
    if is_good {
        return Verdict::Good;
    }
    let is_its_key = may_sign.is_some_and(|key| {
        authority.public_key().subject_public_key.data.as_ref() == key.der_bytes()
    });
    if is_its_key { Verdict::RenewServer } else { Verdict::RenewAll }
}

/// Whether a certificate can be shown at this moment at all.
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

/// How often all is looked at anew.
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
    fn what_is_made_is_good_until_ninety_days_before_its_end() {
        let made = make(SERVICE, day(0)).unwrap();
        assert!(made.authority_key.starts_with(b"-----BEGIN RSA PRIVATE KEY-----"));
        assert_eq!(judge(&made, SERVICE, day(0)), Verdict::Good);
        assert_eq!(judge(&made, SERVICE, day(274)), Verdict::Good);
        assert_eq!(judge(&made, SERVICE, day(275)), Verdict::RenewServer);
        assert!(is_current(&made.chain, day(364)) && !is_current(&made.chain, day(365)));
        let renewed = renew(made.clone(), SERVICE, day(275)).unwrap();
        assert_eq!(judge(&renewed, SERVICE, day(275)), Verdict::Good);
        assert_eq!(renewed.authority, made.authority);
        assert_eq!(judge(&renewed, SERVICE, day(3650 - 90)), Verdict::RenewAll);
        // The same Secret, damaged in one part.
        assert_eq!(judge(&made, "other.metallb-system.svc", day(0)), Verdict::RenewServer);
        let other = make(SERVICE, day(0)).unwrap();
        let cases = [
            (Material { key: other.key.clone(), ..made.clone() }, Verdict::RenewServer),
            (Material { chain: Vec::new(), ..made.clone() }, Verdict::RenewServer),
            (
                Material { chain: other.chain.clone(), key: other.key.clone(), ..made.clone() },
                Verdict::RenewServer,
            ),
            (Material { authority: Vec::new(), ..made.clone() }, Verdict::RenewAll),
            (
                Material { authority_key: Vec::new(), chain: Vec::new(), ..made.clone() },
                Verdict::RenewAll,
            ),
            (Material { authority: other.authority.clone(), ..made.clone() }, Verdict::RenewAll),
            // Somebody else's, who keeps the authority's key elsewhere.
            (Material { authority_key: Vec::new(), ..made.clone() }, Verdict::Good),
            (Material::default(), Verdict::RenewAll),
        ];
        for (number, (material, verdict)) in cases.into_iter().enumerate() {
            assert_eq!(judge(&material, SERVICE, day(0)), verdict, "case {number}");
        }
    }
}
