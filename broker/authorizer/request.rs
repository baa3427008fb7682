//! What a program that embeds the broker is asked, and what it answers. Plain data.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::identity::Identity;
use crate::auth::identity::Roles;
use crate::topic::{Pattern, Topic};

/// A client that wants to become a session: its handshake, or its request for a stream or a poll.
#[derive(Clone)]
pub struct ConnectRequest {
    path: String,
    query: Option<String>,
    headers: Vec<(Box<str>, Box<[u8]>)>,
    address: IpAddr,
    identity: Option<Identity>,
}

/// Whether a client becomes a session, and whose.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Admission {
    /// It may, and belongs to whom its token says, or to nobody.
    Unknown,
    /// It may, and belongs to this identity, whatever its token says.
    Allow(Identity),
    /// It may not, for this reason, which is in the response: its request is answered with 403.
    Refuse(String),
}

/// What a session wants to do, of which the program that embeds the broker decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRequest {
    requester: Requester,
    action: AccessAction,
}

/// The session that requests something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Requester {
    pub(crate) session: Arc<str>,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) roles: Option<Arc<Roles>>,
    pub(crate) address: Option<IpAddr>,
}

/// What a session wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessAction {
    /// Receive the messages of a topic.
    Subscribe {
        /// The topic.
        topic: Topic,
    },
    /// Receive the messages of all topics that a pattern selects. Their topics are not asked for one by one.
    SubscribePattern {
        /// The pattern.
        pattern: Pattern,
    },
    /// Send a message to a topic.
    Publish {
        /// The topic.
        topic: Topic,
    },
    /// Call the plugin that owns a topic.
    Call {
        /// The topic.
        topic: Topic,
        /// The method.
        method: String,
    },
    /// Call a plugin by its name.
    CallPlugin {
        /// The name.
        plugin: String,
        /// The method.
        method: String,
    },
    /// Read the past messages of a topic: by `history`, or by a subscribe with `since` or `last`.
    History {
        /// The topic.
        topic: Topic,
    },
    /// See who is in a topic: by `presence`, or by a subscribe with it.
    Presence {
        /// The topic.
        topic: Topic,
    },
    /// Belong to the user of the request from now on, who has proved it by a request `connect`.
    SignIn,
}

/// Whether a session may do what it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// The program has no opinion: topic rules decide alone.
    Unknown,
    /// It may, if topic rules allow it too.
    Allow,
    /// It may not, for this reason, which is in the response: `forbidden`.
    Refuse(String),
}

impl ConnectRequest {
    pub(crate) fn new<'h>(
        (path, query): (&str, Option<&str>),
        headers: impl Iterator<Item = (&'h str, &'h [u8])>,
        address: IpAddr,
        identity: Option<Identity>,
    ) -> Self {
        let headers = headers.map(|(name, value)| (name.into(), value.into())).collect();
        Self { path: path.to_owned(), query: query.map(str::to_owned), headers, address, identity }
    }

    /// The path of the request: `/ws`, `/sse`, `/poll`, or that of a raw endpoint.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query of the request, as it was sent. It may have a token in it.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The first header of this name, in any case; none where there is none, or it is not text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// All headers in their order, with names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The address of the client, behind trusted proxies too.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Who the client is by a token that was verified; none where it sent none.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }
}

/// Without the query and the headers, which have secrets.
impl fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, address, identity, .. } = self;
        let mut shown = f.debug_struct("ConnectRequest");
        shown.field("path", path).field("address", address).field("identity", identity).finish_non_exhaustive()
    }
}

impl AccessRequest {
    pub(crate) fn new(requester: &Requester, action: AccessAction) -> Self {
        Self { requester: requester.clone(), action }
    }

    /// What the session wants to do.
    #[must_use]
    pub fn action(&self) -> &AccessAction {
        &self.action
    }

    /// The id of the session.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.requester.session
    }

    /// The user that the session belongs to; none for an anonymous one.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.requester.user.as_deref()
    }

    /// The roles of that user, sorted.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.requester.roles.iter().flat_map(|roles| roles.iter())
    }

    /// Whether that user has a role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.requester.roles.as_ref().is_some_and(|roles| roles.has(role))
    }

    /// The address of the client; none where a program that handed over the connection did not say it.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.requester.address
    }

    pub(crate) fn into_action(self) -> AccessAction {
        self.action
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_in_any_case_and_are_not_shown() {
        let headers = [("cookie", &b"id=hush"[..]), ("x-text", b"one"), ("x-text", b"two"), ("x-bytes", b"\xff")];
        let address = IpAddr::from([192, 0, 2, 1]);
        let request = ConnectRequest::new(("/ws", Some("token=hush")), headers.into_iter(), address, None);
        assert_eq!((request.path(), request.query(), request.address()), ("/ws", Some("token=hush"), address));
        assert_eq!((request.header("Cookie"), request.header("X-TEXT")), (Some("id=hush"), Some("one")));
        assert_eq!((request.header("x-bytes"), request.header("host")), (None, None));
        assert!(request.headers().eq(headers));
        let shown = format!("{request:?}");
        assert!(shown.contains("/ws") && !shown.contains("hush"), "{shown}");
    }
}
