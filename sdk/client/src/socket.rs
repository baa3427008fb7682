//! A WebSocket to a broker: opened, read when asked to, written as far as it takes. It knows nothing of frames' content.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink as _, Stream as _};
use rialto_protocol::Codec;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::address::Address;
use crate::credential::Headers;
use crate::machine::Refusal;
use crate::tls::Trust;

/// The largest frame that is taken. The largest a broker sends is a page of history: 1 MiB of payload, as base64.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What is read at once.
const READ_BYTES: usize = 16 * 1024;

/// How long a broker has to answer a Close.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// Any byte stream under a socket.
trait Bottom: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Bottom for T {}

/// What came in.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The content of one message.
    Frame(Bytes),
    /// A ping or a pong.
    Sign,
    /// The end, with the broker's close code if it sent one.
    Closed(Option<(u16, String)>),
}

/// An open WebSocket.
pub(crate) struct Socket {
    codec: Codec,
    stream: WebSocketStream<Box<dyn Bottom>>,
    outgoing: VecDeque<Message>,
    is_flushed: bool,
    /// Nothing can be written any more; what has come may still be read.
    is_broken: bool,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("outgoing", &self.outgoing.len()).finish_non_exhaustive()
    }
}

impl Socket {
    /// Connects and asks for the upgrade, with these headers besides its own.
    pub(crate) async fn open(address: Address, codec: Codec, trust: Trust, headers: Headers) -> Result<Self, Refusal> {
        let failed = |reason: String| Refusal { reason, ..Refusal::default() };
        let Address { uri, host, port, is_encrypted } = address;
        let connected = TcpStream::connect((host.as_str(), port)).await;
        let stream = connected.map_err(|error| failed(format!("{host}:{port}: {error}")))?;
        stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        let bottom: Box<dyn Bottom> =
            if is_encrypted { Box::new(trust.encrypt(&host, stream).await.map_err(failed)?) } else { Box::new(stream) };
        let mut request = uri.into_client_request().map_err(|error| failed(error.to_string()))?;
        let subprotocol = HeaderValue::from_static(codec.subprotocol());
        request.headers_mut().insert("sec-websocket-protocol", subprotocol);
        add(request.headers_mut(), &headers).map_err(failed)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .max_message_size(Some(FRAME_BYTES_MAX))
            .max_frame_size(Some(FRAME_BYTES_MAX));
        match client_async_with_config(request, bottom, Some(config)).await {
            Ok((stream, _)) => {
                Ok(Self { codec, stream, outgoing: VecDeque::new(), is_flushed: true, is_broken: false })
            }
            Err(Error::Http(response)) => Err(refusal(&response)),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Sends one message of the codec's kind, as soon as the socket takes it.
    pub(crate) fn send(&mut self, frame: Vec<u8>) {
        let message = match self.codec {
            Codec::Json => {
                let text = Utf8Bytes::try_from(Bytes::from(frame)).expect("JSON is written as UTF-8");
                Message::Text(text)
            }
            Codec::MessagePack => Message::Binary(frame.into()),
        };
        self.outgoing.push_back(message);
    }

    pub(crate) fn ping(&mut self) {
        self.outgoing.push_back(Message::Ping(Bytes::new()));
    }

    pub(crate) fn pong(&mut self) {
        self.outgoing.push_back(Message::Pong(Bytes::new()));
    }

    /// Writes what waits, and returns the next thing that came in if `reads`. Safe to cancel.
    pub(crate) async fn turn(&mut self, reads: bool) -> Incoming {
        poll_fn(|context| {
            self.write(context);
            if reads { self.read(context) } else { Poll::Pending }
        })
        .await
    }

    /// Sends a Close, waits a moment for the answer, and drops the connection.
    pub(crate) async fn close(mut self, code: u16) {
        self.outgoing.push_back(Message::Close(Some(CloseFrame { code: code.into(), reason: Utf8Bytes::default() })));
        let answered = async { while !matches!(self.turn(true).await, Incoming::Closed(_)) {} };
        // A broker that does not answer is not waited for.
        let _ = tokio::time::timeout(CLOSE_WAIT, answered).await;
    }

    /// Sends a Close if that can be done at once, and drops the connection.
    pub(crate) async fn drop_now(mut self, code: u16) {
        self.outgoing.push_back(Message::Close(Some(CloseFrame { code: code.into(), reason: Utf8Bytes::default() })));
        poll_fn(|context| {
            self.write(context);
            Poll::Ready(())
        })
        .await;
    }

    fn write(&mut self, context: &mut Context<'_>) {
        if !self.is_broken && self.try_write(context).is_err() {
            self.is_broken = true;
            self.outgoing.clear();
        }
    }

    fn try_write(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        while !self.outgoing.is_empty() {
            let Poll::Ready(ready) = Pin::new(&mut self.stream).poll_ready(context) else { return Ok(()) };
            ready?;
            if let Some(message) = self.outgoing.pop_front() {
                Pin::new(&mut self.stream).start_send(message)?;
                self.is_flushed = false;
            }
        }
        if !self.is_flushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(context)
        {
            flushed?;
            self.is_flushed = true;
        }
        Ok(())
    }

    fn read(&mut self, context: &mut Context<'_>) -> Poll<Incoming> {
        let Poll::Ready(next) = Pin::new(&mut self.stream).poll_next(context) else { return Poll::Pending };
        Poll::Ready(match next {
            Some(Ok(Message::Text(text))) => Incoming::Frame(text.into()),
            Some(Ok(Message::Binary(bytes))) => Incoming::Frame(bytes),
            Some(Ok(Message::Close(frame))) => {
                // The answer to it is written with this; the broker hangs up.
                let _ = Pin::new(&mut self.stream).poll_flush(context);
                let frame = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                Incoming::Closed(Some(frame.unwrap_or((NO_CODE, String::new()))))
            }
            Some(Ok(_)) => Incoming::Sign,
            Some(Err(_)) | None => Incoming::Closed(None),
        })
    }
}

/// Adds headers to those of a handshake. What is wrong with one is said without its value.
fn add(all: &mut HeaderMap, added: &Headers) -> Result<(), String> {
    for (name, value) in &added.0 {
        let is_wrong = |why: &str| format!("the header \"{}\" {why}", name.escape_debug());
        let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| is_wrong("has no name of a header"))?;
        let mut value = HeaderValue::from_str(value).map_err(|_| is_wrong("has a value that no header can have"))?;
        value.set_sensitive(true);
        if all.contains_key(&known) {
            return Err(is_wrong("is there already"));
        }
        all.insert(known, value);
    }
    Ok(())
}

/// What a Close without a code counts as (RFC 6455 section 7.1.5).
const NO_CODE: u16 = 1005;

fn refusal(response: &Response<Option<Vec<u8>>>) -> Refusal {
    let seconds = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let body = response.body().as_deref().unwrap_or_default();
    let text: String = String::from_utf8_lossy(body).trim().chars().take(200).collect();
    let status = response.status();
    let reason = if text.is_empty() { status.to_string() } else { format!("{status}: {text}") };
    Refusal { status: Some(status.as_u16()), retry_after: seconds.map(Duration::from_secs), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_added_and_what_is_wrong_is_said_without_the_value() {
        let mut all = HeaderMap::new();
        all.insert("host", HeaderValue::from_static("a"));
        let headers = |name: &str, value: &str| Headers(vec![(name.to_owned(), value.to_owned())]);
        assert_eq!(add(&mut all, &headers("Cookie", "session=secret")), Ok(()));
        assert_eq!(all["cookie"], "session=secret");
        assert!(!format!("{all:?}").contains("secret"), "{all:?}");
        for (name, value) in [("Host", "secret"), ("cookie", "secret"), ("a b", "secret"), ("x", "secret\r\ny: z")] {
            let error = add(&mut all, &headers(name, value)).expect_err(name);
            assert!(error.contains(name) && !error.contains("secret"), "{error}");
        }
        assert_eq!(all.len(), 2);
    }
}
