//! A certificate and its key, checked and made into what rustls needs. It reads no file and knows no time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ServerConfig;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys};

use super::files::Files;
use super::validity::Validity;
use crate::config;

/// What is spoken inside (RFC 7301): the upgrade to a WebSocket is one of HTTP/1.1.
const PROTOCOL: &[u8] = b"http/1.1";

/// Why a certificate and its key cannot be used. Nothing of what is in the files is repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// A file cannot be read.
    #[error("cannot read {}: {reason}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the operating system says.
        reason: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} cannot be used: {reason}", .file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Each may be fine, but they are not of one pair.
    #[error("the key in {} is not that of the certificate in {}", .key.display(), .certificate.display())]
    Mismatch {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// The pair is fine but for its time, and the one in use is better.
    #[error("the certificate in {} {worth}; the one in use is valid", .file.display())]
    NotValid {
        /// The file.
        file: PathBuf,
        /// What there is to say about its time.
        worth: String,
    },
}

/// A certificate that fits its key.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) config: Arc<ServerConfig>,
    pub(super) validity: Validity,
}

impl Pair {
    /// Understands what was read.
    ///
    /// # Errors
    /// [`PairError`] for the first thing that is wrong.
    pub(super) fn parse(settings: &config::Tls, files: &Files) -> Result<Self, PairError> {
        let provider = Arc::new(ring::default_provider());
        let (chain, validity) = chain(&files.certificate).map_err(|reason| unusable(&settings.certificate, reason))?;
        let key = key(&files.key).map_err(|reason| unusable(&settings.key, reason))?;
        let key = provider.key_provider.load_private_key(key);
        let key = key.map_err(|error| unusable(&settings.key, format!("this key is of no known kind: {error}")))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => {
                let (certificate, key) = (settings.certificate.clone(), settings.key.clone());
                return Err(PairError::Mismatch { certificate, key });
            }
            Err(error) => return Err(unusable(&settings.certificate, error.to_string())),
        }
        let config = server_config(provider, certified);
        let config = config.map_err(|error| unusable(&settings.certificate, error.to_string()))?;
        Ok(Self { config: Arc::new(config), validity })
    }
}

/// A new one for each pair, so that no session goes on that was begun with another certificate.
fn server_config(provider: Arc<CryptoProvider>, certified: CertifiedKey) -> Result<ServerConfig, Error> {
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_no_client_auth().with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // Clients that come again, all at once as a rule, spare us the costly half of a handshake.
    config.ticketer = ring::Ticketer::new()?;
    Ok(config)
}

/// The certificates of a file, the broker's own first, and from when until when that is valid.
fn chain(pem: &[u8]) -> Result<(Vec<CertificateDer<'static>>, Validity), String> {
    let read: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = read.map_err(|_| "it is no complete PEM file".to_owned())?;
    let mut validities = Vec::new();
    for (index, certificate) in chain.iter().enumerate() {
        let validity = Validity::of(certificate);
        validities.push(validity.ok_or_else(|| format!("certificate {} of it is none", index + 1))?);
    }
    match validities.first() {
        Some(first) => Ok((chain, *first)),
        None if PrivateKeyDer::from_pem_slice(pem).is_ok() => {
            Err("it holds a key and no certificate: are the two files exchanged?".to_owned())
        }
        None => Err(without("certificate", "openssl x509 -inform der", pem)),
    }
}

fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    if contains(pem, b"ENCRYPTED") {
        return Err("the key is encrypted: `openssl pkey -in KEY -out PLAIN` decrypts it".to_owned());
    }
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(key),
        Err(PemError::NoItemsFound) if CertificateDer::from_pem_slice(pem).is_ok() => {
            Err("it holds a certificate and no key: are the two files exchanged?".to_owned())
        }
        Err(PemError::NoItemsFound) => Err(without("key", "openssl pkey -inform der", pem)),
        Err(_) => Err("it is no complete PEM file".to_owned()),
    }
}

fn without(what: &str, convert: &str, pem: &[u8]) -> String {
    match pem {
        [] => "it is empty".to_owned(),
        // How everything in DER begins.
        [0x30, ..] => format!("it is in DER form: `{convert}` makes PEM of it"),
        _ => format!("there is no {what} in PEM form in it"),
    }
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

fn unusable(file: &Path, reason: String) -> PairError {
    PairError::Unusable { file: file.to_owned(), reason }
}
