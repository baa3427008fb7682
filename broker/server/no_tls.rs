//! The place of `tls` in a build without that feature: no door speaks it, and whoever asks for it is told.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::http::stream::Stream;
use super::{BindError, Server};
use crate::config;

/// Why TLS is not served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// An address could not be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Whoever built this program left TLS out.
    #[error("this build of Rialto has no TLS (Cargo feature `tls`)")]
    LeftOut,
}

/// There is none.
#[derive(Debug)]
pub(super) enum Tls {}

impl Tls {
    pub(super) async fn greet(&self, _: TcpStream, _: SocketAddr) -> Option<Stream> {
        match *self {}
    }
}

impl Server {
    /// Fails: this build has no TLS.
    ///
    /// # Errors
    /// [`TlsError::LeftOut`].
    pub fn with_tls(self, _: &config::Tls) -> Result<Self, TlsError> {
        Err(TlsError::LeftOut)
    }
}
