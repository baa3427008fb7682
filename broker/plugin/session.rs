//! A session as the events of plugins carry it: its id and who it belongs to. It knows no connection.

use std::sync::Arc;

use crate::auth::identity::Identity;

/// A session in an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PluginSession {
    pub(crate) id: Arc<str>,
    /// Who it belongs to, shared with the session itself; none for an anonymous session.
    pub(crate) identity: Option<Arc<Identity>>,
}

impl PluginSession {
    /// A session without a user.
    #[cfg(test)]
    pub(crate) fn anonymous(id: impl Into<Arc<str>>) -> Self {
        Self { id: id.into(), identity: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_takes_no_more_memory_than_it_has_to() {
        // Every member of a topic of a plugin has one, and every event.
        assert_eq!(size_of::<PluginSession>(), 24);
    }
}
