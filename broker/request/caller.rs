//! Callers: who makes a request to the broker. It knows no socket, and decides nothing: what a caller may do is up to
//! `access`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rialto_protocol::Member;

use crate::auth::identity::Identity;
use crate::config::ApiKey;
use crate::identity::SessionKey;
use crate::plugin::PluginSession;
use crate::shares::Holder;
use crate::shares::network::Network;
use crate::store::KeyOwner;
use crate::topic::Topic;

/// Who makes a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Caller<'c> {
    /// A connected client.
    Session(&'c CallerSession),
    /// A program that uses the HTTP API with this key.
    Program(&'c ApiKey),
    /// A plugin, in a hook that is `hops` publishes of plugins away from the request that began it.
    #[cfg_attr(not(feature = "plugins"), allow(dead_code, reason = "no plugin makes requests"))]
    Plugin { name: &'c Arc<str>, hops: u8 },
    /// The program that embeds the broker.
    Embedder,
}

impl<'c> Caller<'c> {
    /// The kind of caller, for error messages.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Session(_) => "a session",
            Self::Program(_) => "a program",
            Self::Plugin { .. } => "a plugin",
            Self::Embedder => "the embedding program",
        }
    }

    /// The session that makes the request, if it is one.
    pub(crate) fn session(self) -> Option<&'c CallerSession> {
        match self {
            Self::Session(session) => Some(session),
            Self::Program(_) | Self::Plugin { .. } | Self::Embedder => None,
        }
    }

    /// The session as others see it: subscribers, where messages reveal their publisher.
    pub(crate) fn member(self) -> Option<&'c Member> {
        self.session().map(|session| &session.member)
    }

    /// How many publishes of plugins led to the request.
    #[cfg_attr(not(feature = "plugins"), allow(dead_code, reason = "no hook is called"))]
    pub(crate) fn hops(self) -> u8 {
        match self {
            Self::Plugin { hops, .. } => hops,
            Self::Session(_) | Self::Program(_) | Self::Embedder => 0,
        }
    }

    /// Whose share of bounded places it uses.
    pub(crate) fn holder(self) -> Holder {
        self.session().map_or(Holder::Trusted, CallerSession::holder)
    }

    /// Whose idempotency keys its requests carry.
    pub(crate) fn key_owner(self) -> KeyOwner {
        match self {
            Self::Session(session) => session.key_owner(),
            Self::Program(key) => KeyOwner::Program(key.name.as_str().into()),
            Self::Plugin { name, .. } => KeyOwner::Plugin(Arc::clone(name)),
            Self::Embedder => KeyOwner::Embedder,
        }
    }
}

/// A session that makes requests.
#[derive(Clone, Debug)]
pub(crate) struct CallerSession {
    pub(crate) key: SessionKey,
    pub(crate) member: Member,
    belongs_to: SessionOwner,
    /// The network that it comes from; none for one to which limits per address do not apply.
    pub(crate) network: Option<Network>,
    /// The topics to which plugins have subscribed it without a request.
    pub(crate) assigned: Arc<AssignedTopics>,
}

/// Who a session belongs to, as far as that is known.
#[derive(Clone, Debug, Default)]
enum SessionOwner {
    #[default]
    Nobody,
    /// The client that made up this secret, by which a later session of it is known.
    Instance(Arc<Box<str>>),
    /// A user.
    User(Arc<Identity>),
}

/// The topics to which plugins have subscribed a session.
#[derive(Debug, Default)]
pub(crate) struct AssignedTopics {
    topics: Mutex<AssignedList>,
}

#[derive(Debug, Default)]
struct AssignedList {
    // Boxed, because most sessions have none.
    #[allow(clippy::box_collection, reason = "a list in place would take 16 bytes more of every session")]
    list: Option<Box<Vec<Topic>>>,
    ended: bool,
}

impl CallerSession {
    pub(crate) fn new(key: SessionKey, member: Member, network: Option<Network>) -> Self {
        Self { key, member, belongs_to: SessionOwner::Nobody, network, assigned: Arc::default() }
    }

    /// Who it belongs to; none for an anonymous session.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        match &self.belongs_to {
            SessionOwner::User(identity) => Some(identity),
            SessionOwner::Nobody | SessionOwner::Instance(_) => None,
        }
    }

    /// The session as the events of plugins carry it.
    pub(crate) fn for_plugins(&self) -> PluginSession {
        let identity = match &self.belongs_to {
            SessionOwner::User(identity) => Some(Arc::clone(identity)),
            SessionOwner::Nobody | SessionOwner::Instance(_) => None,
        };
        PluginSession { id: Arc::clone(&self.member.session), identity }
    }

    /// It belongs to this user from now on.
    pub(crate) fn set_identity(&mut self, identity: Arc<Identity>) {
        self.member.user = Some(Arc::clone(&identity.user));
        self.member.info = identity.info().cloned();
        self.belongs_to = SessionOwner::User(identity);
    }

    /// The secret that its client made up, by which a later session of it is known; none where it has a user.
    pub(crate) fn instance(&self) -> Option<&str> {
        match &self.belongs_to {
            SessionOwner::Instance(instance) => Some(instance),
            SessionOwner::Nobody | SessionOwner::User(_) => None,
        }
    }

    /// Sets that secret. It means nothing where there is a user.
    pub(crate) fn set_instance(&mut self, instance: &str) {
        if matches!(self.belongs_to, SessionOwner::Nobody) {
            self.belongs_to = SessionOwner::Instance(Arc::new(instance.into()));
        }
    }

    /// Whose share of bounded places it uses.
    pub(crate) fn holder(&self) -> Holder {
        match (&self.member.user, self.network) {
            (Some(user), _) => Holder::User(Arc::clone(user)),
            (None, Some(network)) => Holder::Network(network),
            (None, None) => Holder::Session(Arc::clone(&self.member.session)),
        }
    }

    /// Nobody else may learn by a key what this session did, or keep it from using the key.
    fn key_owner(&self) -> KeyOwner {
        match (&self.member.user, self.instance()) {
            (Some(user), _) => KeyOwner::User(Arc::clone(user)),
            (None, Some(instance)) => KeyOwner::Instance(instance.into()),
            (None, None) => KeyOwner::Session(Arc::clone(&self.member.session)),
        }
    }
}

impl AssignedTopics {
    /// Adds a topic, unless the session has ended or `most` topics are there. Returns whether the topic is there now.
    pub(crate) fn add(&self, topic: &Topic, most: usize) -> bool {
        let mut topics = self.lock();
        let ended = topics.ended;
        let list = topics.list.get_or_insert_default();
        if ended || (list.len() >= most && !list.contains(topic)) {
            return false;
        }
        if !list.contains(topic) {
            list.push(topic.clone());
        }
        true
    }

    /// Removes a topic. Returns whether it was there.
    pub(crate) fn remove(&self, topic: &Topic) -> bool {
        let mut topics = self.lock();
        let Some(list) = topics.list.as_mut() else { return false };
        let before = list.len();
        list.retain(|assigned| assigned != topic);
        list.len() < before
    }

    /// Whether a plugin has subscribed the session to this topic.
    pub(crate) fn has(&self, topic: &Topic) -> bool {
        self.lock().list.as_ref().is_some_and(|list| list.contains(topic))
    }

    /// The topics.
    pub(crate) fn topics(&self) -> Vec<Topic> {
        self.lock().list.as_ref().map_or_else(Vec::new, |list| Vec::clone(list))
    }

    /// How many topics there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().list.as_ref().map_or(0, |list| list.len())
    }

    /// Whether the session has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Marks the session as ended, so that no topic is added any more. Returns the topics.
    pub(crate) fn end(&self) -> Vec<Topic> {
        let mut topics = self.lock();
        topics.ended = true;
        topics.list.take().map_or_else(Vec::new, |list| *list)
    }

    fn lock(&self) -> MutexGuard<'_, AssignedList> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::Payload;

    use super::*;
    use crate::auth::identity::TokenDetails;

    #[test]
    fn a_session_takes_no_more_memory_than_it_has_to() {
        // Every session has one, most of them without a user.
        assert_eq!(size_of::<CallerSession>(), 96);
    }

    #[test]
    fn another_identity_replaces_what_others_see() {
        let key = SessionKey { shard: 0, slot: 0, serial: 0 };
        let mut caller = CallerSession::new(key, Member::anonymous("s"), None);
        let info = |text: &str| Some(Arc::new(Payload::json(text).expect("a text")));
        for shown in [info("first"), info("second"), None] {
            let identity = Identity::of_user("ann".into(), None);
            caller.set_identity(Arc::new(identity.with_details(TokenDetails { id: None, info: shown.clone() })));
            assert_eq!((caller.member.user.as_deref(), &caller.member.info), (Some("ann"), &shown));
            let identity = caller.for_plugins().identity.expect("it has a user");
            assert_eq!((&*identity.user, identity.info()), ("ann", shown.as_ref()));
        }
    }

    #[test]
    fn a_session_that_has_ended_is_assigned_no_topic() {
        let assigned = AssignedTopics::default();
        let (a, b) = (Topic::parse("a").expect("a topic"), Topic::parse("b").expect("a topic"));
        assert!(assigned.add(&a, 1) && assigned.add(&a, 1) && !assigned.add(&b, 1) && assigned.has(&a));
        assert!(assigned.remove(&a) && !assigned.remove(&a) && assigned.len() == 0);
        assert!(assigned.add(&b, 1));
        assert_eq!(assigned.end(), [b]);
        assert!(assigned.has_ended() && !assigned.add(&a, 1) && assigned.end().is_empty());
    }
}
