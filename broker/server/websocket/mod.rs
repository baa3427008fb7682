//! One connection of a session on its shard: reads WebSocket frames, passes messages to their handler, closes. It knows no
//! requests.

pub(super) mod assembler;
pub(super) mod close;
pub(super) mod frame_headers;
pub(super) mod frames;
pub(super) mod handed_over;
pub(super) mod handler;
pub(super) mod incoming;
pub(super) mod raw;
pub(super) mod upgrade;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use rialto_protocol::{CloseCode, Closing, Codec};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use self::assembler::{Assembler, Kind, Violation};
use self::close::{closed, last_frames, peer_closed};
use self::frames::{ClientFrame, Frames, ReadEnd};
use self::handed_over::{EndReport, HandedOver};
use self::handler::{Handler, Requests};
use self::incoming::Incoming;
use self::raw::Raw;
use crate::broker::Broker;
use crate::hub::{Duplex, Ending, Link, Rewriter, SessionKey, Shard, Signals, batch_wakes, work};
use crate::limits::rate::Rate;
use crate::limits::seats::{PermitShares, SessionPermit};
use crate::message::Wire;
use crate::session::Session;

/// Most bytes that a client may send which has nothing to say.
const UNREAD_BYTES_MAX: usize = 64 * 1024;

/// When a client may come back whose requests were not answered in time.
const RETRY_MS: u64 = 1_000;

/// The protocol of a connection.
#[derive(Debug)]
pub(super) enum Protocol {
    /// Rialto's protocol, in a codec.
    Frames(Codec),
    /// The format of the plugin that serves this raw endpoint.
    Raw(Arc<str>),
    /// Rialto's protocol in JSON, written in another form to a client that sends nothing: its requests are here.
    Rewritten(Vec<Vec<u8>>, Box<dyn Rewriter + Send>),
}

/// What comes from the client.
pub(super) enum Input {
    /// WebSocket frames, with bytes that were read already.
    Frames(Box<[u8]>),
    /// Nothing further: these are its messages.
    Messages(Vec<Vec<u8>>),
}

/// Starts a session on a socket after the upgrade; `first` are bytes that were read already.
pub(super) fn start_tcp(
    broker: &Broker,
    stream: std::net::TcpStream,
    first: Box<[u8]>,
    protocol: Protocol,
    permit: SessionPermit,
) {
    start(broker, first, protocol, permit, move || TcpStream::from_std(stream).map(Link::Tcp));
}

/// Starts a session on a TLS socket after the upgrade; `first` are bytes that were read already.
#[cfg(feature = "tls")]
pub(super) fn start_tls(
    broker: &Broker,
    stream: std::net::TcpStream,
    connection: rustls::ServerConnection,
    first: Box<[u8]>,
    protocol: Protocol,
    permit: SessionPermit,
) {
    let link = move || TcpStream::from_std(stream).map(|stream| Link::tls(stream, connection));
    start(broker, first, protocol, permit, link);
}

/// Starts a session on a stream that an embedding program hands over, on this shard.
pub(super) fn start_handed_over(
    broker: &Broker,
    shard: usize,
    stream: Box<dyn Duplex>,
    codec: Codec,
    permit: SessionPermit,
    report: EndReport,
) {
    let (session_broker, input) = (broker.clone(), Input::Frames(Box::default()));
    let link = move || Ok(Link::other(stream));
    attach_to(broker, shard, input, Wire::Frames(codec), permit, link, move |shard, key, permit| {
        report.begun(key);
        HandedOver::new(begin(shard, session_broker, key, codec, permit), report)
    });
}

/// Starts a session on any stream after the upgrade.
pub(crate) fn start_other(
    broker: &Broker,
    stream: Box<dyn Duplex>,
    first: Box<[u8]>,
    codec: Codec,
    permit: SessionPermit,
) {
    start(broker, first, Protocol::Frames(codec), permit, move || Ok(Link::other(stream)));
}

fn start(
    broker: &Broker,
    first: Box<[u8]>,
    protocol: Protocol,
    permit: SessionPermit,
    link: impl FnOnce() -> io::Result<Link> + Send + 'static,
) {
    let session_broker = broker.clone();
    let (codec, input, rewriter) = match protocol {
        Protocol::Frames(codec) => (codec, Input::Frames(first), None),
        Protocol::Rewritten(requests, writer) => (Codec::Json, Input::Messages(requests), Some(writer)),
        Protocol::Raw(endpoint) => {
            return attach(broker, Input::Frames(first), Wire::Bare, permit, link, move |shard, key, permit| {
                let (raw, refused) = Raw::begin(session_broker, key, endpoint, permit);
                shard.set_member(key, &raw.caller().member);
                refused.into_iter().for_each(|closing| shard.end(key, &closing));
                raw
            });
        }
    };
    let link = move || {
        let link = link()?;
        Ok(match rewriter {
            Some(rewriter) => link.rewritten(rewriter),
            None => link,
        })
    };
    attach(broker, input, Wire::Frames(codec), permit, link, move |shard, key, permit| {
        begin(shard, session_broker, key, codec, permit)
    });
}

/// Begins a session of the protocol on its shard.
fn begin(shard: &Shard, broker: Broker, key: SessionKey, codec: Codec, permit: &SessionPermit) -> Requests {
    let session = Session::new(broker, key, codec, permit);
    shard.set_member(key, session.member());
    shard.send(key, session.welcome());
    Requests::new(session, codec)
}

/// Moves a connection to the next shard.
pub(super) fn attach<D: Handler + 'static>(
    broker: &Broker,
    input: Input,
    wire: Wire,
    permit: SessionPermit,
    link: impl FnOnce() -> io::Result<Link> + Send + 'static,
    begin: impl FnOnce(&Rc<Shard>, SessionKey, &SessionPermit) -> D + Send + 'static,
) {
    attach_to(broker, broker.next_shard(), input, wire, permit, link, begin);
}

/// Moves a connection to a shard. It is registered there before its task starts, so that it counts before anything
/// else runs on the shard.
fn attach_to<D: Handler + 'static>(
    broker: &Broker,
    shard: usize,
    input: Input,
    wire: Wire,
    permit: SessionPermit,
    link: impl FnOnce() -> io::Result<Link> + Send + 'static,
    begin: impl FnOnce(&Rc<Shard>, SessionKey, &SessionPermit) -> D + Send + 'static,
) {
    broker.core.hub.run_on(shard, move |shard| match link() {
        Ok(link) => {
            let connection = Connection::new(shard, link, wire);
            let handler = begin(shard, connection.key, &permit);
            Attached::new(input, connection, handler, permit).spawn();
        }
        Err(error) => tracing::warn!(%error, "cannot move a socket to its shard"),
    });
}

/// A connection with its handler. Dropping it ends both, whatever happened to the task.
struct Attached<D: Handler> {
    input: Input,
    connection: Connection,
    handler: D,
    slots: PermitShares,
}

/// One connection, registered with its shard.
struct Connection {
    shard: Rc<Shard>,
    link: Rc<Link>,
    signals: Rc<Signals>,
    key: SessionKey,
    wire: Wire,
    control_frames: Cell<Rate>,
}

impl<D: Handler + 'static> Attached<D> {
    fn new(input: Input, connection: Connection, handler: D, permit: SessionPermit) -> Self {
        if let Some(closing) = permit.refused {
            connection.signals.end(Ending::Closed(closing));
        }
        Self { input, connection, handler, slots: permit.slots }
    }

    fn spawn(mut self) {
        tokio::task::spawn_local(async move {
            let shard = Rc::clone(&self.connection.shard);
            let mut life = pin!(self.serve());
            // All messages of one read wake each shard once.
            poll_fn(|context| shard.at_once(|| batch_wakes(|| life.as_mut().poll(context)))).await;
        });
    }

    /// Runs a session to its end. Three futures run concurrently and are never restarted; the first that completes decides
    /// how the session ends. An idle session consists of this future, so the rare parts are boxed and exist only while they
    /// run.
    async fn serve(&mut self) {
        let Self { input, connection, handler, .. } = self;
        let ending = tokio::select! {
            // First, so that a session that has to end handles no further message.
            biased;
            ending = connection.signals.ended() => ending,
            ending = connection.read(input, handler) => ending,
            () = connection.shard.keep_writing(connection.key, &connection.signals) => Ending::Gone,
        };
        connection.signals.end(ending.clone());
        handler.ending(&ending);
        Box::pin(connection.close(ending)).await;
        while handler.end_some() {
            tokio::task::yield_now().await;
        }
    }
}

impl<D: Handler> Drop for Attached<D> {
    fn drop(&mut self) {
        // In this order: once the session no longer counts, its plugins have been notified and its slots are free. Most of it
        // has been done before, unless the task was dropped.
        while self.handler.end_some() {}
        drop(std::mem::take(&mut self.slots));
        self.connection.shard.detach(self.connection.key);
    }
}

impl Connection {
    fn new(shard: &Rc<Shard>, link: Link, wire: Wire) -> Self {
        let link = Rc::new(link);
        let (key, signals) = shard.attach(Rc::clone(&link), wire);
        Self { shard: Rc::clone(shard), link, signals, key, wire, control_frames: Cell::default() }
    }

    /// Hop 1: reads frames from the socket and passes messages to the handler until something ends the connection.
    async fn read(&self, input: &mut Input, handler: &mut impl Handler) -> Ending {
        let lead = match input {
            Input::Frames(lead) => lead,
            Input::Messages(messages) => return Box::pin(self.read_nothing(std::mem::take(messages), handler)).await,
        };
        loop {
            if lead.is_empty() {
                match self.lead(handler).await {
                    Ok(some) => *lead = some,
                    Err(ending) => return ending,
                }
            }
            if lead.is_empty() {
                return Ending::Gone;
            }
            if let Err(ending) = Box::pin(self.burst(std::mem::take(lead), handler)).await {
                return ending;
            }
        }
    }

    /// Waits for the first bytes of a message; none at the end of the connection. Meanwhile the session looks at its permissions
    /// whenever that is requested.
    async fn lead(&self, handler: &mut impl Handler) -> Result<Box<[u8]>, Ending> {
        loop {
            let requested = poll_fn(|_| if self.signals.take_recheck() { Poll::Ready(()) } else { Poll::Pending });
            tokio::select! {
                biased;
                () = requested => Box::pin(handler.recheck()).await?,
                lead = incoming::lead(&self.link) => return Ok(lead.unwrap_or_default()),
            }
        }
    }

    /// Passes messages to the handler, then waits until the peer disconnects. Bytes that it sends are dropped.
    async fn read_nothing(&self, messages: Vec<Vec<u8>>, handler: &mut impl Handler) -> Ending {
        self.signals.answers_nothing();
        let served = async {
            // In a box, which is gone while the stream is idle.
            if let Err(ending) = Box::pin(self.pass(messages, handler)).await {
                return ending;
            }
            let mut left = UNREAD_BYTES_MAX;
            loop {
                match self.lead(handler).await {
                    Ok(lead) if (1..=left).contains(&lead.len()) => left -= lead.len(),
                    Ok(_) => return Ending::Gone,
                    Err(ending) => return ending,
                }
            }
        };
        let late = async {
            tokio::time::sleep(self.shard.limits().frame).await;
            if self.link.has_begun() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            ending = served => ending,
            () = late => Ending::Closed(Closing {
                code: CloseCode::TryAgainLater.number(),
                message: "the broker did not answer in time".to_owned(),
                retry_after_ms: Some(RETRY_MS),
            }),
        }
    }

    async fn pass(&self, messages: Vec<Vec<u8>>, handler: &mut impl Handler) -> Result<(), Ending> {
        for message in messages {
            handler.on_message(Kind::Text, &message)?;
            self.apply_back_pressure(handler).await;
        }
        Ok(())
    }

    /// Reads from the first bytes of a message to the end of the last one received. The frame reader, which holds a buffer,
    /// exists only meanwhile.
    async fn burst(&self, lead: Box<[u8]>, handler: &mut impl Handler) -> Result<(), Ending> {
        let limits = self.shard.limits();
        let message_bytes = handler.message_bytes().unwrap_or(limits.message_bytes).min(limits.message_bytes);
        let mut assembler = Assembler::new(message_bytes, limits.fragments);
        let incoming = Incoming::new(&self.link, &self.signals, lead);
        let mut frames = Frames::new(&incoming, message_bytes);
        let mut handled = 0;
        while !incoming.is_done_after(handled) {
            let handle = |frame: ClientFrame<'_>| self.on_frame(&frame, &mut assembler, handler);
            frames.next(handle).await.map_err(ending_of)??;
            handled += 1;
            incoming.message_open(assembler.is_open());
            self.apply_back_pressure(handler).await;
            if self.signals.take_recheck() {
                Box::pin(handler.recheck()).await?;
            }
            if work::is_enough() {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn on_frame(
        &self,
        frame: &ClientFrame<'_>,
        assembler: &mut Assembler,
        handler: &mut impl Handler,
    ) -> Result<(), Ending> {
        match frame {
            ClientFrame::Data { kind, fin, payload } => match assembler.add(*kind, *fin, payload).map_err(violated)? {
                Some((kind, message)) => handler.on_message(kind, &message),
                None => Ok(()),
            },
            ClientFrame::Ping(payload) => {
                self.shard.pong(self.key, payload);
                self.count_control_frame()
            }
            ClientFrame::Pong => self.count_control_frame(),
            ClientFrame::Close(payload) => Err(peer_closed(payload)),
        }
    }

    /// Rate limit for pings and pongs, which cost the sender nothing and are not limited by requests in flight.
    fn count_control_frame(&self) -> Result<(), Ending> {
        let mut rate = self.control_frames.get();
        let taken = rate.take(self.shard.limits().control_frames_per_s, Instant::now());
        self.control_frames.set(rate);
        taken.map_err(|_| closed(CloseCode::PolicyViolation, "rate limit: too many pings and pongs"))
    }

    /// Back-pressure: stops reading while too many requests are in flight or their answers are not read.
    async fn apply_back_pressure(&self, handler: &mut impl Handler) {
        if handler.is_ready() && self.shard.answers_are_read(self.key) {
            return;
        }
        self.signals.pause_reading();
        handler.ready().await;
        self.shard.answers_read(self.key, &self.signals).await;
        self.signals.resume_reading();
    }

    /// Sends exactly one Close, then waits for the peer to close the connection.
    async fn close(&self, ending: Ending) {
        let deadline = self.shard.limits().close;
        let Some((frames, keep_messages)) = last_frames(&ending, self.wire) else {
            // A connection that has said its last ends like one that was closed.
            if self.link.is_over() {
                self.hang_up(true, deadline).await;
            }
            return;
        };
        self.shard.finish(self.key, &frames, keep_messages, deadline).await;
        // The server ends the TCP connection first (RFC 6455 section 7.1.1). Unless the peer has sent its Close, that
        // and all other bytes on their way are read and dropped, so that our Close is not lost to a reset.
        self.hang_up(!matches!(ending, Ending::PeerClosed(_)), deadline).await;
    }

    async fn hang_up(&self, peer_may_send: bool, deadline: Duration) {
        let shutdown = async {
            if self.link.shutdown().await.is_ok() && peer_may_send {
                discard(&self.link).await;
            }
        };
        let _ = tokio::time::timeout(deadline, shutdown).await;
    }
}

async fn discard(link: &Link) {
    let mut scratch = [0; 1024];
    loop {
        let read = poll_fn(|context| {
            let mut buffer = ReadBuf::new(&mut scratch);
            link.poll_read(context, &mut buffer).map_ok(|()| buffer.filled().len())
        });
        if matches!(read.await, Ok(0) | Err(_)) {
            return;
        }
    }
}

fn ending_of(over: ReadEnd) -> Ending {
    match over {
        ReadEnd::Gone => Ending::Gone,
        ReadEnd::Violation(violation) => violated(violation),
    }
}

fn violated(Violation { code, text }: Violation) -> Ending {
    closed(code, text)
}
