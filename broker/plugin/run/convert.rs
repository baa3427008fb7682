//! Values of the broker and of the SDK, converted into each other. What a plugin returns is checked here.

use rialto_plugin::{Payload as GuestPayload, Session};
use rialto_protocol::value::ValueError;
use rialto_protocol::{Member, Payload};

/// A session as a guest sees it.
pub(in crate::plugin) fn session_to_guest(member: &Member) -> Session {
    Session { id: member.session.to_string(), user: member.user.as_ref().map(ToString::to_string) }
}

/// A payload for a guest.
pub(in crate::plugin) fn payload_to_guest(payload: &Payload) -> GuestPayload {
    payload.into()
}

/// A payload from a guest.
///
/// # Errors
/// When it is not one value that the protocol carries.
pub(in crate::plugin) fn payload_from_guest(payload: GuestPayload) -> Result<Payload, ValueError> {
    payload.try_into()
}
