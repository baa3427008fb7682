//! Replaces `tls` in a build without that feature: no address serves TLS, and a configuration with `[tls]` fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

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
    /// The program was built without TLS.
    #[error("this build of Rialto has no TLS (Cargo feature `tls`)")]
    LeftOut,
}

/// Never exists in this build.
#[derive(Debug)]
pub(super) enum Tls {}

impl Tls {
    pub(super) fn names(&self) -> Arc<[String]> {
        match *self {}
    }

    pub(super) async fn accept(&self, _: TcpStream, _: SocketAddr, _: Duration) -> Option<Stream> {
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
