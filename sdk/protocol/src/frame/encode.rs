//! Encodes a frame in either codec.

use super::{Frame, Member, Welcome};
use crate::Codec;
use crate::reply::{write_present, write_reply};
use crate::value::{json, msgpack};
use crate::writer::{
    Writer, write_failure, write_from, write_identity, write_member, write_payload, write_rates, write_session,
};

impl Frame<'_> {
    /// Appends the frame to `out`.
    pub fn encode(&self, codec: Codec, out: &mut Vec<u8>) {
        match codec {
            Codec::Json => self.write(&mut json::Writer::new(out)),
            Codec::MessagePack => self.write(&mut msgpack::Writer::new(out)),
        }
    }

    fn write(&self, out: &mut impl Writer) {
        out.map();
        match self {
            Self::Welcome(welcome) => write_welcome(out, welcome),
            Self::Ok { id, reply } => {
                out.text_field("type", "ok");
                out.number_field("id", *id);
                write_reply(out, reply);
            }
            Self::Error { id, failure } => {
                out.text_field("type", "error");
                if let Some(id) = id {
                    out.number_field("id", *id);
                }
                write_failure(out, failure);
            }
            Self::Pong { id, payload, time } => {
                out.text_field("type", "pong");
                if let Some(id) = id {
                    out.number_field("id", *id);
                }
                out.number_field("time", *time);
                if let Some(payload) = payload {
                    write_payload(out, payload);
                }
            }
            Self::Message { topic, offset, time, from, payload } => {
                out.text_field("type", "message");
                out.text_field("topic", topic);
                out.number_field("offset", *offset);
                out.number_field("time", *time);
                write_from(out, *from);
                write_payload(out, payload);
            }
            Self::Gap(gap) => {
                out.text_field("type", "gap");
                out.text_field("topic", &gap.topic);
                out.number_field("from", gap.from);
                out.number_field("to", gap.to);
                out.text_field("reason", gap.reason.as_str());
            }
            Self::Removed { topic, offset } => {
                out.text_field("type", "removed");
                out.text_field("topic", topic);
                out.number_field("offset", *offset);
            }
            Self::Join { topic, member } => write_passage(out, "join", topic, member),
            Self::Leave { topic, member } => write_passage(out, "leave", topic, member),
            Self::Presence { topic, present } => {
                out.text_field("type", "presence");
                out.text_field("topic", topic);
                write_present(out, present);
            }
            Self::Unsubscribed { topic, failure } => {
                out.text_field("type", "unsubscribed");
                out.text_field("topic", topic);
                write_failure(out, failure);
            }
            Self::TokenExpiring { expires_at } => {
                out.text_field("type", "token_expiring");
                out.number_field("expires_at", *expires_at);
            }
            Self::Closing(closing) => {
                out.text_field("type", "closing");
                out.number_field("code", closing.code.into());
                out.text_field("message", &closing.message);
                if let Some(retry_after_ms) = closing.retry_after_ms {
                    out.number_field("retry_after_ms", retry_after_ms);
                }
            }
        }
        out.end();
    }
}

fn write_welcome(out: &mut impl Writer, welcome: &Welcome<'_>) {
    out.text_field("type", "welcome");
    write_session(out, welcome.member);
    write_identity(out, welcome.member, welcome.expires_at);
    out.text_field("server", welcome.server);
    out.text_field("node", welcome.node);
    out.number_field("ping_ms", welcome.ping_ms);
    out.key("features");
    out.array();
    for feature in welcome.features {
        out.text(feature);
    }
    out.end();
    out.key("limits");
    out.map();
    out.number_field("message_bytes", welcome.limits.message_bytes as u64);
    out.number_field("subscriptions", welcome.limits.subscriptions as u64);
    out.number_field("outbox_bytes", welcome.limits.outbox_bytes as u64);
    write_rates(out, &welcome.limits.rates);
    out.end();
}

fn write_passage(out: &mut impl Writer, kind: &str, topic: &str, member: &Member) {
    out.text_field("type", kind);
    out.text_field("topic", topic);
    out.key("member");
    out.map();
    write_member(out, member);
    out.end();
}
