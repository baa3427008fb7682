//! Values of the broker and of the SDK, converted into each other. What a plugin returns is checked here.

use rialto_plugin::{Payload as GuestPayload, Session};
use rialto_protocol::Payload;
use rialto_protocol::value::ValueError;

use crate::plugin::{PluginSession, Protocol};

/// A session as a guest of this version of the protocol sees it.
pub(in crate::plugin) fn session_to_guest(session: &PluginSession, protocol: Protocol) -> Session {
    let guest = Session::new(&*session.id);
    let Some(identity) = session.identity.as_deref() else { return guest };
    let guest = guest.with_user(&*identity.user);
    if !protocol.has_roles() {
        return guest;
    }
    let guest = match &identity.roles {
        Some(roles) => guest.with_roles(roles.iter()),
        None => guest,
    };
    match identity.info() {
        Some(info) => guest.with_info(info_to_guest(info)),
        None => guest,
    }
}

/// What a token says of its user, as JSON, whatever it was written in.
fn info_to_guest(info: &Payload) -> GuestPayload {
    GuestPayload { encoding: rialto_plugin::Encoding::Json, content: info.to_json().to_vec() }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::auth::identity::{Identity, Roles, TokenDetails};

    #[test]
    fn only_the_versions_that_have_them_show_roles_and_info() {
        let roles = Roles::new(vec!["staff".into(), "admin".into()]).map(Arc::new);
        let info = Payload::json(&serde_json::json!({"name": "Ann"})).expect("JSON");
        let details = TokenDetails { id: None, info: Some(Arc::new(info)) };
        let identity = Identity::of_user("ann".into(), roles).with_details(details);
        let session = PluginSession { id: "s".into(), identity: Some(Arc::new(identity)) };
        let plain = Session::new("s").with_user("ann");
        let info = GuestPayload::json(&serde_json::json!({"name": "Ann"})).expect("JSON");
        let whole = plain.clone().with_roles(["admin", "staff"]).with_info(info);
        assert_eq!(session_to_guest(&session, Protocol::V1_0), plain);
        assert_eq!(session_to_guest(&session, Protocol::V1_1), whole);
        let anonymous = PluginSession::anonymous("t");
        for protocol in [Protocol::V1_0, Protocol::V1_1] {
            assert_eq!(session_to_guest(&anonymous, protocol), Session::new("t"));
        }
    }
}
