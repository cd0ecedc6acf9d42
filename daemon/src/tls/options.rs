// SPDX-License-Identifier: Apache-2.0
//! `--tls-min-version`, `--tls-cipher-suites` and `--tls-curve-preferences` with Go's names and numbers
//! (contract 3.1).

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::{
    NamedGroup, ProtocolVersion, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
};

/// Go's names of the cipher suites that rustls has, for TLS 1.2. The two without `_SHA256` at their end are
/// older spellings of Go's.
const SUITES: [(&str, &str); 8] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
];

/// What Go knows and rustls does not have: CBC, 3DES, RC4, key exchange by RSA. And the suites of TLS 1.3, which are
/// never chosen by a flag.
const OTHER_SUITES: [&str; 21] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_FALLBACK_SCSV",
    "TLS_EMPTY_RENEGOTIATION_INFO_SCSV",
];

/// The numbers of key exchange groups that Go knows.
const GROUPS: [u16; 5] = [23, 24, 25, 29, 4588];

/// Why the flags cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The version has no such name.
    #[error("parsing tls-min-version: unknown tls version {0:?}")]
    Version(String),
    /// A version that is too old to be spoken.
    #[error("parsing tls-min-version: {0} is not supported, VersionTLS12 is the oldest")]
    OldVersion(String),
    /// No cipher suite has this name.
    #[error("parsing tls-cipher-suites: Cipher suite {0} not supported or doesn't exist")]
    Suite(String),
    /// TLS 1.3 has its own suites.
    #[error("cipher suites cannot be configured with TLS 1.3")]
    SuitesOfTls13,
    /// Not a number.
    #[error(
        "parsing tls-curve-preferences: invalid curve preference {0:?}: must be a numeric CurveID (0-65535)"
    )]
    Group(String),
    /// Zero is no group.
    #[error(
        "parsing tls-curve-preferences: curve preference {0} is out of range (must be 1-65535)"
    )]
    GroupRange(u16),
    /// A group stands twice.
    #[error("parsing tls-curve-preferences: duplicate curve preference {0}")]
    GroupTwice(u16),
    /// No group has this number.
    #[error("parsing tls-curve-preferences: curve preference {0} is not supported")]
    UnknownGroup(u16),
    /// Of what is asked for nothing can be had.
    #[error("none of the {what} asked for can be had here; there are {have}")]
    NothingLeft {
        /// Cipher suites or groups.
        what: &'static str,
        /// Those that there are.
        have: String,
    },
}

/// How TLS is spoken.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl TlsOptions {
    /// Reads the three flags, each of which may be empty. What Go knows and this TLS does not is left out, and
    /// said once in the log.
    ///
    /// # Errors
    /// When a name or number is unknown, or nothing is left to speak.
    pub fn parse(min_version: &str, suites: &str, groups: &str) -> Result<Self, OptionsError> {
        let mut provider = ring::default_provider();
        let named = named_suites(suites)?;
        let chosen = chosen_groups(groups)?;
        let only_13 = match min_version {
            "" | "VersionTLS13" => true,
            "VersionTLS12" => false,
            "VersionTLS10" | "VersionTLS11" => {
                return Err(OptionsError::OldVersion(min_version.to_owned()));
            }
            other => return Err(OptionsError::Version(other.to_owned())),
        };
        if only_13 && named.is_some() {
            return Err(OptionsError::SuitesOfTls13);
        }
        if let Some(named) = named {
            let tls13 =
                |suite: &SupportedCipherSuite| suite.version().version == ProtocolVersion::TLSv1_3;
            provider
                .cipher_suites
                .retain(|suite| tls13(suite) || named.contains(&*format!("{:?}", suite.suite())));
            if provider.cipher_suites.iter().all(tls13) {
                let have = SUITES.map(|(name, _)| name).join(", ");
                return Err(OptionsError::NothingLeft { what: "cipher suites", have });
            }
        }
        if let Some(chosen) = chosen {
            let have = provider.kx_groups.clone();
            provider.kx_groups = chosen.iter().filter_map(|number| group(&have, *number)).collect();
            if provider.kx_groups.is_empty() {
                return Err(OptionsError::NothingLeft {
                    what: "curves",
                    have: "23, 24 and 29".to_owned(),
                });
            }
        }
        let versions = if only_13 {
            vec![&rustls::version::TLS13]
        } else {
            vec![&rustls::version::TLS13, &rustls::version::TLS12]
        };
        Ok(Self { provider: Arc::new(provider), versions })
    }

    /// The configuration of a server. Sessions are not remembered: a handshake costs less than the memory.
    ///
    /// # Errors
    /// When no cipher suite is left for a version.
    pub fn server(
        &self,
        certificate: Arc<dyn ResolvesServerCert>,
        protocols: &[&str],
    ) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&self.versions)?
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

/// rustls' names of the suites; none when the flag is empty.
fn named_suites(text: &str) -> Result<Option<BTreeSet<&'static str>>, OptionsError> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut named = BTreeSet::new();
    for name in text.split(',').map(str::trim) {
        match SUITES.iter().find(|(known, _)| *known == name) {
            Some((_, suite)) => drop(named.insert(*suite)),
            None if OTHER_SUITES.contains(&name) => tracing::warn!(
                event = "cipherSuiteLeftOut",
                suite = name,
                "this cipher suite cannot be had here and is left out"
            ),
            None => return Err(OptionsError::Suite(name.to_owned())),
        }
    }
    Ok(Some(named))
}

/// The numbers of the groups; none when the flag is empty.
fn chosen_groups(text: &str) -> Result<Option<Vec<u16>>, OptionsError> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut chosen = Vec::new();
    for part in text.split(',').map(str::trim) {
        let number: u16 = part.parse().map_err(|_| OptionsError::Group(part.to_owned()))?;
        if number == 0 {
            return Err(OptionsError::GroupRange(number));
        }
        if chosen.contains(&number) {
            return Err(OptionsError::GroupTwice(number));
        }
        if !GROUPS.contains(&number) {
            return Err(OptionsError::UnknownGroup(number));
        }
        chosen.push(number);
    }
    Ok(Some(chosen))
}

fn group(
    have: &[&'static dyn SupportedKxGroup],
    number: u16,
) -> Option<&'static dyn SupportedKxGroup> {
    let found = have.iter().find(|group| group.name() == NamedGroup::from(number)).copied();
    if found.is_none() {
        tracing::warn!(
            event = "curveLeftOut",
            curve = number,
            "this curve cannot be had here and is left out"
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(version: &str, suites: &str, groups: &str) -> String {
        TlsOptions::parse(version, suites, groups).unwrap_err().to_string()
    }

    #[test]
    fn nothing_said_is_tls_13() {
        let options = TlsOptions::parse("", "", "").unwrap();
        assert_eq!(options.versions, [&rustls::version::TLS13]);
        let options = TlsOptions::parse("VersionTLS12", "", "").unwrap();
        assert_eq!(options.versions.len(), 2);
    }

    #[test]
    fn suites_are_those_of_tls_12_by_gos_names() {
        let name = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
        let options = TlsOptions::parse(
            "VersionTLS12",
            &format!("{name}, TLS_RSA_WITH_AES_128_CBC_SHA,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"),
            "",
        )
        .unwrap();
        let tls12: Vec<String> = options
            .provider
            .cipher_suites
            .iter()
            .filter(|suite| suite.version().version == ProtocolVersion::TLSv1_2)
            .map(|suite| format!("{:?}", suite.suite()))
            .collect();
        assert_eq!(tls12, ["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", name]);
        assert_eq!(error("", name, ""), "cipher suites cannot be configured with TLS 1.3");
        assert_eq!(
            error("VersionTLS12", "nonsense", ""),
            "parsing tls-cipher-suites: Cipher suite nonsense not supported or doesn't exist"
        );
        assert!(error("VersionTLS12", "TLS_RSA_WITH_RC4_128_SHA", "").contains("can be had"));
    }

    #[test]
    fn every_known_suite_is_had() {
        for (name, _) in SUITES {
            TlsOptions::parse("VersionTLS12", name, "").unwrap();
        }
    }

    #[test]
    fn groups_are_numbers_that_stand_once() {
        let options = TlsOptions::parse("", "", "24,4588, 29").unwrap();
        let names: Vec<NamedGroup> =
            options.provider.kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(names, [NamedGroup::secp384r1, NamedGroup::X25519]);
        assert!(error("", "", "x").contains("invalid curve preference \"x\""));
        assert!(error("", "", "0").contains("out of range"));
        assert!(error("", "", "23,23").contains("duplicate curve preference 23"));
        assert!(error("", "", "26").contains("26 is not supported"));
        assert!(error("", "", "25").contains("none of the curves"));
    }

    #[test]
    fn versions_have_gos_names() {
        assert!(error("1.3", "", "").contains("unknown tls version \"1.3\""));
        assert!(error("VersionTLS11", "", "").contains("VersionTLS12 is the oldest"));
    }
}
