//! The TLS handshake of one connection, with a deadline, and the response to clients that do not speak TLS. It knows no
//! files.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Tls;
use crate::server::http::stream::Stream;

/// How every TLS connection begins: a record of type handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// For people who typed `http` instead of `https`.
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\
    content-type: text/plain; charset=utf-8\r\nx-content-type-options: nosniff\r\ncontent-length: 50\r\n\r\n\
    this address speaks TLS only: use https:// or wss\n";

/// How much of an unencrypted request is read, so that the response is not lost to a reset.
const PLAIN_BYTES_MAX: u64 = 64 * 1024;

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    /// The peer closed the connection without sending anything, as port scans do.
    #[error("the peer closed the connection")]
    Left,
    #[error("the peer does not speak TLS")]
    NotTls,
    #[error("the handshake was not finished in time")]
    Late,
    #[error("{0}")]
    Failed(#[from] io::Error),
}

impl Tls {
    /// Performs the handshake, for which there is so much time; none if it fails.
    pub(in crate::server) async fn accept(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        deadline: Duration,
    ) -> Option<Stream> {
        let error = match tokio::time::timeout(deadline, self.handshake(stream)).await {
            Ok(Ok(stream)) => return Some(Stream::Tls(Box::new(stream))),
            Ok(Err(HandshakeError::Left)) => return None,
            Ok(Err(error)) => error,
            Err(_) => HandshakeError::Late,
        };
        self.metrics.tls_handshake_errors.add(1);
        tracing::debug!(%peer, %error, "TLS handshake failed");
        None
    }

    async fn handshake(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, HandshakeError> {
        let mut first = [0];
        match (stream.peek(&mut first).await?, first) {
            (0, _) => Err(HandshakeError::Left),
            (_, [HANDSHAKE]) => Ok(TlsAcceptor::from(Arc::clone(&self.current.get().config)).accept(stream).await?),
            (_, [first]) => {
                if first.is_ascii_uppercase() {
                    answer(stream).await?;
                }
                Err(HandshakeError::NotTls)
            }
        }
    }
}

/// Responds to an unencrypted HTTP request.
async fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(PLAIN_ANSWER).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(PLAIN_BYTES_MAX), &mut tokio::io::sink()).await?;
    Ok(())
}
