//! Writes the parts that frames have in common, in either codec. It knows no frame.

use crate::frame::{Failure, Member, Position, RequestRates};
use crate::topic::token_of;
use crate::value::{Sink, json, msgpack};
use crate::{Encoding, Payload};

/// What frames need beyond single values.
pub(crate) trait Writer: Sink {
    /// Writes a payload: as it is where it is in this codec already.
    fn payload(&mut self, payload: &Payload);

    fn text_field(&mut self, key: &str, value: &str) {
        self.key(key);
        self.text(value);
    }

    fn number_field(&mut self, key: &str, value: u64) {
        self.key(key);
        self.unsigned(value);
    }
}

impl Writer for json::Writer<'_> {
    fn payload(&mut self, payload: &Payload) {
        match payload.encoding() {
            Encoding::Json => self.raw(payload.content()),
            Encoding::MessagePack | Encoding::Bytes => payload.tell(self),
        }
    }
}

impl Writer for msgpack::Writer<'_> {
    fn payload(&mut self, payload: &Payload) {
        match payload.encoding() {
            Encoding::MessagePack => self.raw(payload.content()),
            Encoding::Json | Encoding::Bytes => payload.tell(self),
        }
    }
}

/// A member as presence shows it.
pub(crate) fn write_member(out: &mut impl Writer, member: &Member) {
    write_session(out, member);
    write_info(out, member);
}

pub(crate) fn write_session(out: &mut impl Writer, member: &Member) {
    out.text_field("session", &member.session);
    write_user(out, member);
}

pub(crate) fn write_user(out: &mut impl Writer, member: &Member) {
    out.key("user");
    match &member.user {
        Some(user) => out.text(user),
        None => out.null(),
    }
}

/// What a session itself is sent about its user, beyond the name.
pub(crate) fn write_identity(out: &mut impl Writer, member: &Member, expires_at: Option<u64>) {
    if let Some(user) = &member.user {
        out.text_field("user_token", &token_of(user));
    }
    write_info(out, member);
    if let Some(expires_at) = expires_at {
        out.number_field("expires_at", expires_at);
    }
}

fn write_info(out: &mut impl Writer, member: &Member) {
    if let Some(info) = &member.info {
        out.key("info");
        out.payload(info);
    }
}

/// How much a session may ask for in a second, where anything is limited.
pub(crate) fn write_rates(out: &mut impl Writer, rates: &RequestRates) {
    if *rates == RequestRates::NONE {
        return;
    }
    let RequestRates { publishes, bytes, subscribes, calls } = *rates;
    out.key("rates");
    out.map();
    for (name, rate) in [("publishes", publishes), ("bytes", bytes), ("subscribes", subscribes), ("calls", calls)] {
        if let Some(rate) = rate {
            out.number_field(name, rate.into());
        }
    }
    out.end();
}

pub(crate) fn write_position(out: &mut impl Writer, position: &Position) {
    out.key("position");
    out.map();
    out.text_field("epoch", &position.epoch);
    out.number_field("offset", position.offset);
    out.end();
}

pub(crate) fn write_failure(out: &mut impl Writer, failure: &Failure) {
    out.text_field("code", failure.code.as_str());
    out.text_field("message", &failure.message);
    if let Some(retry_after_ms) = failure.retry_after_ms {
        out.number_field("retry_after_ms", retry_after_ms);
    }
    if let Some(detail) = &failure.detail {
        out.key("detail");
        out.payload(detail);
    }
}

pub(crate) fn write_payload(out: &mut impl Writer, payload: &Payload) {
    out.key(payload.field());
    out.payload(payload);
}

/// Who published a message, where that is told.
pub(crate) fn write_from(out: &mut impl Writer, from: Option<&Member>) {
    if let Some(member) = from {
        out.key("from");
        out.map();
        write_session(out, member);
        out.end();
    }
}
