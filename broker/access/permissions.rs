//! What topic rules allow a session: one function of its identity, the rule and the topic. Patterns are up to `scopes`.

use crate::auth::identity::{Identity, TokenGrants};
use crate::config::{Access, Permission, Placeholder};
use crate::topic::{Pattern, Topic, is_token_of};

/// What a session wants to do with a topic that rules allow or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    Subscribe,
    Publish,
    Call,
    History,
    Presence,
}

impl Privilege {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::Subscribe, Self::Publish, Self::Call, Self::History, Self::Presence];

    /// As it is named in a configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Call => "call",
            Self::History => "history",
            Self::Presence => "presence",
        }
    }

    /// What a rule says of it.
    pub(crate) fn permission(self, access: &Access) -> &Permission {
        match self {
            Self::Subscribe => &access.subscribe,
            Self::Publish => &access.publish,
            Self::Call => &access.call,
            Self::History => &access.history,
            Self::Presence => &access.presence,
        }
    }

    /// What a token lists for it.
    pub(crate) fn granted(self, grants: &TokenGrants) -> &[Pattern] {
        match self {
            Self::Subscribe => &grants.subscribe,
            Self::Publish => &grants.publish,
            Self::Call => &grants.call,
            Self::History => &grants.history,
            Self::Presence => &grants.presence,
        }
    }
}

/// Whether the rule of a topic allows a session with this identity, or none, what it wants.
pub(crate) fn permits(identity: Option<&Identity>, privilege: Privilege, access: &Access, topic: &Topic) -> bool {
    let permission = privilege.permission(access);
    if permission.anyone && access.placeholders.is_empty() {
        return true;
    }
    let is_granted = || {
        let grants = identity.and_then(|identity| identity.grants.as_ref());
        grants.is_some_and(|grants| TokenGrants::select(privilege.granted(grants), topic))
    };
    (is_named(identity, permission) && is_own(identity, access, topic)) || (permission.token && is_granted())
}

/// Whether a permission is for a session, whatever the topic.
pub(super) fn is_named(identity: Option<&Identity>, permission: &Permission) -> bool {
    let is_user = || {
        identity.is_some_and(|identity| permission.user || permission.roles.iter().any(|role| identity.has_role(role)))
    };
    permission.anyone || is_user()
}

/// Whether the tokens of a topic that stand for a user or a role are the session's own.
pub(super) fn is_own(identity: Option<&Identity>, access: &Access, topic: &Topic) -> bool {
    access.placeholders.iter().all(|(index, placeholder)| {
        let (Some(token), Some(identity)) = (topic.as_str().split('.').nth(*index), identity) else { return false };
        match placeholder {
            Placeholder::User => is_token_of(token, &identity.user),
            Placeholder::Role => {
                identity.roles.as_ref().is_some_and(|roles| roles.iter().any(|role| is_token_of(token, role)))
            }
        }
    })
}
