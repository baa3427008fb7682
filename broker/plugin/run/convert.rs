//! Values of the broker, of the SDK and of the WIT's bindings, turned into each other. What a guest gives is checked here.

use rialto_plugin::{Encoding as GuestEncoding, Error, Payload as GuestPayload, Raw, Refusal, Session, Verdict};
use rialto_protocol::value::ValueError;
use rialto_protocol::{Encoding, Member, Payload};

use super::imports::bindings::rialto::plugin::types;

/// A session as a guest sees it.
pub(in crate::plugin) fn session_to_guest(member: &Member) -> Session {
    Session { id: member.session.to_string(), user: member.user.as_ref().map(ToString::to_string) }
}

/// A payload for a guest.
pub(in crate::plugin) fn payload_to_guest(payload: &Payload) -> GuestPayload {
    let encoding = match payload.encoding() {
        Encoding::Json => GuestEncoding::Json,
        Encoding::MessagePack => GuestEncoding::Msgpack,
        Encoding::Bytes => GuestEncoding::Bytes,
    };
    GuestPayload { encoding, content: payload.content().to_vec() }
}

/// A payload from a guest.
///
/// # Errors
/// When it is not one value that the protocol carries.
pub(in crate::plugin) fn payload_from_guest(payload: GuestPayload) -> Result<Payload, ValueError> {
    let encoding = match payload.encoding {
        GuestEncoding::Json => Encoding::Json,
        GuestEncoding::Msgpack => Encoding::MessagePack,
        GuestEncoding::Bytes => Encoding::Bytes,
    };
    Payload::new(encoding, payload.content)
}

impl From<Session> for types::Session {
    fn from(session: Session) -> Self {
        Self { id: session.id, user: session.user }
    }
}

impl From<types::Payload> for GuestPayload {
    fn from(payload: types::Payload) -> Self {
        let encoding = match payload.encoding {
            types::Encoding::Json => GuestEncoding::Json,
            types::Encoding::Msgpack => GuestEncoding::Msgpack,
            types::Encoding::Bytes => GuestEncoding::Bytes,
        };
        Self { encoding, content: payload.content }
    }
}

impl From<GuestPayload> for types::Payload {
    fn from(payload: GuestPayload) -> Self {
        let encoding = match payload.encoding {
            GuestEncoding::Json => types::Encoding::Json,
            GuestEncoding::Msgpack => types::Encoding::Msgpack,
            GuestEncoding::Bytes => types::Encoding::Bytes,
        };
        Self { encoding, content: payload.content }
    }
}

impl From<types::Raw> for Raw {
    fn from(message: types::Raw) -> Self {
        match message {
            types::Raw::Text(text) => Self::Text(text),
            types::Raw::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

impl From<Raw> for types::Raw {
    fn from(message: Raw) -> Self {
        match message {
            Raw::Text(text) => Self::Text(text),
            Raw::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

impl From<Refusal> for types::Refusal {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Forbidden(text) => Self::Forbidden(text),
            Refusal::Invalid(text) => Self::Invalid(text),
            Refusal::Limit(text) => Self::Limit(text),
        }
    }
}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        match error {
            types::Error::Failed(text) => Self::Failed(text),
            types::Error::Rejected(types::Rejection { reason, detail }) => {
                Self::Rejected { reason, detail: detail.map(Into::into) }
            }
        }
    }
}

impl From<types::Verdict> for Verdict {
    fn from(verdict: types::Verdict) -> Self {
        match verdict {
            types::Verdict::Accept => Self::Accept,
            types::Verdict::Replace(payload) => Self::Replace(payload.into()),
            types::Verdict::Swallow => Self::Swallow,
        }
    }
}
