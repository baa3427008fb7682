//! Replies: what an `ok` carries, and how it is written in either codec.

use std::sync::Arc;

use crate::Payload;
use crate::frame::{Failure, Member, Position};
use crate::writer::{Writer, write_failure, write_from, write_member, write_payload, write_position, write_user};

/// What an `ok` carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The topics are no longer subscribed.
    Unsubscribed,
    /// Who the session is now.
    Connected(Member),
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

pub(crate) fn write_reply(out: &mut impl Writer, reply: &Reply) {
    match reply {
        Reply::Unsubscribed => {}
        Reply::Connected(member) => write_user(out, member),
        Reply::Subscribed(subscribed) => write_subscribed(out, subscribed),
        Reply::SubscribedAll(outcomes) => {
            out.key("topics");
            out.array();
            for outcome in outcomes {
                out.map();
                match outcome {
                    Ok(subscribed) => write_subscribed(out, subscribed),
                    Err((topic, failure)) => {
                        out.text_field("topic", topic);
                        out.key("error");
                        out.map();
                        write_failure(out, failure);
                        out.end();
                    }
                }
                out.end();
            }
            out.end();
        }
        Reply::Published(published) => write_published(out, published),
        Reply::Answered(Answered { payload, duplicate }) => {
            if let Some(payload) = payload {
                write_payload(out, payload);
            }
            write_flag(out, "duplicate", *duplicate);
        }
        Reply::Past(past) => write_past(out, past),
        Reply::Present(present) => write_present(out, present),
    }
}

fn write_subscribed(out: &mut impl Writer, subscribed: &Subscribed) {
    let Subscribed { topic, position, recovered, more, present } = subscribed;
    out.text_field("topic", topic);
    if let Some(position) = position {
        write_position(out, position);
    }
    for (name, flag) in [("recovered", recovered), ("more", more)] {
        if let Some(flag) = flag {
            out.key(name);
            out.bool(*flag);
        }
    }
    if let Some(present) = present {
        write_present(out, present);
    }
}

pub(crate) fn write_published(out: &mut impl Writer, Published { position, duplicate }: &Published) {
    if let Some(position) = position {
        write_position(out, position);
    }
    write_flag(out, "duplicate", *duplicate);
}

fn write_past(out: &mut impl Writer, past: &Past) {
    out.key("messages");
    out.array();
    for PastMessage { offset, time, from, payload } in &past.messages {
        out.map();
        out.number_field("offset", *offset);
        out.number_field("time", *time);
        write_from(out, from.as_ref());
        write_payload(out, payload);
        out.end();
    }
    out.end();
    write_position(out, &past.position);
    out.key("more");
    out.bool(past.more);
}

pub(crate) fn write_present(out: &mut impl Writer, present: &Present) {
    out.number_field("count", present.count);
    if let Some(members) = &present.members {
        out.key("members");
        out.array();
        for member in members {
            out.map();
            write_member(out, member);
            out.end();
        }
        out.end();
    }
}

/// Only where it is true: most replies are no duplicates.
fn write_flag(out: &mut impl Writer, name: &str, flag: bool) {
    if flag {
        out.key(name);
        out.bool(true);
    }
}
