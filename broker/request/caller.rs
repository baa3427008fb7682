//! Who subscribes, publishes or calls, as the broker knows it. It knows no socket.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rialto_protocol::Member;

use crate::identity::SessionKey;
use crate::topic::Topic;

/// A session that asks for something.
#[derive(Clone, Debug)]
pub(crate) struct CallerSession {
    pub(crate) key: SessionKey,
    pub(crate) member: Member,
    /// The topics into which plugins have brought it, which it has not asked for.
    pub(crate) assigned: Arc<AssignedTopics>,
}

/// The topics into which a session was brought.
#[derive(Debug, Default)]
pub(crate) struct AssignedTopics {
    topics: Mutex<AssignedList>,
}

#[derive(Debug, Default)]
struct AssignedList {
    // In a box, because most sessions are brought nowhere.
    #[allow(clippy::box_collection, reason = "a list in place would take 16 bytes more of every session")]
    list: Option<Box<Vec<Topic>>>,
    over: bool,
}

impl CallerSession {
    pub(crate) fn new(key: SessionKey, member: Member) -> Self {
        Self { key, member, assigned: Arc::default() }
    }
}

impl AssignedTopics {
    /// Notes a topic, unless the session is over or was brought into so many. Whether it was noted, or was there.
    pub(crate) fn add(&self, topic: &Topic, most: usize) -> bool {
        let mut topics = self.open();
        let over = topics.over;
        let list = topics.list.get_or_insert_default();
        if over || (list.len() >= most && !list.contains(topic)) {
            return false;
        }
        if !list.contains(topic) {
            list.push(topic.clone());
        }
        true
    }

    /// Forgets a topic. Whether it was there.
    pub(crate) fn remove(&self, topic: &Topic) -> bool {
        let mut topics = self.open();
        let Some(list) = topics.list.as_mut() else { return false };
        let before = list.len();
        list.retain(|assigned| assigned != topic);
        list.len() < before
    }

    /// Whether the session was brought into a topic.
    pub(crate) fn has(&self, topic: &Topic) -> bool {
        self.open().list.as_ref().is_some_and(|list| list.contains(topic))
    }

    /// How many topics it was brought into.
    pub(crate) fn len(&self) -> usize {
        self.open().list.as_ref().map_or(0, |list| list.len())
    }

    /// The session is over: gives the topics, and takes no more.
    pub(crate) fn end(&self) -> Vec<Topic> {
        let mut topics = self.open();
        topics.over = true;
        topics.list.take().map_or_else(Vec::new, |list| *list)
    }

    fn open(&self) -> MutexGuard<'_, AssignedList> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_is_over_is_brought_nowhere() {
        let assigned = AssignedTopics::default();
        let (a, b) = (Topic::parse("a").expect("a topic"), Topic::parse("b").expect("a topic"));
        assert!(assigned.add(&a, 1) && assigned.add(&a, 1) && !assigned.add(&b, 1) && assigned.has(&a));
        assert!(assigned.remove(&a) && !assigned.remove(&a) && assigned.len() == 0);
        assert!(assigned.add(&b, 1));
        assert_eq!(assigned.end(), [b]);
        assert!(!assigned.add(&a, 1) && assigned.end().is_empty());
    }
}
