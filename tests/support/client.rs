//! An independent client (tokio-tungstenite): requests and their replies, pushes in order, the close that ends it.

use std::collections::VecDeque;
use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use rialto::Codec;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::{decode, encode, within};

/// Any byte stream under a client.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One session.
pub(crate) struct Client {
    pub(crate) codec: Codec,
    /// The first frame of the session.
    pub(crate) welcome: Value,
    socket: WebSocketStream<Box<dyn Stream>>,
    next_id: u64,
    replies: VecDeque<Value>,
    pushes: VecDeque<Value>,
    closed: Option<u16>,
}

impl Client {
    /// Connects and reads the welcome.
    pub(crate) async fn connect(address: SocketAddr, codec: Codec) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await.expect("open");
        Self::upgraded(stream, &format!("ws://{address}/ws"), codec).await
    }

    /// The same with more headers in the request.
    pub(crate) async fn with_headers(address: SocketAddr, codec: Codec, headers: &[(&'static str, &str)]) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await.expect("open");
        Self::asked(stream, &format!("ws://{address}/ws"), codec, headers).await
    }

    /// Asks for the upgrade on a connection that is there, and reads the welcome.
    pub(crate) async fn upgraded(stream: impl Stream + 'static, url: &str, codec: Codec) -> Self {
        Self::asked(stream, url, codec, &[]).await
    }

    async fn asked(stream: impl Stream + 'static, url: &str, codec: Codec, headers: &[(&'static str, &str)]) -> Self {
        let mut request = url.into_client_request().expect("a request");
        let subprotocol = codec.subprotocol().parse().expect("ascii");
        request.headers_mut().insert("sec-websocket-protocol", subprotocol);
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a value"));
        }
        let stream: Box<dyn Stream> = Box::new(stream);
        let (socket, response) = within("the upgrade", client_async(request, stream)).await.expect("upgraded");
        assert_eq!(response.headers()["sec-websocket-protocol"], codec.subprotocol());
        Self::greeted(socket, codec).await
    }

    /// A session over a stream on which the upgrade counts as answered.
    pub(crate) async fn over(stream: impl Stream + 'static, codec: Codec) -> Self {
        let stream: Box<dyn Stream> = Box::new(stream);
        Self::greeted(WebSocketStream::from_raw_socket(stream, Role::Client, None).await, codec).await
    }

    async fn greeted(socket: WebSocketStream<Box<dyn Stream>>, codec: Codec) -> Self {
        let (replies, pushes) = (VecDeque::new(), VecDeque::new());
        let mut client = Self { codec, welcome: Value::Null, socket, next_id: 1, replies, pushes, closed: None };
        client.welcome = client.next_frame().await.expect("the broker speaks first");
        assert_eq!(client.welcome["type"], "welcome", "{}", client.welcome);
        client
    }

    /// Sends a frame as it is.
    pub(crate) async fn send(&mut self, frame: &Value) {
        self.send_bytes(encode(self.codec, frame)).await;
    }

    /// Sends bytes as one message of the codec's kind.
    pub(crate) async fn send_bytes(&mut self, bytes: Vec<u8>) {
        let message = match self.codec {
            Codec::Json => Message::text(String::from_utf8(bytes).expect("this client sends UTF-8 text")),
            Codec::MessagePack => Message::binary(bytes),
        };
        self.send_message(message).await;
    }

    /// Sends any WebSocket message.
    pub(crate) async fn send_message(&mut self, message: Message) {
        within("room to send", self.socket.send(message)).await.expect("sent");
    }

    /// Sends a request with a new id and does not wait; gives the id.
    pub(crate) async fn ask(&mut self, mut request: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        request["id"] = id.into();
        self.send(&request).await;
        id
    }

    /// The reply to an earlier request; pushes that come before it are kept.
    pub(crate) async fn reply(&mut self, id: u64) -> Value {
        loop {
            if let Some(place) = self.replies.iter().position(|reply| reply["id"] == id) {
                return self.replies.remove(place).expect("it is there");
            }
            self.receive().await;
        }
    }

    /// Sends a request and waits for its reply.
    pub(crate) async fn request(&mut self, request: Value) -> Value {
        let id = self.ask(request).await;
        self.reply(id).await
    }

    /// A request that must succeed.
    pub(crate) async fn ok(&mut self, request: Value) -> Value {
        let reply = self.request(request.clone()).await;
        assert_eq!(reply["type"], "ok", "{request} got {reply}");
        reply
    }

    /// A request that must fail with this code.
    pub(crate) async fn refused(&mut self, request: Value, code: &str) -> Value {
        let reply = self.request(request.clone()).await;
        assert_eq!((&reply["type"], &reply["code"]), (&json!("error"), &json!(code)), "{request} got {reply}");
        reply
    }

    /// Subscribes; gives the position after which messages follow.
    pub(crate) async fn subscribe(&mut self, topic: &str) -> Value {
        self.ok(json!({"type": "subscribe", "topic": topic})).await["position"].clone()
    }

    /// Publishes; gives the position of the message.
    pub(crate) async fn publish(&mut self, topic: &str, data: Value) -> Value {
        self.ok(json!({"type": "publish", "topic": topic, "data": data})).await["position"].clone()
    }

    /// A round trip that touches no topic. Replies keep the order of requests that need no plugin, so whatever the
    /// broker had to say to earlier ones has been received when this returns.
    pub(crate) async fn ping(&mut self) {
        let pong = self.request(json!({"type": "ping", "data": [self.next_id]})).await;
        assert_eq!((&pong["type"], &pong["data"][0]), (&json!("pong"), &pong["id"]), "{pong}");
    }

    /// The next frame that is no reply.
    pub(crate) async fn push(&mut self) -> Value {
        while self.pushes.is_empty() {
            self.receive().await;
        }
        self.pushes.pop_front().expect("it is there")
    }

    /// The next message of a topic; another kind of push fails the test.
    pub(crate) async fn message(&mut self) -> Value {
        let push = self.push().await;
        assert_eq!(push["type"], "message", "{push}");
        push
    }

    /// Takes everything that has been received and not been asked for yet.
    pub(crate) fn take_all(&mut self) -> Vec<Value> {
        self.replies.drain(..).chain(self.pushes.drain(..)).collect()
    }

    /// Waits for the end of the connection; gives the broker's close code, if it sent any. Pushes stay to be taken.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        while let Some(frame) = self.next_frame().await {
            self.sort(frame);
        }
        self.closed
    }

    /// Says goodbye and waits for the answer.
    pub(crate) async fn close(mut self) {
        within("room to send", self.socket.close(None)).await.expect("closing");
        self.closed().await;
    }

    async fn receive(&mut self) {
        let frame = self.next_frame().await;
        let frame = frame.unwrap_or_else(|| panic!("the connection was closed with {:?}", self.closed));
        self.sort(frame);
    }

    fn sort(&mut self, frame: Value) {
        let answers = frame.get("id").is_some();
        if answers { self.replies.push_back(frame) } else { self.pushes.push_back(frame) }
    }

    /// The next frame of the protocol; none when the connection has ended.
    async fn next_frame(&mut self) -> Option<Value> {
        loop {
            match within("a frame", self.socket.next()).await {
                Some(Ok(Message::Text(text))) => {
                    assert_eq!(self.codec, Codec::Json, "a text frame on a MessagePack session");
                    return Some(decode(self.codec, text.as_bytes()));
                }
                Some(Ok(Message::Binary(bytes))) => {
                    assert_eq!(self.codec, Codec::MessagePack, "a binary frame on a JSON session");
                    return Some(decode(self.codec, &bytes));
                }
                Some(Ok(Message::Close(close))) => self.closed = Some(close.map_or(1005, |close| close.code.into())),
                Some(Ok(_)) => {}
                None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_))) => return None,
                Some(Err(Error::Protocol(error))) if self.closed.is_none() => {
                    tracing::debug!(%error, "cut off without a close");
                    return None;
                }
                Some(Err(error)) => panic!("the broker broke the protocol: {error}"),
            }
        }
    }
}
