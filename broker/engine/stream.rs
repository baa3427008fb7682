//! The order of one topic within this process: a counter under a lock, and what is kept of the past. It has no clock and
//! does not wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rialto_protocol::{Position, Published};

use crate::clock::Now;
use crate::message::{Draft, Message, SharedMessage};
use crate::store::{
    Batch, KeptKey, KeptMessage, KeyRecord, Outcome, Page, Past, Retention, Scope, Span, Store, StoreError,
};
use crate::topic::Topic;

use super::idempotency::{KeyedRequest, Lookup};

/// What is kept of the topics of one rule, each.
#[derive(Clone, Debug)]
pub(crate) struct Keeping {
    /// How many past messages; none keeps none.
    pub(crate) retention: Option<Retention>,
    /// How long idempotency keys are remembered, and how many.
    pub(crate) keys_ms: u64,
    pub(crate) keys_max: usize,
}

/// One topic's unbroken run of offsets. First what every publish needs, in the order of the fields.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Stream {
    topic: Topic,
    id: u64,
    epoch: Arc<str>,
    state: Mutex<StreamState>,
    keeping: Arc<Keeping>,
    store: Arc<dyn Store>,
}

#[derive(Debug)]
pub(super) struct StreamState {
    pub(super) last: u64,
    retired: bool,
}

/// The stream was retired; the topic has to be looked up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retired;

/// Why a message got no position.
#[derive(Debug)]
pub(crate) enum NotPublished {
    /// The topic has to be looked up again.
    Retired(Box<(Draft, Option<KeyedRequest>)>),
    /// The key stands for another message.
    KeyReused,
    /// It could not be kept.
    NotKept(StoreError),
}

/// A topic while nothing changes in it.
pub(crate) struct View<'s> {
    stream: &'s Stream,
    last: u64,
}

impl Stream {
    /// Goes on where the store says that the topic was, or begins anew in this epoch.
    ///
    /// # Errors
    /// When the store cannot say where that is.
    pub(super) fn open(
        id: u64,
        topic: Topic,
        epoch: Arc<str>,
        store: Arc<dyn Store>,
        keeping: Arc<Keeping>,
    ) -> Result<Self, StoreError> {
        let (epoch, last) = match store.end(&topic)? {
            Some(end) => (end.epoch, end.last),
            None => (epoch, 0),
        };
        Ok(Self { id, topic, epoch, store, keeping, state: Mutex::new(StreamState { last, retired: false }) })
    }

    /// Names this stream within the process.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The topic whose order this is.
    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Whether past messages are kept.
    pub(crate) fn has_history(&self) -> bool {
        self.keeping.retention.is_some()
    }

    /// Runs `join` while no message can get an offset: whoever `join` lets in receives exactly the messages after the
    /// position that it sees.
    ///
    /// # Errors
    /// [`Retired`], and `join` was not run.
    pub(crate) fn join<T>(&self, join: impl FnOnce(&View<'_>) -> T) -> Result<T, Retired> {
        let state = self.lock()?;
        Ok(join(&self.view(state.last)))
    }

    /// Ends the stream for good if `unused` says that nobody needs it. Nobody can join while it is asked.
    pub(crate) fn retire_if(&self, unused: impl FnOnce() -> bool) -> bool {
        match self.lock() {
            Ok(mut state) => {
                state.retired = unused();
                state.retired
            }
            Err(Retired) => true,
        }
    }

    /// What is known of a key.
    ///
    /// # Errors
    /// When the store cannot read it.
    pub(crate) fn recall(&self, keyed: &KeyedRequest, now: Now) -> Result<Lookup, StoreError> {
        Ok(keyed.judge(self.store.recall(&self.scope(), &keyed.key, now)?))
    }

    /// What is to be kept of a request with a key.
    pub(crate) fn kept_key(&self, keyed: KeyedRequest, outcome: Outcome) -> KeptKey {
        let KeyedRequest { key, digest } = keyed;
        let record = KeyRecord { digest, outcome };
        let Keeping { keys_ms, keys_max, .. } = *self.keeping;
        KeptKey { scope: self.scope(), key, record, keys_ms, keys_max }
    }

    pub(super) fn publish(
        &self,
        draft: Draft,
        keyed: Option<KeyedRequest>,
        now: Now,
        hand_over: impl FnOnce(&SharedMessage),
    ) -> Result<Published, NotPublished> {
        let mut state = match self.lock() {
            Ok(state) => state,
            Err(Retired) => return Err(NotPublished::Retired(Box::new((draft, keyed)))),
        };
        if let Some(keyed) = &keyed {
            match self.recall(keyed, now).map_err(NotPublished::NotKept)? {
                Lookup::No => {}
                Lookup::Other => return Err(NotPublished::KeyReused),
                Lookup::Same(Outcome::Published(position)) => return Ok(Published { position, duplicate: true }),
                // A call with this very key and payload: digests tell the two apart, so this is not reached.
                Lookup::Same(Outcome::Answered(_)) => return Err(NotPublished::KeyReused),
            }
        }
        let position = self.position(state.last + 1);
        let message = Arc::new(Message::new(self.id, self.topic.clone(), position.offset, now.unix_ms, draft));
        self.keep(&message, keyed, &position, now).map_err(NotPublished::NotKept)?;
        state.last += 1;
        hand_over(&message);
        Ok(Published { position: Some(position), duplicate: false })
    }

    fn keep(
        &self,
        message: &SharedMessage,
        keyed: Option<KeyedRequest>,
        position: &Position,
        now: Now,
    ) -> Result<(), StoreError> {
        if self.keeping.retention.is_none() && keyed.is_none() {
            return Ok(());
        }
        let mut batch = Batch::at(now);
        batch.messages.extend(self.kept(message));
        if let Some(keyed) = keyed {
            batch.keys.push(self.kept_key(keyed, Outcome::Published(Some(position.clone()))));
        }
        self.store.commit(batch)
    }

    pub(super) fn kept(&self, message: &SharedMessage) -> Option<KeptMessage> {
        let retention = self.keeping.retention?;
        Some(KeptMessage { message: Arc::clone(message), epoch: Arc::clone(&self.epoch), retention })
    }

    fn scope(&self) -> Scope {
        Scope::Topic(self.topic.clone())
    }

    pub(super) fn lock(&self) -> Result<MutexGuard<'_, StreamState>, Retired> {
        // The state is two plain fields that are changed together, so it is whole even after a panic elsewhere.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.retired { Err(Retired) } else { Ok(state) }
    }

    pub(super) fn view(&self, last: u64) -> View<'_> {
        View { stream: self, last }
    }

    pub(super) fn position(&self, offset: u64) -> Position {
        Position { epoch: self.epoch.clone(), offset }
    }
}

impl View<'_> {
    /// Where the topic stands.
    pub(crate) fn position(&self) -> Position {
        self.stream.position(self.last)
    }

    /// Past messages.
    ///
    /// # Errors
    /// When the store cannot read them.
    pub(crate) fn read(&self, span: Span, page: Page, now: Now) -> Result<Past, StoreError> {
        match self.stream.keeping.retention {
            Some(_) => self.stream.store.read(&self.stream.topic, span, page, now),
            None => Ok(Past::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::Payload;

    use super::*;
    use crate::store::{Digest, Key, MemoryStore};

    fn draft() -> Draft {
        Draft { payload: Payload::json(&1).expect("a number"), from: None, except: None }
    }

    fn open(store: &Arc<dyn Store>, messages: usize) -> Stream {
        let retention = Retention { messages, bytes: 1_000, age_ms: 1_000 };
        let keeping = Keeping { retention: (messages > 0).then_some(retention), keys_ms: 1_000, keys_max: 10 };
        Stream::open(1, Topic::parse("a").expect("a topic"), "e".into(), Arc::clone(store), keeping.into())
            .expect("opened")
    }

    fn store() -> Arc<dyn Store> {
        Arc::new(MemoryStore::new(100_000, Arc::default()))
    }

    fn publish(stream: &Stream, keyed: Option<KeyedRequest>) -> Result<Published, NotPublished> {
        stream.publish(draft(), keyed, Now::default(), |_| {})
    }

    fn offset(published: Result<Published, NotPublished>) -> u64 {
        published.expect("published").position.expect("a position").offset
    }

    #[test]
    fn offsets_count_from_one_and_a_joiner_knows_where_it_stands() {
        let stream = open(&store(), 0);
        let mut joined = Vec::new();
        for expected in 1..=3 {
            stream.join(|view| joined.push(view.position().offset)).expect("not retired");
            let mut handed = 0;
            let published = stream.publish(draft(), None, Now::default(), |message| handed = message.offset);
            assert_eq!((offset(published), handed), (expected, expected));
        }
        assert_eq!(joined, [0, 1, 2]);
    }

    #[test]
    fn a_retired_stream_takes_nothing_and_gives_the_draft_back() {
        let stream = open(&store(), 0);
        assert!(!stream.retire_if(|| false));
        assert!(stream.retire_if(|| true));
        assert_eq!(stream.join(|_| panic!("nobody joins")), Err(Retired));
        let refused = stream.publish(draft(), None, Now::default(), |_| panic!("nothing is handed over"));
        assert!(matches!(refused, Err(NotPublished::Retired(back)) if back.0.payload == draft().payload));
    }

    #[test]
    fn a_topic_that_comes_back_goes_on_if_anything_of_it_is_kept() {
        let store = store();
        let before = open(&store, 5);
        assert_eq!(offset(publish(&before, None)), 1);
        assert!(before.retire_if(|| true));
        let after = open(&store, 5);
        assert_eq!((offset(publish(&after, None)), &after.epoch), (2, &before.epoch));
        let all = Page { messages: 10, bytes: 1_000 };
        let past =
            after.join(|view| view.read(Span::After(0), all, Now::default())).expect("not retired").expect("read");
        assert_eq!(past.messages.len(), 2);
    }

    #[test]
    fn a_key_gives_the_same_position_again() {
        let stream = open(&store(), 0);
        let keyed = |text: &str| KeyedRequest {
            key: Key { user: None, text: "k".into() },
            digest: Digest::of(None, Some(&Payload::json(text).expect("a text"))),
        };
        assert_eq!(offset(publish(&stream, Some(keyed("x")))), 1);
        let again = publish(&stream, Some(keyed("x"))).expect("published before");
        assert_eq!((again.position.map(|position| position.offset), again.duplicate), (Some(1), true));
        assert!(matches!(publish(&stream, Some(keyed("y"))), Err(NotPublished::KeyReused)));
        assert_eq!(offset(publish(&stream, None)), 2);
    }
}
