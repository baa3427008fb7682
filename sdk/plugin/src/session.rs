//! A connected client as the broker knows it.

#[cfg(any(not(target_arch = "wasm32"), feature = "v1_1"))]
use crate::payload::Payload;

/// A connected client. A client cannot choose or change any field.
///
/// Version 1.0 of the plugin protocol has neither roles nor `info`: a component that uses them is built with the feature
/// `v1_1`, and does not compile without it. Natively they are always there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Session {
    /// Unique among all sessions of this broker, printable ASCII, never reused.
    pub id: String,
    /// Who the session authenticated as; `None` for an anonymous session.
    pub user: Option<String>,
    /// The roles of the user, each once and in byte order; none for an anonymous session.
    #[cfg(any(not(target_arch = "wasm32"), feature = "v1_1"))]
    pub roles: Vec<String>,
    /// What the user's token says of the user for others to see, its claim `info`, as JSON.
    #[cfg(any(not(target_arch = "wasm32"), feature = "v1_1"))]
    pub info: Option<Payload>,
}

impl Session {
    /// An anonymous session, for tests and native hosts.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            user: None,
            #[cfg(any(not(target_arch = "wasm32"), feature = "v1_1"))]
            roles: Vec::new(),
            #[cfg(any(not(target_arch = "wasm32"), feature = "v1_1"))]
            info: None,
        }
    }

    /// The same session, authenticated as `user`.
    #[must_use]
    pub fn with_user(self, user: impl Into<String>) -> Self {
        Self { user: Some(user.into()), ..self }
    }
}

#[cfg(any(not(target_arch = "wasm32"), feature = "v1_1"))]
impl Session {
    /// The same session with these roles of its user.
    #[must_use]
    pub fn with_roles(self, roles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut roles: Vec<String> = roles.into_iter().map(Into::into).collect();
        roles.sort_unstable();
        roles.dedup();
        Self { roles, ..self }
    }

    /// The same session with what its token says of its user.
    #[must_use]
    pub fn with_info(self, info: Payload) -> Self {
        Self { info: Some(info), ..self }
    }

    /// Whether its user has this role.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|one| one == role)
    }
}

impl From<&str> for Session {
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

impl From<&Session> for Session {
    fn from(session: &Session) -> Self {
        session.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_each_once_and_in_order() {
        let session = Session::new("s").with_user("ann").with_roles(["staff", "admin", "staff"]);
        assert_eq!(session.roles, ["admin", "staff"]);
        assert!(session.has_role("admin") && session.has_role("staff") && !session.has_role("adm"));
        assert!(!Session::new("s").has_role(""));
    }
}
