//! TLS towards a broker: whom to trust is what the system trusts, unless the program says otherwise.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whom a client trusts. Read once, for the first encrypted connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    /// Certificates in PEM; none means those of the system.
    pub(crate) roots: Option<Vec<u8>>,
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl Trust {
    fn store(&self) -> Result<RootCertStore, String> {
        let mut store = RootCertStore::empty();
        match &self.roots {
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let certificate = certificate.map_err(|error| format!("a root certificate: {error}"))?;
                    store.add(certificate).map_err(|error| format!("a root certificate: {error}"))?;
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                store.add_parsable_certificates(found.certs);
            }
        }
        if store.is_empty() { Err("no root certificates were found".to_owned()) } else { Ok(store) }
    }

    /// What could not be read is tried again for the next connection.
    fn config(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| error.to_string())?.with_root_certificates(self.store()?);
        Ok(Arc::clone(self.config.get_or_init(|| Arc::new(config.with_no_client_auth()))))
    }

    /// The handshake.
    pub(crate) async fn encrypt(&self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(self.config()?);
        connector.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))
    }
}
