//! TLS as a stranger meets it: certificates made for the test, files to replace, and an independent client (tokio-rustls).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rialto::config;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::within;

/// A certificate for `localhost` that nobody else has signed, and its key.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) pem: String,
    pub(crate) key_pem: String,
    /// Its end, in Unix seconds.
    pub(crate) until_s: u64,
}

/// Two files that a broker reads, gone when this is dropped.
pub(crate) struct Files(TempDir);

/// How a client says hello.
pub(crate) struct Hello {
    /// What it offers by ALPN.
    pub(crate) protocols: &'static [&'static str],
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
    /// What it trusts; none trusts everyone, whatever the time.
    pub(crate) trusted: Option<Certificate>,
    /// About how much the system takes for it ahead of its reading; at least what the system allows.
    pub(crate) receive_bytes: Option<u32>,
}

pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Certificate {
    /// Valid since an hour and for a hundred days.
    pub(crate) fn good() -> Self {
        Self::valid(now_s() - 3_600, now_s() + 100 * 86_400)
    }

    pub(crate) fn valid(from_s: u64, until_s: u64) -> Self {
        Self::made(&["localhost"], from_s, until_s)
    }

    /// A good one for these names.
    pub(crate) fn named(names: &[&str]) -> Self {
        Self::made(names, now_s() - 3_600, now_s() + 100 * 86_400)
    }

    fn made(names: &[&str], from_s: u64, until_s: u64) -> Self {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let at = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        (params.not_before, params.not_after) = (at(from_s), at(until_s));
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, key_pem: key.serialize_pem(), until_s }
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()
    }
}

impl Files {
    pub(crate) fn with(certificate: &Certificate) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write(&certificate.pem, &certificate.key_pem);
        files
    }

    /// Replaces both, one after the other.
    pub(crate) fn write(&self, certificate: &str, key: &str) {
        std::fs::write(self.certificate(), certificate).unwrap();
        std::fs::write(self.key(), key).unwrap();
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.path().join("certificate.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    /// A listener on a free port that looks at the files often.
    pub(crate) fn settings(&self) -> config::Tls {
        config::Tls {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            certificate: self.certificate(),
            key: self.key(),
            reload_ms: 150,
            ..config::Tls::default()
        }
    }
}

impl Default for Hello {
    fn default() -> Self {
        Self { protocols: &["http/1.1"], versions: rustls::ALL_VERSIONS, trusted: None, receive_bytes: None }
    }
}

impl Hello {
    pub(crate) fn trusting(certificate: &Certificate) -> Self {
        Self { trusted: Some(certificate.clone()), ..Self::default() }
    }

    /// Connects and makes the handshake.
    pub(crate) async fn connect(&self, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = self.receive_bytes {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let stream = within("a connection", socket.connect(address)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        within("a handshake", TlsConnector::from(Arc::new(self.config())).connect(name, stream)).await
    }

    fn config(&self) -> ClientConfig {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let config = config.with_protocol_versions(self.versions).unwrap();
        let mut config = match &self.trusted {
            Some(certificate) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(certificate.der()).unwrap();
                config.with_root_certificates(roots).with_no_client_auth()
            }
            None => {
                let heedless = Arc::new(Heedless(provider));
                config.dangerous().with_custom_certificate_verifier(heedless).with_no_client_auth()
            }
        };
        config.alpn_protocols = self.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// What the broker showed first.
pub(crate) fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().expect("a server has some")[0].clone().into_owned()
}

/// A local address from which every connection leads through TLS to the broker, so that clients without TLS can be used. It
/// lives as long as the runtime of the test.
pub(crate) async fn tunnel(address: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let entrance = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut inside, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut outside = Hello::default().connect(address).await.unwrap();
                // However it ends, both ends of it are dropped.
                let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
            });
        }
    });
    entrance
}

/// Checks that the other side has the key of its certificate, and nothing about that.
#[derive(Debug)]
struct Heedless(Arc<CryptoProvider>);

impl ServerCertVerifier for Heedless {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
