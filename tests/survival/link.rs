//! A connection that may end at any moment, which is no reason to panic; only a broker that breaks the protocol is.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rialto::Codec;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::{decode, encode};

/// The connection is over, however it ended.
#[derive(Debug)]
pub(crate) struct Over;

/// Why there is no session.
#[derive(Debug)]
pub(crate) enum NoSession {
    /// Nobody was there, or the connection was cut.
    Over,
    /// The broker said not now: the status, and the seconds of its hint.
    TurnedAway(u16, u64),
}

impl NoSession {
    fn of(error: Error) -> Self {
        let Error::Http(answer) = error else { return Self::Over };
        let hint = answer.headers().get("retry-after").and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        Self::TurnedAway(answer.status().as_u16(), hint.unwrap_or(0))
    }
}

/// A session.
pub(crate) struct Link {
    codec: Codec,
    socket: WebSocketStream<TcpStream>,
    /// How long it waits for anything at all.
    patience: Duration,
    /// When anything last came.
    heard: Instant,
}

impl Link {
    /// Connects; gives the welcome too.
    pub(crate) async fn open(
        address: SocketAddr,
        codec: Codec,
        instance: &str,
        patience: Duration,
    ) -> Result<(Self, Value), NoSession> {
        let opened = timeout(patience, async {
            let stream = TcpStream::connect(address).await.map_err(|_| NoSession::Over)?;
            stream.set_nodelay(true).map_err(|_| NoSession::Over)?;
            let mut request = format!("ws://{address}/ws").into_client_request().expect("a request");
            let subprotocol = codec.subprotocol().parse().expect("ascii");
            request.headers_mut().insert("sec-websocket-protocol", subprotocol);
            client_async(request, stream).await.map_err(NoSession::of)
        });
        let (socket, _) = opened.await.map_err(|_| NoSession::Over)??;
        let mut link = Self { codec, socket, patience, heard: Instant::now() };
        let welcome = link.next().await.map_err(|Over| NoSession::Over)?;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        // The keys of this client stay its own.
        let _ = link.send(&json!({"type": "connect", "instance": instance})).await;
        Ok((link, welcome))
    }

    pub(crate) async fn send(&mut self, frame: &Value) -> Result<(), Over> {
        let bytes = encode(self.codec, frame);
        let message = match self.codec {
            Codec::Json => Message::text(String::from_utf8(bytes).expect("JSON is UTF-8")),
            Codec::MessagePack => Message::binary(bytes),
        };
        timeout(self.patience, self.socket.send(message)).await.map_err(|_| Over)?.map_err(|_| Over)
    }

    /// The next frame. Safe to give up and to ask again.
    pub(crate) async fn next(&mut self) -> Result<Value, Over> {
        loop {
            let came = timeout_at(self.heard + self.patience, self.socket.next()).await.map_err(|_| Over)?;
            self.heard = Instant::now();
            match came {
                Some(Ok(Message::Text(text))) => return Ok(decode(self.codec, text.as_bytes())),
                Some(Ok(Message::Binary(bytes))) => return Ok(decode(self.codec, &bytes)),
                // What follows a cut is told as a fault of the protocol too; the frames before it were whole.
                None
                | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_) | Error::Protocol(_))) => {
                    return Err(Over);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => panic!("the broker broke the protocol: {error}"),
            }
        }
    }

    /// Says goodbye and waits for the other side to have heard it.
    pub(crate) async fn close(mut self) {
        let patience = self.patience;
        let goodbye = async {
            let _ = self.socket.close(None).await;
            while self.socket.next().await.is_some_and(|frame| frame.is_ok()) {}
        };
        // Whoever cannot say goodbye just leaves.
        let _ = timeout(patience, goodbye).await;
    }
}
