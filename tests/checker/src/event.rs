//! What a log is made of: facts, each seen by one client or by whoever runs the broker, in the order in which they were seen.

/// A fact and when it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Milliseconds since the run began.
    pub at_ms: u64,
    /// What was seen.
    pub fact: Fact,
}

/// A place in the order of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The epoch, a random text.
    pub epoch: String,
    /// The offset, from 1; 0 is before the first message.
    pub offset: u64,
}

/// Why messages will not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// They are not kept any more.
    Expired,
    /// The order began anew.
    Reset,
    /// There was no room for them.
    Slow,
    /// Later ones took their place.
    Conflated,
}

/// One thing that was seen.
///
/// Whoever writes the log writes a request down *before* it is sent and an answer or a push *after* it has come, all into
/// one log: only then does the order of the log say what came before what. Sessions and attempts have numbers of their own,
/// used once. Payloads are hashes of the value, the same in both codecs; a payload is published for one purpose only, so that
/// the hash tells messages apart. What comes for a topic before the answer to its subscription is written down after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A topic's rule: the newest messages that it keeps, and how long it remembers keys. It keeps them whatever their age
    /// and size, in memory: nothing survives the end of the broker.
    Topic {
        /// The topic.
        topic: String,
        /// Messages that are kept; 0 where there is no history.
        keeps: u64,
        /// How long a key is known.
        keys_ms: u64,
    },
    /// A broker was started.
    Started,
    /// The broker was killed.
    Killed,
    /// A session began.
    Connected {
        /// The session.
        session: u64,
        /// Whose it is.
        client: u64,
        /// The broker's name for itself, of which each start has another one.
        node: String,
    },
    /// A session is over.
    Disconnected {
        /// The session.
        session: u64,
    },
    /// A message is about to be published.
    Publishing {
        /// This request.
        attempt: u64,
        /// By which session.
        session: u64,
        /// To which topic.
        topic: String,
        /// The idempotency key.
        key: Option<String>,
        /// The hash of the payload.
        payload: u64,
    },
    /// It was acked.
    Published {
        /// Which request.
        attempt: u64,
        /// Where the message stands.
        position: Position,
        /// Whether the key was known.
        duplicate: bool,
    },
    /// It was refused.
    Refused {
        /// Which request.
        attempt: u64,
        /// The error code.
        code: String,
    },
    /// No answer will come; it may have taken effect.
    Lost {
        /// Which request.
        attempt: u64,
    },
    /// A subscription is about to be asked for.
    Subscribing {
        /// By which session.
        session: u64,
        /// To which topic.
        topic: String,
        /// The last position that the client has seen.
        since: Option<Position>,
        /// How many of the last messages it asks for.
        last: Option<u64>,
    },
    /// It was answered.
    Subscribed {
        /// Which session.
        session: u64,
        /// Which topic.
        topic: String,
        /// The topic's head.
        position: Position,
        /// What became of `since`.
        recovered: Option<bool>,
    },
    /// A client library says that a subscription goes on, or begins if its client saw nothing yet: both at once, and perhaps long
    /// after it was asked for. What it has not kept by itself it asks for from where its program is, with all that is kept.
    Resumed {
        /// Which session.
        session: u64,
        /// Which topic.
        topic: String,
        /// The topic's head.
        position: Position,
        /// What became of `since`.
        recovered: Option<bool>,
    },
    /// The end of a subscription is about to be asked for.
    Unsubscribing {
        /// By which session.
        session: u64,
        /// Of which topic.
        topic: String,
    },
    /// It was answered.
    Unsubscribed {
        /// Which session.
        session: u64,
        /// Which topic.
        topic: String,
    },
    /// A message came.
    Delivered {
        /// To which session.
        session: u64,
        /// Of which topic.
        topic: String,
        /// Its position; the epoch is the one of the subscription.
        position: Position,
        /// The hash of its payload.
        payload: u64,
    },
    /// A gap was told.
    Gap {
        /// To which session.
        session: u64,
        /// Of which topic.
        topic: String,
        /// The first offset that will not come.
        from: u64,
        /// The last one.
        to: u64,
        /// Why.
        reason: Reason,
    },
    /// From now on nothing disturbs anybody any more.
    Healed {
        /// Within which time everybody must be back and have everything.
        within_ms: u64,
    },
    /// Everybody should be back and have everything.
    Ended,
    /// What a gauge of the broker says when everybody has left.
    Gauge {
        /// Its name.
        name: String,
        /// Its value.
        value: u64,
    },
}
