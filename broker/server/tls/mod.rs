//! TLS in front of HTTP: the addresses that serve it, and the certificate of new connections. It knows nothing of the
//! decrypted bytes.

mod files;
mod handshake;
mod pair;
mod validity;
mod watch;

use std::io;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError, RwLock};

use self::pair::Served;
use self::watch::Watch;
use super::{BindError, Server};
use crate::config;
use crate::metrics::Metrics;

pub use self::pair::PairError;

/// Why TLS cannot be served; the server does not start then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// An address could not be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The certificate and its key cannot be used.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// The thread that watches the files could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// What a listener needs for TLS. The files are watched until this is dropped.
#[derive(Debug)]
pub(super) struct Tls {
    current: Current,
    metrics: Arc<Metrics>,
    _watched: SyncSender<()>,
}

/// The TLS configuration of new connections, certificate included.
#[derive(Clone, Debug)]
struct Current(Arc<RwLock<Arc<Served>>>);

impl Server {
    /// Also listens on the TLS addresses. The certificate and the key are read now and whenever they change. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// [`TlsError`] if the files cannot be used, and for the first address that cannot be bound.
    pub fn with_tls(mut self, settings: &config::Tls) -> Result<Self, TlsError> {
        let core = &self.front.broker.core;
        let (watch, pair) = Watch::begin(settings.clone(), Arc::clone(&core.metrics), core.clock.clone())?;
        let current = Current(Arc::new(RwLock::new(pair)));
        let metrics = Arc::clone(&core.metrics);
        let watched = watch.spawn(current.clone()).map_err(TlsError::Thread)?;
        let tls = Arc::new(Tls { current, metrics, _watched: watched });
        let front = Arc::get_mut(&mut self.front).expect("nothing is served yet, so this is the only reference");
        front.hosts.add_certificate(Arc::clone(&tls));
        let addresses = self.listen(&settings.listen, Some(&tls))?;
        self.tls_addresses.extend(addresses);
        Ok(self)
    }
}

impl Tls {
    /// The DNS names of the certificate in use, in lower case.
    pub(super) fn names(&self) -> Arc<[String]> {
        Arc::clone(&self.current.get().names)
    }
}

impl Current {
    fn get(&self) -> Arc<Served> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, served: Arc<Served>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = served;
    }
}
