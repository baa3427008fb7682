//! Parses and checks a certificate and its key for rustls. It reads no file and knows no time.

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

/// The ALPN protocol (RFC 7301): the upgrade to WebSocket needs HTTP/1.1.
const PROTOCOL: &[u8] = b"http/1.1";

/// Why a certificate and its key cannot be used. The content of the files is not repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// A file cannot be read.
    #[error("cannot read {}: {reason}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The operating system's error.
        reason: io::Error,
    },
    /// The content of a file is not usable.
    #[error("{} cannot be used: {reason}", .file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key does not belong to the certificate.
    #[error("the key in {} does not match the certificate in {}", .key.display(), .certificate.display())]
    Mismatch {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// The pair is not valid at this time, and the one in use is.
    #[error("the certificate in {} {status}; the one in use is valid", .file.display())]
    NotValid {
        /// The file.
        file: PathBuf,
        /// How it is not valid, as `expired 2 days ago`.
        status: String,
    },
}

/// What new connections get: the configuration of rustls, and the DNS names of its certificate in lower case.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) config: Arc<ServerConfig>,
    pub(super) names: Arc<[String]>,
}

/// A certificate with its key.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) served: Arc<Served>,
    pub(super) validity: Validity,
}

impl Pair {
    /// Parses the files.
    ///
    /// # Errors
    /// [`PairError`] for the first problem.
    pub(super) fn parse(settings: &config::Tls, files: &Files) -> Result<Self, PairError> {
        let provider = Arc::new(ring::default_provider());
        let (chain, validity) = chain(&files.certificate).map_err(|reason| unusable(&settings.certificate, reason))?;
        let key = key(&files.key).map_err(|reason| unusable(&settings.key, reason))?;
        let key = provider.key_provider.load_private_key(key);
        let key = key.map_err(|error| unusable(&settings.key, format!("unsupported key type: {error}")))?;
        let names = names(&chain);
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
        Ok(Self { served: Arc::new(Served { config: Arc::new(config), names }), validity })
    }
}

/// The DNS names of the first certificate. One that webpki does not understand has none.
fn names(chain: &[CertificateDer<'_>]) -> Arc<[String]> {
    let certificate = chain.first().and_then(|first| webpki::EndEntityCert::try_from(first).ok());
    let names = certificate.iter().flat_map(|certificate| certificate.valid_dns_names());
    names.map(str::to_ascii_lowercase).collect()
}

/// A new one for each pair, so that no TLS session is resumed that began with another certificate.
fn server_config(provider: Arc<CryptoProvider>, certified: CertifiedKey) -> Result<ServerConfig, Error> {
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_no_client_auth().with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // Session tickets spare clients that reconnect, usually all at once, the expensive half of a handshake.
    config.ticketer = ring::Ticketer::new()?;
    Ok(config)
}

/// The certificates of a file, the broker's own first, and the validity of that one.
fn chain(pem: &[u8]) -> Result<(Vec<CertificateDer<'static>>, Validity), String> {
    let read: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = read.map_err(|_| "it is not a complete PEM file".to_owned())?;
    let mut validities = Vec::new();
    for (index, certificate) in chain.iter().enumerate() {
        let validity = Validity::of(certificate);
        validities.push(validity.ok_or_else(|| format!("entry {} is not a certificate", index + 1))?);
    }
    match validities.first() {
        Some(first) => Ok((chain, *first)),
        None if PrivateKeyDer::from_pem_slice(pem).is_ok() => {
            Err("it holds a key and no certificate: are the two files swapped?".to_owned())
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
            Err("it holds a certificate and no key: are the two files swapped?".to_owned())
        }
        Err(PemError::NoItemsFound) => Err(without("key", "openssl pkey -inform der", pem)),
        Err(_) => Err("it is not a complete PEM file".to_owned()),
    }
}

fn without(what: &str, convert: &str, pem: &[u8]) -> String {
    match pem {
        [] => "it is empty".to_owned(),
        // The first byte of DER.
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

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, date_time_ymd};

    use super::*;

    const RSA: &str = include_str!("../../../tests/tls/rsa.pem");

    /// A self-signed certificate, valid between two times in Unix seconds.
    pub(in crate::server::tls) fn issue(key: &KeyPair, from_s: u64, until_s: u64) -> String {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let at = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        (params.not_before, params.not_after) = (at(from_s), at(until_s));
        params.self_signed(key).expect("signed").pem()
    }

    fn settings() -> config::Tls {
        config::Tls { certificate: "c.pem".into(), key: "k.pem".into(), ..config::Tls::default() }
    }

    fn parse(certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Pair, String> {
        let files = Files { certificate: certificate.as_ref().to_vec(), key: key.as_ref().to_vec() };
        Pair::parse(&settings(), &files).map_err(|error| error.to_string())
    }

    fn pem(kind: &str, der: &[u8]) -> String {
        format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", BASE64.encode(der))
    }

    /// A private key of an elliptic curve as it lies in PKCS#8 (RFC 5915).
    fn sec1(key: &KeyPair) -> Vec<u8> {
        let der = key.serialize_der();
        let version = der.windows(5).position(|bytes| bytes == [2, 1, 1, 4, 32]).expect("an ECPrivateKey");
        der[version - 2..].to_vec()
    }

    #[test]
    fn keys_of_every_type_and_encoding_are_accepted() {
        let (curve, edwards) =
            (KeyPair::generate().expect("a key"), KeyPair::generate_for(&PKCS_ED25519).expect("a key"));
        let rsa = KeyPair::from_pem(RSA).expect("a key");
        let curve_sec1 = pem("EC PRIVATE KEY", &sec1(&curve));
        // RFC 8017 appendix A.1.2, as it lies behind the 26 bytes with which PKCS#8 begins for this size.
        let rsa_pkcs1 = pem("RSA PRIVATE KEY", &rsa.serialize_der()[26..]);
        for (key, written) in [
            (&curve, curve.serialize_pem()),
            (
                &curve,
                format!("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{curve_sec1}"),
            ),
            (&edwards, edwards.serialize_pem()),
            (&rsa, rsa.serialize_pem()),
            (&rsa, rsa_pkcs1),
        ] {
            let certificate = issue(key, 100, 200);
            let pair = parse(&certificate, &written).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(pair.validity, Validity { from_s: 100, until_s: 200 });
            // Both in one file, in any order, with other text around them.
            for both in [format!("{written}{certificate}"), format!("Bag\r\n{certificate}\r\n{written}#\n")] {
                assert!(parse(&both, &both).is_ok());
            }
        }
    }

    #[test]
    fn the_first_of_several_certificates_counts() {
        let (key, other) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
        let (own, above) = (issue(&key, 100, 200), issue(&other, 1, 1_000));
        let pair = parse(format!("{own}{above}"), key.serialize_pem()).expect("a pair");
        assert_eq!(pair.validity.until_s, 200);
        let exchanged = parse(format!("{above}{own}"), key.serialize_pem()).expect_err("the first is not of the key");
        assert_eq!(exchanged, "the key in k.pem does not match the certificate in c.pem");
    }

    #[test]
    fn each_fault_is_reported_with_its_file() {
        let (key, other) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
        let (good, good_key, other_key) = (issue(&key, 100, 200), key.serialize_pem(), other.serialize_pem());
        let der = key.serialize_der();
        let (half, half_key) = (&good[..good.len() / 2], &good_key[..good_key.len() / 2]);
        let garbled = good.replace('M', "?");
        let (none, second_none) = (pem("CERTIFICATE", &der), format!("{good}{}", pem("CERTIFICATE", b"0")));
        let secret = "c2VjcmV0IGtleQ==";
        let encrypted = pem("ENCRYPTED PRIVATE KEY", b"0");
        let section = |kind: &str, text: &str| format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n");
        let encrypted_rsa = section("RSA PRIVATE KEY", &format!("Proc-Type: 4,ENCRYPTED\n\n{secret}"));
        let unknown = section("PRIVATE KEY", secret);
        for (certificate, key, said) in [
            (&b""[..], good_key.as_bytes(), "c.pem cannot be used: it is empty"),
            (b"hello\n", good_key.as_bytes(), "c.pem cannot be used: there is no certificate"),
            (half.as_bytes(), good_key.as_bytes(), "c.pem cannot be used: it is not a complete PEM file"),
            (garbled.as_bytes(), good_key.as_bytes(), "c.pem cannot be used: it is not a complete PEM file"),
            (good_key.as_bytes(), good.as_bytes(), "c.pem cannot be used: it holds a key"),
            (&der, good_key.as_bytes(), "c.pem cannot be used: it is in DER form: `openssl x509 -inform der`"),
            (none.as_bytes(), good_key.as_bytes(), "c.pem cannot be used: entry 1 is not a certificate"),
            (second_none.as_bytes(), good_key.as_bytes(), "c.pem cannot be used: entry 2 is not a certificate"),
            (good.as_bytes(), b"", "k.pem cannot be used: it is empty"),
            (good.as_bytes(), half_key.as_bytes(), "k.pem cannot be used: it is not a complete PEM file"),
            (good.as_bytes(), good.as_bytes(), "k.pem cannot be used: it holds a certificate"),
            (good.as_bytes(), &der, "k.pem cannot be used: it is in DER form: `openssl pkey -inform der`"),
            (good.as_bytes(), encrypted.as_bytes(), "k.pem cannot be used: the key is encrypted"),
            (good.as_bytes(), encrypted_rsa.as_bytes(), "k.pem cannot be used: the key is encrypted"),
            (good.as_bytes(), unknown.as_bytes(), "k.pem cannot be used: unsupported key type"),
            (good.as_bytes(), other_key.as_bytes(), "the key in k.pem does not match the certificate in c.pem"),
        ] {
            let error = parse(certificate, key).expect_err(said);
            assert!(error.contains(said), "{error:?} does not say {said:?}");
            assert!(!error.contains(secret) && !error.contains("secret"), "{error}");
        }
    }
}
