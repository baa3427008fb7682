//! Sharing a limit: how much of it one client may have, so that few clients cannot take all of it.
//!
//! A plugin that keeps something for its clients counts it twice: for all and for each [`Client`]. As long as the limit is
//! far, nobody is restricted; when it is near, [`share`] says how much a client may have:
//!
//! ```
//! use rialto_plugin::shares::{Client, share};
//! # let session = rialto_plugin::Session::new("s1");
//! # let (held, taken) = (5, 990);
//! // `held` is what is kept for this client, a number in the plugin's state.
//! let client = Client::of(&session);
//! if held >= share(1000, taken, 16) {
//!     // Reject, and say that this client has its share.
//! }
//! # assert_eq!(client.as_str(), "session s1");
//! ```

use crate::Session;
use serde::{Deserialize, Serialize};

/// Longest user name that is distinguished, in bytes: longer ones that begin alike are one client.
const USER_BYTES_MAX: usize = 255;

/// For whom something is counted: the user of a session, or the session itself where it has none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Client(String);

impl Client {
    /// The client of a session. All sessions of a user are one client.
    pub fn of(session: &Session) -> Self {
        Self(match &session.user {
            Some(user) => format!("user {}", &user[..user.floor_char_boundary(USER_BYTES_MAX)]),
            None => format!("session {}", session.id),
        })
    }

    /// The client as a key of a plugin's state, of at most 260 bytes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The most that one client may have of `limit` while `taken` of it are taken by all. Up to three quarters everything is
/// free for each. Then a client gets one more only while it has less than one of `parts` equal parts of what is free, and
/// always one: the share shrinks with what is free, so that it takes many clients to leave nothing for the next. The more
/// parts, the more clients.
pub fn share(limit: u64, taken: u64, parts: u64) -> u64 {
    match taken.saturating_mul(4) < limit.saturating_mul(3) {
        true => limit,
        false => (limit.saturating_sub(taken) / parts.max(1)).max(1),
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

    #[test]
    fn three_quarters_are_free_for_each() {
        let table = [
            (50_000, 0, 1000, 50_000),
            (50_000, 37_499, 1000, 50_000),
            (50_000, 37_500, 1000, 12),
            (50_000, 38_001, 1000, 11),
            (50_000, 49_999, 1000, 1),
            (50_000, 50_000, 1000, 1),
            (300, 224, 16, 300),
            (300, 225, 16, 4),
            (300, 252, 16, 3),
            (300, 299, 16, 1),
            (2, 1, 16, 2),
            (1, 0, 16, 1),
            (300, 240, 0, 60),
            (u64::MAX, u64::MAX, 16, 1),
        ];
        for (limit, taken, parts, expected) in table {
            assert_eq!(share(limit, taken, parts), expected, "{taken} of {limit} in {parts} parts");
        }
    }

    /// Each takes all that it may, one after the other, and at most so many as there are places to have one in.
    #[test]
    fn it_takes_many_clients_to_leave_nothing() {
        for (limit, parts, most, expected) in [(300, 16, 300, 49), (50_000, 1000, 1000, 4100)] {
            let (mut taken, mut clients) = (0, 0);
            while taken < limit {
                let mut has = 0;
                while taken < limit && has < share(limit, taken, parts).min(most) {
                    (has, taken) = (has + 1, taken + 1);
                }
                clients += 1;
            }
            assert_eq!(clients, expected, "{limit} in {parts} parts");
        }
    }
}
