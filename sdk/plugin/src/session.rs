//! A connected client as the broker knows it.

/// A connected client. A client cannot choose or change either field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// Unique among all sessions of this broker, printable ASCII, never reused.
    pub id: String,
    /// Who the session authenticated as; `None` for an anonymous session.
    pub user: Option<String>,
}

impl Session {
    /// An anonymous session, for tests and native hosts.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), user: None }
    }

    /// The same session, authenticated as `user`.
    #[must_use]
    pub fn with_user(self, user: impl Into<String>) -> Self {
        Self { user: Some(user.into()), ..self }
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
