//! Values of the broker and of the plugin protocol, turned into each other. What a guest gives is checked here.

use rialto_protocol::value::ValueError;
use rialto_protocol::{Encoding, Member, Payload};

use super::imports::bindings::rialto::plugin::types;

/// A session as a guest sees it.
pub(super) fn session(member: &Member) -> types::Session {
    types::Session { id: member.session.to_string(), user: member.user.as_ref().map(ToString::to_string) }
}

/// A payload for a guest.
pub(super) fn payload_to_guest(payload: &Payload) -> types::Payload {
    let encoding = match payload.encoding() {
        Encoding::Json => types::Encoding::Json,
        Encoding::MessagePack => types::Encoding::Msgpack,
        Encoding::Bytes => types::Encoding::Bytes,
    };
    types::Payload { encoding, content: payload.content().to_vec() }
}

/// A payload from a guest.
///
/// # Errors
/// When it is not one value that the protocol carries.
pub(super) fn payload_from_guest(payload: types::Payload) -> Result<Payload, ValueError> {
    let encoding = match payload.encoding {
        types::Encoding::Json => Encoding::Json,
        types::Encoding::Msgpack => Encoding::MessagePack,
        types::Encoding::Bytes => Encoding::Bytes,
    };
    Payload::new(encoding, payload.content)
}
