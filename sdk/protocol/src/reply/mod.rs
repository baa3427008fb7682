//! Replies: what an `ok` frame carries. `encode` is the broker's side, `decode` the client's.

mod decode;
mod encode;

use std::sync::Arc;

use crate::Payload;
use crate::frame::{Failure, Member, Position, RequestRates};

pub use self::decode::{Answer, Connected, Outcome};
pub(crate) use self::encode::{write_present, write_published, write_reply};

/// What an `ok` carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The topics are no longer subscribed.
    Unsubscribed,
    /// Who the session is now.
    Connected {
        /// The session as others see it.
        member: Member,
        /// When its token expires, Unix milliseconds.
        expires_at: Option<u64>,
        /// How much it may ask for in a second from now on.
        rates: RequestRates,
    },
    /// One topic is subscribed.
    Subscribed(Subscribed),
    /// Several topics were asked for: the outcome of each, in the order of the request.
    SubscribedAll(Vec<Result<Subscribed, (Arc<str>, Failure)>>),
    /// The message is kept.
    Published(Published),
    /// What a plugin answered.
    Answered(Answered),
    /// Past messages.
    Past(Past),
    /// Who is present.
    Present(Present),
}

/// The outcome of one subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// The topic.
    pub topic: Arc<str>,
    /// Where the topic stands: whatever is published from now on comes behind it. None for a pattern.
    pub position: Option<Position>,
    /// Whether nothing was missed since the position the client gave; absent when it gave none.
    pub recovered: Option<bool>,
    /// Whether the past messages that follow are more than one page; absent when none were asked for.
    pub more: Option<bool>,
    /// Who is present, where that was asked for.
    pub present: Option<Present>,
}

/// The outcome of a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The message's position; none when a plugin swallowed it.
    pub position: Option<Position>,
    /// Whether this is what an earlier publish with the same key came to.
    pub duplicate: bool,
}

/// The outcome of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What the plugin answered.
    pub payload: Option<Payload>,
    /// Whether this is what an earlier call with the same key came to.
    pub duplicate: bool,
}

/// Some of a topic's past messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// In their order.
    pub messages: Vec<PastMessage>,
    /// Where the topic stands.
    pub position: Position,
    /// Whether more are kept in the direction that was asked for.
    pub more: bool,
}

/// One past message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastMessage {
    /// Its offset.
    pub offset: u64,
    /// When it got its offset, Unix milliseconds.
    pub time: u64,
    /// Who published it, where the topic rule reveals that.
    pub from: Option<Member>,
    /// What it carries.
    pub payload: Payload,
}

/// Who is present in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// How many.
    pub count: u64,
    /// Who, in the order in which they came; none where they are too many to be listed.
    pub members: Option<Vec<Member>>,
}
