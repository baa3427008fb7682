//! One WebSocket connection on its shard: reads frames, hands messages on, says goodbye. It knows no requests.

pub(super) mod assembler;
pub(super) mod close;
pub(super) mod frame_headers;
pub(super) mod frames;
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
use std::time::Instant;

use rialto_protocol::{CloseCode, Codec};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use self::assembler::{Assembler, Flaw};
use self::close::{closed, last_frames, peer_closed};
use self::frames::{Frames, Heard, Over};
use self::handler::{Dialogue, Requests};
use self::incoming::Incoming;
use self::raw::Raw;
use crate::broker::Broker;
use crate::hub::{Duplex, Ending, Line, Link, SessionKey, Shard, together};
use crate::limits::rate::Pace;
use crate::limits::seats::{Guest, Places};
use crate::message::Wire;
use crate::session::Session;

/// What is spoken on a connection.
#[derive(Clone, Debug)]
pub(super) enum Speech {
    /// The protocol, in a codec.
    Protocol(Codec),
    /// Whatever the plugin of this raw endpoint speaks.
    Raw(Arc<str>),
}

/// Makes a session of a socket on which the upgrade was answered; `first` was read from it already.
pub(super) fn start_tcp(broker: &Broker, stream: std::net::TcpStream, first: Box<[u8]>, speech: Speech, guest: Guest) {
    start(broker, first, speech, guest, move || TcpStream::from_std(stream).map(Link::Tcp));
}

/// Makes a session of a socket on which TLS is spoken and the upgrade was answered; `first` was read from it already.
#[cfg(feature = "tls")]
pub(super) fn start_tls(
    broker: &Broker,
    stream: std::net::TcpStream,
    connection: rustls::ServerConnection,
    first: Box<[u8]>,
    speech: Speech,
    guest: Guest,
) {
    let link = move || TcpStream::from_std(stream).map(|stream| Link::tls(stream, connection));
    start(broker, first, speech, guest, link);
}

/// Makes a session of any stream on which the upgrade was answered.
pub(crate) fn start_other(broker: &Broker, stream: Box<dyn Duplex>, first: Box<[u8]>, codec: Codec, guest: Guest) {
    start(broker, first, Speech::Protocol(codec), guest, move || Ok(Link::other(stream)));
}

fn start(
    broker: &Broker,
    first: Box<[u8]>,
    speech: Speech,
    guest: Guest,
    link: impl FnOnce() -> io::Result<Link> + Send + 'static,
) {
    let session_broker = broker.clone();
    let codec = match speech {
        Speech::Protocol(codec) => codec,
        Speech::Raw(endpoint) => {
            return attach(broker, first, Wire::Bare, guest, link, move |shard, key, guest| {
                let (raw, refused) = Raw::begin(session_broker, key, endpoint, guest.user.clone());
                shard.introduce(key, &raw.client().member);
                refused.into_iter().for_each(|closing| shard.end(key, &closing));
                raw
            });
        }
    };
    attach(broker, first, Wire::Frames(codec), guest, link, move |shard, key, guest| {
        let session = Session::new(session_broker, key, codec, guest.user.clone());
        shard.introduce(key, session.member());
        shard.send(key, session.welcome());
        Requests::new(session, codec)
    });
}

/// Makes a connection one of the next shard's. It begins there and not in its own task, so that it counts before anything
/// else happens on the shard.
pub(super) fn attach<D: Dialogue + 'static>(
    broker: &Broker,
    first: Box<[u8]>,
    wire: Wire,
    guest: Guest,
    link: impl FnOnce() -> io::Result<Link> + Send + 'static,
    begin: impl FnOnce(&Rc<Shard>, SessionKey, &Guest) -> D + Send + 'static,
) {
    broker.core.hub.run_on(broker.next_shard(), move |shard| match link() {
        Ok(link) => {
            let connection = Connection::new(shard, link, wire);
            let dialogue = begin(shard, connection.key, &guest);
            Attached::new(first, connection, dialogue, guest).live();
        }
        Err(error) => tracing::warn!(%error, "a socket cannot be moved to its shard"),
    });
}

/// A connection and what is said over it. Dropping it ends both, whatever happened to the task.
struct Attached<D: Dialogue> {
    /// What was read already.
    lead: Box<[u8]>,
    connection: Connection,
    dialogue: D,
    places: Places,
}

/// One connection and its place on the shard.
struct Connection {
    shard: Rc<Shard>,
    link: Rc<Link>,
    line: Rc<Line>,
    key: SessionKey,
    wire: Wire,
    control_frames: Cell<Pace>,
}

impl<D: Dialogue + 'static> Attached<D> {
    fn new(lead: Box<[u8]>, connection: Connection, dialogue: D, guest: Guest) -> Self {
        if let Some(closing) = guest.refused {
            connection.line.end(Ending::Closed(closing));
        }
        Self { lead, connection, dialogue, places: guest.places }
    }

    fn live(mut self) {
        tokio::task::spawn_local(async move {
            let mut life = pin!(self.serve());
            // All that one read brings wakes each shard once.
            poll_fn(|context| together(|| life.as_mut().poll(context))).await;
        });
    }

    /// The whole life of a session. The three parts of its first half run side by side and none is ever restarted; the
    /// one that ends decides how the session ends. This is what an idle session is made of, so the rare parts are in
    /// boxes that exist only while they run.
    async fn serve(&mut self) {
        let Self { lead, connection, dialogue, .. } = self;
        let ending = tokio::select! {
            // First of all, so that nothing more is heard of a session that has to end.
            biased;
            ending = connection.line.ended() => ending,
            ending = connection.read(lead, dialogue) => ending,
            () = connection.shard.keep_writing(connection.key, &connection.line) => Ending::Gone,
        };
        connection.line.end(ending.clone());
        Box::pin(connection.say_goodbye(ending)).await;
    }
}

impl<D: Dialogue> Drop for Attached<D> {
    fn drop(&mut self) {
        // In this order: when the session no longer counts, its plugins have been told and its places are free.
        self.dialogue.end();
        drop(std::mem::take(&mut self.places));
        self.connection.shard.detach(self.connection.key);
    }
}

impl Connection {
    fn new(shard: &Rc<Shard>, link: Link, wire: Wire) -> Self {
        let link = Rc::new(link);
        let (key, line) = shard.attach(Rc::clone(&link), wire);
        Self { shard: Rc::clone(shard), link, line, key, wire, control_frames: Cell::default() }
    }

    /// Hop 1: frames off the socket, messages to whom they are for, until something ends it.
    async fn read(&self, lead: &mut Box<[u8]>, dialogue: &mut impl Dialogue) -> Ending {
        loop {
            if lead.is_empty() {
                *lead = incoming::lead(&self.link).await.unwrap_or_default();
            }
            if lead.is_empty() {
                return Ending::Gone;
            }
            if let Err(ending) = Box::pin(self.burst(std::mem::take(lead), dialogue)).await {
                return ending;
            }
        }
    }

    /// Reads from the first bytes of a message to the end of the last one that has come in. Only meanwhile there is a
    /// frame reader, which holds a buffer.
    async fn burst(&self, lead: Box<[u8]>, dialogue: &mut impl Dialogue) -> Result<(), Ending> {
        let limits = self.shard.limits();
        let mut assembler = Assembler::new(limits.message_bytes, limits.fragments);
        let incoming = Incoming::new(&self.link, &self.line, lead);
        let mut frames = Frames::new(&incoming, limits.message_bytes);
        let mut handled = 0;
        while !incoming.is_done_after(handled) {
            let hear = |heard: Heard<'_>| self.hear(&heard, &mut assembler, dialogue);
            frames.next(hear).await.map_err(ending_of)??;
            handled += 1;
            incoming.message_open(assembler.is_open());
            self.wait_to_go_on(dialogue).await;
        }
        Ok(())
    }

    fn hear(&self, heard: &Heard<'_>, assembler: &mut Assembler, dialogue: &mut impl Dialogue) -> Result<(), Ending> {
        match heard {
            Heard::Data { kind, fin, payload } => match assembler.add(*kind, *fin, payload).map_err(flawed)? {
                Some((kind, message)) => dialogue.hear(kind, &message),
                None => Ok(()),
            },
            Heard::Ping(payload) => {
                self.shard.pong(self.key, payload);
                self.count_control_frame()
            }
            Heard::Pong => self.count_control_frame(),
            Heard::Close(payload) => Err(peer_closed(payload)),
        }
    }

    /// Pings and pongs are work for us and none for who sends them, and no request holds them up.
    fn count_control_frame(&self) -> Result<(), Ending> {
        let mut pace = self.control_frames.get();
        let taken = pace.take(self.shard.limits().control_frames_per_s, Instant::now());
        self.control_frames.set(pace);
        taken.map_err(|_| closed(CloseCode::PolicyViolation, "too many pings and pongs"))
    }

    /// Does not read while too much of what the peer asked for is under way.
    async fn wait_to_go_on(&self, dialogue: &mut impl Dialogue) {
        if dialogue.is_ready() && self.shard.answers_are_read(self.key) {
            return;
        }
        self.line.hold();
        dialogue.ready().await;
        self.shard.answers_read(self.key, &self.line).await;
        self.line.release();
    }

    /// Sends exactly one Close, then waits for the peer to hang up.
    async fn say_goodbye(&self, ending: Ending) {
        let Some((frames, keep_messages)) = last_frames(&ending, self.wire) else { return };
        let deadline = self.shard.limits().close;
        self.shard.finish(self.key, &frames, keep_messages, deadline).await;
        // The side that serves ends the TCP connection first (RFC 6455 section 7.1.1). Unless the peer has said its Close,
        // that and whatever else it had under way are read and dropped, so that our Close is not lost to a reset.
        let peer_may_speak = !matches!(ending, Ending::PeerClosed(_));
        let hang_up = async {
            if self.link.shutdown().await.is_ok() && peer_may_speak {
                discard(&self.link).await;
            }
        };
        let _ = tokio::time::timeout(deadline, hang_up).await;
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

fn ending_of(over: Over) -> Ending {
    match over {
        Over::Gone => Ending::Gone,
        Over::Flaw(flaw) => flawed(flaw),
    }
}

fn flawed(Flaw { code, text }: Flaw) -> Ending {
    closed(code, text)
}
