//! Encodes a reply in either codec.

use super::{Answered, Past, PastMessage, Present, Published, Reply, Subscribed};
use crate::writer::{
    Writer, write_failure, write_from, write_identity, write_member, write_payload, write_position, write_rates,
    write_user,
};

pub(crate) fn write_reply(out: &mut impl Writer, reply: &Reply) {
    match reply {
        Reply::Unsubscribed => {}
        Reply::Connected { member, expires_at, rates } => {
            write_user(out, member);
            write_identity(out, member, *expires_at);
            write_rates(out, rates);
        }
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
