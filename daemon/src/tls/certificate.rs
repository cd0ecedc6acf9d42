// SPDX-License-Identifier: Apache-2.0
//! Certificates that can be exchanged while connections are served.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// How often the files of a folder are looked at. A Secret's volume is changed by exchanging a symbolic link, which no
/// watch of the file itself sees.
const LOOK: Duration = Duration::from_secs(5);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It is no PEM text, or there is nothing of that kind in it.
    #[error("no usable PEM: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// The key is of no known kind, or is not that of the certificate.
    #[error("certificate and key cannot be used: {0}")]
    Key(#[from] rustls::Error),
    /// No certificate could be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// The certificate that new connections are shown; empty until one is put in.
#[derive(Clone, Debug, Default)]
pub struct Slot(Arc<ArcSwapOption<CertifiedKey>>);

impl Slot {
    /// Shows this certificate, a chain in PEM with its key, to all connections that begin from now on.
    ///
    /// # Errors
    /// When it cannot be used; the one before stays.
    pub fn set(&self, chain: &[u8], key: &[u8]) -> Result<(), CertificateError> {
        let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(key)?;
        let certified = CertifiedKey::new(chain, any_supported_type(&key)?);
        certified.end_entity_cert()?;
        certified.keys_match()?;
        self.0.store(Some(Arc::new(certified)));
        Ok(())
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load().is_some()
    }
}

impl ResolvesServerCert for Slot {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// A certificate that nobody signed, for this host: chain and key in PEM. It is made anew at each start.
///
/// # Errors
/// When no key can be made.
pub fn self_signed(host: &str) -> Result<(String, String), CertificateError> {
    let host = if host.is_empty() { "localhost" } else { host };
    let made = rcgen::generate_simple_self_signed(vec![host.to_owned()])?;
    Ok((made.cert.pem(), made.signing_key.serialize_pem()))
}

/// Reads a certificate and its key.
fn read(chain: &Path, key: &Path) -> Result<(Vec<u8>, Vec<u8>), CertificateError> {
    let file = |path: &Path| {
        std::fs::read(path).map_err(|cause| CertificateError::Read { path: path.to_owned(), cause })
    };
    Ok((file(chain)?, file(key)?))
}

/// Shows what `tls.crt` and `tls.key` of a folder hold, as [`follow_files`] does.
///
/// # Errors
/// When there is nothing usable at the start.
pub fn follow_folder(folder: &Path, slot: Slot) -> Result<(), CertificateError> {
    follow_files(folder.join("tls.crt"), folder.join("tls.key"), slot)
}

/// Shows what the files of a certificate and its key hold, now and, looking every five seconds, whenever it has changed. A
/// half-written pair is not taken.
///
/// # Errors
/// When there is nothing usable at the start.
pub fn follow_files(chain: PathBuf, key: PathBuf, slot: Slot) -> Result<(), CertificateError> {
    let mut shown = read(&chain, &key)?;
    slot.set(&shown.0, &shown.1)?;
    tokio::spawn(async move {
        let mut refused = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let taken = read(&chain, &key).and_then(|found| {
                if found != shown && Some(&found) != refused.as_ref() {
                    refused = Some(found.clone());
                    slot.set(&found.0, &found.1)?;
                    tracing::info!(event = "certificateReloaded", file = %chain.display(),
                        "the certificate was exchanged");
                    shown = found;
                    refused = None;
                }
                Ok(())
            });
            if let Err(error) = taken {
                tracing::warn!(event = "certificateRefused", file = %chain.display(), %error,
                    "the certificate cannot be used; the one before stays");
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_that_does_not_match_leaves_the_one_before() {
        let slot = Slot::default();
        assert!(!slot.is_set());
        let (chain, key) = self_signed("a").unwrap();
        let (_, other) = self_signed("b").unwrap();
        slot.set(chain.as_bytes(), key.as_bytes()).unwrap();
        let before = slot.0.load_full().unwrap();
        assert!(slot.set(chain.as_bytes(), other.as_bytes()).is_err());
        assert!(slot.set(b"", key.as_bytes()).is_err());
        assert!(slot.set(chain.as_bytes(), b"nonsense").is_err());
        assert!(Arc::ptr_eq(&before, &slot.0.load_full().unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let slot = Slot::default();
        assert!(follow_folder(folder.path(), slot.clone()).is_err(), "nothing is there");
        let write = |(chain, key): (String, String)| {
            std::fs::write(folder.path().join("tls.crt"), chain).unwrap();
            std::fs::write(folder.path().join("tls.key"), key).unwrap();
        };
        write(self_signed("a").unwrap());
        follow_folder(folder.path(), slot.clone()).unwrap();
        let first = slot.0.load_full().unwrap();
        std::fs::write(folder.path().join("tls.crt"), self_signed("c").unwrap().0).unwrap();
        tokio::time::sleep(2 * LOOK).await;
        assert!(Arc::ptr_eq(&first, &slot.0.load_full().unwrap()), "half of a pair");
        write(self_signed("b").unwrap());
        tokio::time::sleep(2 * LOOK).await;
        assert!(!Arc::ptr_eq(&first, &slot.0.load_full().unwrap()));
    }
}
