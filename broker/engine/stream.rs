//! The order of one topic within this process: a counter under a lock, and what is kept of the past. It has no clock and
//! does not wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use rialto_protocol::{Position, Published};

use crate::clock::Now;
use crate::config::{History, TopicOptions};
use crate::identity::StreamId;
use crate::message::{Draft, Message, SharedMessage};
use crate::store::{
    Account, Batch, Begun, KeptKey, KeptMessage, Key, KeyRecord, Outcome, Page, Past, Reading, Retention, Scope, Span,
    Store, StoreError,
};
use crate::topic::Topic;

use super::idempotency::{KeyedRequest, Lookup};
use super::past_page::PastSource;
use super::pending::Progress;

/// One topic's unbroken run of offsets. First what every publish needs, in the order of the fields.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Stream {
    /// What the topic's rule says, which a reload may change. It is changed under the lock of `state` only.
    rule: ArcSwap<TopicOptions>,
    topic: Topic,
    id: StreamId,
    epoch: Arc<str>,
    state: Mutex<StreamState>,
    /// Who holds what is kept. It is changed with the rule.
    account: ArcSwap<Account>,
    store: Arc<dyn Store>,
}

#[derive(Debug)]
pub(super) struct StreamState {
    pub(super) progress: Progress,
    retired: bool,
}

/// What became of a publish.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// The message is visible, or was so before.
    Visible(Published),
    /// It waits for the log, which answers.
    Pending,
}

/// A publish that waits for the log: what its message and its answer need then.
pub(crate) trait PendingPublish: Send + 'static {
    /// The topic's order.
    fn stream(&self) -> &Stream;

    /// Hands the message over to the subscribers, under the topic's lock.
    fn hand_over(&self, message: &SharedMessage);

    /// Answers the request, without the topic's lock.
    fn complete(self, outcome: Result<Published, StoreError>);
}

/// The stream was retired, or its rule is not the one any more by which something was decided; the topic has to be looked up
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retired;

/// A message on its way into a topic, and the key of its request.
#[derive(Debug)]
pub(crate) struct KeyedDraft {
    pub(crate) draft: Draft,
    pub(crate) keyed: Option<KeyedRequest>,
}

/// Why a message got no position.
#[derive(Debug)]
pub(crate) enum NotPublished {
    /// The topic has to be looked up again.
    Retired(Box<KeyedDraft>),
    /// The key stands for another message.
    KeyReused,
    /// No further key of the client can be remembered.
    TooManyKeys,
    /// It could not be kept.
    NotKept(StoreError),
}

/// A topic while nothing changes in it.
pub(crate) struct View<'s> {
    stream: &'s Stream,
    visible: u64,
}

impl Stream {
    /// Continues the topic's order where the store says that it ended, or begins a new one in this epoch.
    ///
    /// # Errors
    /// When the store cannot say where that is.
    pub(super) fn open(
        id: StreamId,
        topic: Topic,
        epoch: Arc<str>,
        store: Arc<dyn Store>,
        rule: Arc<TopicOptions>,
        account: Arc<Account>,
    ) -> Result<Self, StoreError> {
        let (epoch, last) = match store.end(&topic)? {
            Some(end) => (end.epoch, end.last),
            None => (epoch, 0),
        };
        Ok(Self {
            id,
            topic,
            epoch,
            store,
            rule: ArcSwap::new(rule),
            account: ArcSwap::new(account),
            state: Mutex::new(StreamState { progress: Progress::new(last), retired: false }),
        })
    }

    /// Names this stream within the process.
    pub(crate) fn id(&self) -> StreamId {
        self.id
    }

    /// The topic whose order this is.
    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }

    /// What the topic's rule says, for a moment.
    pub(crate) fn rule(&self) -> Guard<Arc<TopicOptions>> {
        self.rule.load()
    }

    /// What the topic's rule says, for something that is decided by it.
    pub(crate) fn rule_to_decide(&self) -> Arc<TopicOptions> {
        self.rule.load_full()
    }

    /// Lets `change` replace what the rule says, while no message can get an offset and nobody can join. It is not run where
    /// the stream was retired.
    pub(crate) fn change_rule(&self, change: impl FnOnce(&Arc<TopicOptions>) -> Option<Arc<TopicOptions>>) {
        let Ok(_state) = self.lock() else { return };
        if let Some(rule) = change(&self.rule.load()) {
            self.rule.store(rule);
        }
    }

    /// Lets somebody else hold what is kept from now on; a log that is there stays with the account that began it.
    pub(crate) fn set_account(&self, account: Arc<Account>) {
        self.account.store(account);
    }

    /// Whether past messages are kept.
    pub(crate) fn has_history(&self) -> bool {
        self.rule().history.is_some()
    }

    /// As [`Stream::join`], for a session that was admitted by this rule.
    ///
    /// # Errors
    /// [`Retired`], also where the rule has changed; `join` was not run.
    pub(crate) fn join_by<T>(&self, rule: &Arc<TopicOptions>, join: impl FnOnce(&View<'_>) -> T) -> Result<T, Retired> {
        let state = self.lock_by(rule)?;
        Ok(join(&self.view(state.progress.visible)))
    }

    /// Runs `join` while no message can get an offset: a session that it adds receives exactly the messages after the
    /// position that `join` sees.
    ///
    /// # Errors
    /// [`Retired`], and `join` was not run.
    pub(crate) fn join<T>(&self, join: impl FnOnce(&View<'_>) -> T) -> Result<T, Retired> {
        let state = self.lock()?;
        Ok(join(&self.view(state.progress.visible)))
    }

    /// The topic as it stands, for reads that need no exact moment: it may have changed since.
    ///
    /// # Errors
    /// [`Retired`].
    pub(crate) fn now(&self) -> Result<View<'_>, Retired> {
        let visible = self.lock()?.progress.visible;
        Ok(self.view(visible))
    }

    /// Ends the stream for good if `unused` says that nobody needs it. Nobody can join while it is asked.
    pub(crate) fn retire_if(&self, unused: impl FnOnce() -> bool) -> bool {
        match self.lock() {
            Ok(mut state) => {
                // What waits for the log still needs its place here.
                state.retired = !state.progress.is_pending() && unused();
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
        let KeyedRequest { key, digest, share } = keyed;
        let record = KeyRecord { digest, outcome };
        KeptKey { scope: self.scope(), key, record, keys_ms: self.rule().keys_ms, share }
    }

    pub(super) fn publish<P: PendingPublish>(
        &self,
        rule: &Arc<TopicOptions>,
        message: KeyedDraft,
        now: Now,
        hand_over: impl Fn(&SharedMessage),
        pending: impl FnOnce() -> P,
    ) -> Result<Placed, NotPublished> {
        let mut state = match self.lock_by(rule) {
            Ok(state) => state,
            Err(Retired) => return Err(NotPublished::Retired(Box::new(message))),
        };
        let KeyedDraft { draft, keyed } = message;
        let progress = &mut state.progress;
        self.resolve_doubt(progress, now, &hand_over).map_err(NotPublished::NotKept)?;
        if let Some(keyed) = &keyed
            && let Some(known) = self.known(keyed, progress, now)?
        {
            return self.answer_known(known, progress, now, pending);
        }
        if keyed.as_ref().is_some_and(|keyed| keyed.share.is_none()) {
            return Err(NotPublished::TooManyKeys);
        }
        let position = self.position(progress.given() + 1);
        let message = Arc::new(Message::new(self.id, self.topic.clone(), position.offset, now.unix_ms, draft));
        let begun = self.begin(rule, &message, keyed.as_ref(), &position, progress, now);
        match begun {
            Begun::Complete(Ok(())) => {
                progress.visible = position.offset;
                hand_over(&message);
                Ok(Placed::Visible(Published { position: Some(position), duplicate: false }))
            }
            Begun::Complete(Err(error)) => Err(NotPublished::NotKept(error)),
            Begun::Pending(ticket) => {
                progress.begun(position.offset);
                let key = keyed.as_ref().map(|keyed| keyed.key.clone());
                if let Some(keyed) = keyed {
                    progress.remember(keyed, Outcome::Published(Some(position.clone())));
                }
                let pending = pending();
                ticket.then(move |result| {
                    pending
                        .stream()
                        .complete_publish(&message, key.as_ref(), &result, |message| pending.hand_over(message));
                    let published = Published { position: Some(position), duplicate: false };
                    pending.complete(result.map(|()| published));
                });
                Ok(Placed::Pending)
            }
        }
    }

    /// What a key stands for: a request that is kept, or one that is under way. None where it is new.
    fn known(
        &self,
        keyed: &KeyedRequest,
        progress: &Progress,
        now: Now,
    ) -> Result<Option<Option<Position>>, NotPublished> {
        let lookup = match progress.lookup(keyed) {
            Lookup::No => self.recall(keyed, now).map_err(NotPublished::NotKept)?,
            under_way => under_way,
        };
        match lookup {
            Lookup::No => Ok(None),
            Lookup::Same(Outcome::Published(position)) => Ok(Some(position)),
            // Digests tell calls and publishes apart, so the answer to a call is never the same request.
            Lookup::Other | Lookup::Same(Outcome::Answered(_)) => Err(NotPublished::KeyReused),
        }
    }

    /// Answers a request whose key is known, once that is certain: behind the request that is under way, if there is one.
    fn answer_known<P: PendingPublish>(
        &self,
        position: Option<Position>,
        progress: &Progress,
        now: Now,
        pending: impl FnOnce() -> P,
    ) -> Result<Placed, NotPublished> {
        let published = Published { position, duplicate: true };
        let is_visible = published.position.as_ref().is_none_or(|position| position.offset <= progress.visible);
        if is_visible || !progress.is_pending() {
            return Ok(Placed::Visible(published));
        }
        match self.store.begin(Batch::at(now)) {
            Begun::Complete(Ok(())) => Ok(Placed::Visible(published)),
            Begun::Complete(Err(error)) => Err(NotPublished::NotKept(error)),
            Begun::Pending(ticket) => {
                let pending = pending();
                ticket.then(move |result| pending.complete(result.map(|()| published)));
                Ok(Placed::Pending)
            }
        }
    }

    /// Begins the commit of a message. Where nothing of it is to be kept, it only waits for what is under way before it.
    fn begin(
        &self,
        rule: &TopicOptions,
        message: &SharedMessage,
        keyed: Option<&KeyedRequest>,
        position: &Position,
        progress: &Progress,
        now: Now,
    ) -> Begun {
        if rule.history.is_none() && keyed.is_none() && !progress.is_pending() {
            return Begun::Complete(Ok(()));
        }
        let mut batch = Batch::at(now);
        batch.messages.extend(self.kept(message));
        if let Some(keyed) = keyed {
            batch.keys.push(self.kept_key(keyed.clone(), Outcome::Published(Some(position.clone()))));
        }
        self.store.begin(batch)
    }

    /// The log has completed the commit of a message: it becomes visible, or its offset is given back.
    fn complete_publish(
        &self,
        message: &SharedMessage,
        key: Option<&Key>,
        result: &Result<(), StoreError>,
        hand_over: impl FnOnce(&SharedMessage),
    ) {
        // A stream with commits under way is not retired.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if result.is_ok() {
            state.progress.visible = message.offset;
            hand_over(message);
        }
        state.progress.complete_message(message, key, result);
        state.progress.complete(result);
    }

    /// Asks the store where the order ends, after a commit of which the log could not say whether it was kept. Messages that
    /// turn out to be kept become visible.
    ///
    /// # Errors
    /// When the store cannot say so yet; then nothing can get a place.
    pub(super) fn resolve_doubt(
        &self,
        progress: &mut Progress,
        now: Now,
        mut hand_over: impl FnMut(&SharedMessage),
    ) -> Result<(), StoreError> {
        let Some(in_doubt) = progress.in_doubt() else { return Ok(()) };
        // What the log has taken a commit behind is decided.
        if let Begun::Complete(Err(error)) = self.store.begin(Batch::at(now)) {
            return Err(error);
        }
        let end = self.store.end(&self.topic)?.filter(|end| end.epoch == self.epoch).map_or(0, |end| end.last);
        let mut are_kept = false;
        for (message, key) in in_doubt {
            let position = Some(self.position(message.offset));
            let record = match key {
                Some(key) => self.store.recall(&self.scope(), key, now)?,
                None => None,
            };
            let has_key = record.is_some_and(|record| record.outcome == Outcome::Published(position));
            are_kept |= has_key || message.offset <= end;
        }
        for (message, _) in progress.take_in_doubt().into_iter().filter(|_| are_kept) {
            progress.visible = message.offset;
            hand_over(&message);
        }
        Ok(())
    }

    pub(super) fn kept(&self, message: &SharedMessage) -> Option<KeptMessage> {
        let retention = retention(self.rule().history?);
        let (epoch, account) = (Arc::clone(&self.epoch), self.account.load_full());
        Some(KeptMessage { message: Arc::clone(message), epoch, retention, account })
    }

    /// What the keys of its requests are unique in.
    pub(crate) fn scope(&self) -> Scope {
        Scope::Topic(self.topic.clone())
    }

    /// The lock, for something that was decided by this rule.
    pub(super) fn lock_by(&self, rule: &Arc<TopicOptions>) -> Result<MutexGuard<'_, StreamState>, Retired> {
        let state = self.lock()?;
        if Arc::ptr_eq(&self.rule.load(), rule) { Ok(state) } else { Err(Retired) }
    }

    pub(super) fn lock(&self) -> Result<MutexGuard<'_, StreamState>, Retired> {
        // The state is plain fields that are changed together, so it is whole even after a panic elsewhere.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.retired { Err(Retired) } else { Ok(state) }
    }

    pub(super) fn view(&self, visible: u64) -> View<'_> {
        View { stream: self, visible }
    }

    pub(super) fn position(&self, offset: u64) -> Position {
        Position { epoch: self.epoch.clone(), offset }
    }
}

impl View<'_> {
    /// Where the topic stands.
    pub(crate) fn position(&self) -> Position {
        self.stream.position(self.visible)
    }

    /// The first offset that the topic's rule can still keep, by its number of messages.
    pub(crate) fn oldest_kept(&self) -> u64 {
        let messages = self.stream.rule().history.map_or(0, |history| history.messages as u64);
        (self.visible + 1).saturating_sub(messages).max(1)
    }

    /// Begins to read past messages, up to the position of this view, however much later the read completes. What was removed has
    /// tombstones.
    pub(crate) fn begin_read(&self, span: Span, page: Page, now: Now) -> Reading {
        match self.source() {
            Some(source) => source.begin_read(span, page, now),
            None => Reading::Complete(Ok(Past::default())),
        }
    }

    /// The same without tombstones.
    pub(crate) fn begin_read_messages(&self, span: Span, page: Page, now: Now) -> Reading {
        match self.source() {
            Some(source) => source.begin_read_messages(span, page, now),
            None => Reading::Complete(Ok(Past::default())),
        }
    }

    /// Where past messages are read from, if any are kept.
    fn source(&self) -> Option<PastSource> {
        let Stream { store, topic, .. } = self.stream;
        let source = || PastSource { store: Arc::clone(store), topic: topic.clone(), visible: self.visible };
        self.stream.has_history().then(source)
    }
}

/// What is kept of a topic by its rule.
pub(crate) fn retention(history: History) -> Retention {
    let History { messages, bytes, age_ms } = history;
    Retention { messages, bytes, age_ms }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rialto_protocol::Payload;

    use super::*;
    use crate::shares::Share;
    use crate::store::{Digest, Key, KeyOwner, MemoryStore};

    fn message(keyed: Option<KeyedRequest>) -> KeyedDraft {
        let draft = Draft { payload: Payload::json(&1).expect("a number"), from: None, except: None };
        KeyedDraft { draft, keyed }
    }

    fn open(store: &Arc<dyn Store>, messages: usize) -> Stream {
        let history = History { messages, bytes: 1_000, age_ms: 1_000 };
        let rule = TopicOptions::of_test((messages > 0).then_some(history), 1_000);
        let topic = Topic::parse("a").expect("a topic");
        Stream::open(StreamId::topic(1), topic, "e".into(), Arc::clone(store), rule, Account::of_test())
            .expect("opened")
    }

    fn store() -> Arc<dyn Store> {
        Arc::new(MemoryStore::new(100_000, Arc::default()))
    }

    /// Memory never makes a publish wait.
    fn no_wait() -> NeverPending {
        panic!("memory completes every commit at once")
    }

    #[derive(Debug)]
    struct NeverPending;

    impl PendingPublish for NeverPending {
        fn stream(&self) -> &Stream {
            unreachable!("it never waits")
        }

        fn hand_over(&self, _: &SharedMessage) {}

        fn complete(self, _: Result<Published, StoreError>) {}
    }

    fn visible(placed: Result<Placed, NotPublished>) -> Result<Published, NotPublished> {
        placed.map(|placed| match placed {
            Placed::Visible(published) => published,
            Placed::Pending => panic!("memory completes every commit at once"),
        })
    }

    fn publish(stream: &Stream, keyed: Option<KeyedRequest>) -> Result<Published, NotPublished> {
        visible(stream.publish(&stream.rule(), message(keyed), Now::default(), |_| {}, no_wait))
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
            let handed = Cell::new(0);
            let hand_over = |message: &SharedMessage| handed.set(message.offset);
            let published = stream.publish(&stream.rule(), message(None), Now::default(), hand_over, no_wait);
            let published = visible(published);
            assert_eq!((offset(published), handed.get()), (expected, expected));
        }
        assert_eq!(joined, [0, 1, 2]);
    }

    #[test]
    fn a_retired_stream_takes_nothing_and_gives_the_draft_back() {
        let stream = open(&store(), 0);
        assert!(!stream.retire_if(|| false));
        assert!(stream.retire_if(|| true));
        assert_eq!(stream.join(|_| panic!("nobody joins")), Err(Retired));
        let nobody = |_: &SharedMessage| panic!("nothing is handed over");
        let refused = stream.publish(&stream.rule(), message(None), Now::default(), nobody, no_wait);
        assert!(
            matches!(refused, Err(NotPublished::Retired(back)) if back.draft.payload == message(None).draft.payload)
        );
    }

    #[test]
    fn what_was_decided_by_a_rule_that_has_changed_is_given_back() {
        let stream = open(&store(), 0);
        let before = stream.rule_to_decide();
        assert_eq!(offset(publish(&stream, None)), 1);
        stream.change_rule(|_| Some(TopicOptions::of_test(Some(History::default()), 1_000)));
        let nobody = |_: &SharedMessage| panic!("nothing is handed over");
        let refused = stream.publish(&before, message(None), Now::default(), nobody, no_wait);
        assert!(matches!(refused, Err(NotPublished::Retired(_))));
        assert_eq!(stream.join_by(&before, |_| panic!("nobody joins")), Err(Retired));
        assert_eq!(offset(publish(&stream, None)), 2, "the order goes on");
        assert!(stream.has_history());
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
            after.now().expect("not retired").begin_read(Span::After(0), all, Now::default()).wait().expect("read");
        assert_eq!(past.messages.len(), 2);
    }

    #[test]
    fn a_key_gives_the_same_position_again() {
        let stream = open(&store(), 0);
        let keyed = |text: &str| KeyedRequest {
            key: Key { owner: KeyOwner::Embedder, text: "k".into() },
            digest: Digest::of(None, Some(&Payload::json(text).expect("a text"))),
            share: Some(Share::of_test()),
        };
        assert_eq!(offset(publish(&stream, Some(keyed("x")))), 1);
        let again = publish(&stream, Some(keyed("x"))).expect("published before");
        assert_eq!((again.position.map(|position| position.offset), again.duplicate), (Some(1), true));
        assert!(matches!(publish(&stream, Some(keyed("y"))), Err(NotPublished::KeyReused)));
        // Without a share a retry is still answered, and a new key is refused.
        let retry = KeyedRequest { share: None, ..keyed("x") };
        assert!(publish(&stream, Some(retry)).is_ok_and(|published| published.duplicate));
        let fresh = Key { owner: KeyOwner::Embedder, text: "new".into() };
        let fresh = KeyedRequest { key: fresh, share: None, ..keyed("x") };
        assert!(matches!(publish(&stream, Some(fresh)), Err(NotPublished::TooManyKeys)));
        assert_eq!(offset(publish(&stream, None)), 2);
    }
}
