//! For whom a name counts: the user of a session, or the session itself where it has none.

use rialto_plugin::prelude::*;

/// Longest user name that is told apart, in bytes: longer ones that begin alike are one client.
const USER_BYTES_MAX: usize = 255;

/// A client, as a key of the plugin's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client(String);

impl Client {
    pub(crate) fn of(session: &Session) -> Self {
        Self(match &session.user {
            Some(user) => format!("user {}", &user[..user.floor_char_boundary(USER_BYTES_MAX)]),
            None => format!("session {}", session.id),
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sessions_of_a_user_are_one_client() {
        let of = |id: &str, user: Option<&str>| {
            let session = Session::new(id);
            Client::of(&user.map_or(session.clone(), |user| session.with_user(user)))
        };
        assert_eq!(of("s1", Some("ada")), of("s2", Some("ada")));
        assert_ne!(of("s1", None), of("s2", None));
        assert_ne!(of("ada", None), of("s1", Some("ada")));
        assert_eq!(of("s1", Some(&"é".repeat(1000))).as_str().len(), "user ".len() + 254);
    }
}
