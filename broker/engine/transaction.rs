//! Several messages, and what else is to be kept with them, as one: all get their places and are kept, or none. It decides
//! nothing.

use std::sync::{Arc, MutexGuard};

use rialto_protocol::Position;

use super::stream::{Retired, Stream, StreamState, View};
use super::{Engine, KeyedRequest};
use crate::clock::Now;
use crate::config::TopicOptions;
use crate::identity::StreamId;
use crate::message::{Draft, Message, SharedMessage};
use crate::store::{Batch, Begun, Outcome, Removal, Store, StoreError, Ticket};

/// One of several things that are done as one.
#[derive(Clone, Copy)]
pub(crate) enum TransactionStep<'p> {
    /// A message is published.
    Publish(PublishStep<'p>),
    /// A session joins a topic. It was admitted by this rule.
    Join(&'p Stream, &'p Arc<TopicOptions>),
    /// The message at this offset is removed, by the decision of the topic's plugin under this rule.
    Remove(&'p Stream, &'p Arc<TopicOptions>, u64),
}

/// What was done in a step.
pub(crate) enum StepOutcome<'p> {
    /// The message has its place, and is to be handed over.
    Message(&'p SharedMessage),
    /// A message before it, of which the log could not say whether it was kept, is kept and to be handed over.
    Recovered(&'p SharedMessage),
    /// A session that joins now receives exactly the messages after this position.
    Joined(View<'p>),
    /// The message at this offset was kept and is not any more.
    Removed(u64),
}

/// A message that is to be published with others.
#[derive(Clone, Copy)]
pub(crate) struct PublishStep<'p> {
    pub(crate) stream: &'p Stream,
    /// The rule by which it was decided on.
    pub(crate) rule: &'p Arc<TopicOptions>,
    pub(crate) draft: &'p Draft,
    /// The key of the request that it answers.
    pub(crate) keyed: Option<&'p KeyedRequest>,
}

/// Several steps that are done as one, and what goes with each of them.
pub(crate) trait AtomicSteps: Send + Sized + 'static {
    /// The steps in their order, each with its place among what else is done.
    fn steps(&self) -> Vec<(usize, TransactionStep<'_>)>;

    /// Begins the commit of everything that is to be kept.
    fn begin(&self, store: &dyn Store, batch: Batch) -> Begun;

    /// Does what goes with the step at this place, while its topic is locked.
    fn pass(&self, place: usize, outcome: StepOutcome<'_>);

    /// The log has completed a commit that was [`Committed::Pending`], and the steps are done if it is kept.
    fn complete(self, outcome: Result<Vec<Position>, StoreError>);
}

/// What became of several steps.
pub(crate) enum Committed<T> {
    /// Everything is kept and done. The positions of the messages.
    Visible(T, Vec<Position>),
    /// It waits for the log.
    Pending,
}

/// Nothing of it was done.
pub(crate) struct NotCommitted<T> {
    pub(crate) steps: T,
    pub(crate) reason: TransactionError,
}

/// Why nothing of it was done.
#[derive(Debug)]
pub(crate) enum TransactionError {
    /// One of the topics has to be looked up again.
    Retired(Box<Batch>),
    /// It could not be kept.
    NotKept(StoreError),
}

/// What was made of the steps, in their order.
struct PlacedSteps {
    /// One for each message that is published.
    messages: Vec<SharedMessage>,
    /// One for each message that is removed.
    removals: Vec<Removal>,
}

/// The first half of a transaction.
enum Attempt {
    Visible(Vec<Position>),
    Pending(Ticket, PlacedSteps),
}

impl Engine {
    /// Gives each message its place, begins the commit of all of them with what is in the batch, and when it is kept goes
    /// through the steps in their order. Nobody sees one of the messages without everything being kept.
    ///
    /// # Errors
    /// [`NotCommitted`], and nothing has happened.
    pub(crate) fn publish_all<T: AtomicSteps>(
        &self,
        steps: T,
        batch: Batch,
        now: Now,
    ) -> Result<Committed<T>, Box<NotCommitted<T>>> {
        let Self::Local(store) = self;
        match attempt(&**store, &steps, batch, now) {
            Ok(Attempt::Visible(positions)) => Ok(Committed::Visible(steps, positions)),
            Ok(Attempt::Pending(ticket, placed)) => {
                ticket.then(move |result| complete(steps, &placed, result));
                Ok(Committed::Pending)
            }
            Err(reason) => Err(Box::new(NotCommitted { steps, reason })),
        }
    }
}

fn attempt(store: &dyn Store, all: &impl AtomicSteps, mut batch: Batch, now: Now) -> Result<Attempt, TransactionError> {
    let steps = all.steps();
    let held = hold(&steps).and_then(|held| held.check_rules(&steps).map(|()| held));
    let Ok(mut held) = held else { return Err(TransactionError::Retired(Box::new(batch))) };
    for (place, step) in &steps {
        if let TransactionStep::Publish(PublishStep { stream, .. }) | TransactionStep::Remove(stream, ..) = step {
            let resolved = held.resolve_doubt(stream, now, |message| all.pass(*place, StepOutcome::Recovered(message)));
            resolved.map_err(TransactionError::NotKept)?;
        }
    }
    let placed = place(&steps, &mut held, &mut batch, now);
    match all.begin(store, batch) {
        Begun::Complete(Ok(())) => Ok(Attempt::Visible(pass_all(all, &steps, &mut held, &placed))),
        Begun::Complete(Err(error)) => Err(TransactionError::NotKept(error)),
        Begun::Pending(ticket) => {
            held.begin(&steps, &placed.messages);
            Ok(Attempt::Pending(ticket, placed))
        }
    }
}

/// The second half, once the log has completed the commit.
fn complete(all: impl AtomicSteps, placed: &PlacedSteps, result: Result<(), StoreError>) {
    let steps = all.steps();
    let mut held = hold(&steps).expect("a stream with commits under way is not retired");
    held.complete(&steps, &placed.messages, &result);
    let outcome = result.map(|()| pass_all(&all, &steps, &mut held, placed));
    drop(held);
    drop(steps);
    all.complete(outcome);
}

/// Goes through the steps of a transaction that is kept: its messages become visible. Returns their positions.
fn pass_all(
    all: &impl AtomicSteps,
    steps: &[(usize, TransactionStep<'_>)],
    held: &mut LockedStreams<'_>,
    placed: &PlacedSteps,
) -> Vec<Position> {
    let PlacedSteps { messages, removals } = placed;
    let (mut left, mut removed) = (messages.iter(), removals.iter());
    let mut positions = Vec::with_capacity(messages.len());
    for (place, step) in steps {
        match step {
            TransactionStep::Publish(PublishStep { stream, .. }) => {
                let message = left.next().expect("a message was made of each publish");
                held.state(stream).progress.visible = message.offset;
                positions.push(stream.position(message.offset));
                all.pass(*place, StepOutcome::Message(message));
            }
            TransactionStep::Join(stream, _) => {
                all.pass(*place, StepOutcome::Joined(stream.view(held.state(stream).progress.visible)));
            }
            TransactionStep::Remove(..) => {
                let removal = removed.next().expect("a removal was made of each step that removes");
                if removal.was_kept() {
                    all.pass(*place, StepOutcome::Removed(removal.offset));
                }
            }
        }
    }
    positions
}

/// Makes the messages of all publishes, each at its place, and adds to the batch what is to be kept of them and removed. A message
/// is removed only if it has its offset by then.
fn place(
    steps: &[(usize, TransactionStep<'_>)],
    held: &mut LockedStreams<'_>,
    batch: &mut Batch,
    now: Now,
) -> PlacedSteps {
    let mut placed = PlacedSteps { messages: Vec::new(), removals: Vec::new() };
    for (_, step) in steps {
        match step {
            TransactionStep::Publish(publish) => placed.messages.push(place_message(publish, held, batch, now)),
            TransactionStep::Remove(stream, _, offset) => {
                let Position { epoch, .. } = stream.position(*offset);
                let removal = Removal::new(stream.topic().clone(), epoch, *offset);
                if *offset <= *held.given_mut(stream) {
                    batch.removals.push(removal.clone());
                }
                placed.removals.push(removal);
            }
            TransactionStep::Join(..) => {}
        }
    }
    placed
}

fn place_message(
    PublishStep { stream, draft, keyed, .. }: &PublishStep<'_>,
    held: &mut LockedStreams<'_>,
    batch: &mut Batch,
    now: Now,
) -> SharedMessage {
    let given = held.given_mut(stream);
    *given += 1;
    let position = stream.position(*given);
    let draft = (*draft).clone();
    let message = Message::new(stream.id(), stream.topic().clone(), position.offset, now.unix_ms, draft);
    let message = Arc::new(message);
    batch.messages.extend(stream.kept(&message));
    if let Some(keyed) = keyed {
        batch.keys.push(stream.kept_key((*keyed).clone(), Outcome::Published(Some(position))));
    }
    message
}

fn publishes<'p>(steps: &[(usize, TransactionStep<'p>)]) -> impl Iterator<Item = PublishStep<'p>> {
    steps.iter().filter_map(|(_, step)| step.publish())
}

impl<'p> TransactionStep<'p> {
    fn publish(&self) -> Option<PublishStep<'p>> {
        match self {
            Self::Publish(publish) => Some(*publish),
            Self::Join(..) | Self::Remove(..) => None,
        }
    }

    fn stream(&self) -> &'p Stream {
        match self {
            Self::Publish(publish) => publish.stream,
            Self::Join(stream, _) | Self::Remove(stream, ..) => stream,
        }
    }

    fn rule(&self) -> &'p Arc<TopicOptions> {
        match self {
            Self::Publish(publish) => publish.rule,
            Self::Join(_, rule) | Self::Remove(_, rule, _) => rule,
        }
    }
}

/// Streams in which nobody else gets a place meanwhile, each with the last offset that is given.
struct LockedStreams<'s> {
    streams: Vec<(StreamId, MutexGuard<'s, StreamState>, u64)>,
}

/// Holds each stream once. Always in the order of their ids, so that two threads that hold several do not wait for each other.
fn hold<'p>(steps: &[(usize, TransactionStep<'p>)]) -> Result<LockedStreams<'p>, Retired> {
    let mut streams: Vec<&'p Stream> = steps.iter().map(|(_, step)| step.stream()).collect();
    streams.sort_unstable_by_key(|stream| stream.id());
    streams.dedup_by_key(|stream| stream.id());
    let hold = |stream: &'p Stream| {
        let state = stream.lock()?;
        let given = state.progress.given();
        Ok((stream.id(), state, given))
    };
    Ok(LockedStreams { streams: streams.into_iter().map(hold).collect::<Result<_, Retired>>()? })
}

impl LockedStreams<'_> {
    /// Whether the rules are those by which the steps were decided: they cannot change while the streams are held.
    ///
    /// # Errors
    /// [`Retired`] if one has changed.
    fn check_rules(&self, steps: &[(usize, TransactionStep<'_>)]) -> Result<(), Retired> {
        let is_current = |step: &TransactionStep<'_>| Arc::ptr_eq(&step.stream().rule(), step.rule());
        if steps.iter().all(|(_, step)| is_current(step)) { Ok(()) } else { Err(Retired) }
    }

    fn index(&self, stream: &Stream) -> usize {
        let index = self.streams.binary_search_by_key(&stream.id(), |(id, ..)| *id);
        index.expect("the stream of every step is held")
    }

    fn given_mut(&mut self, stream: &Stream) -> &mut u64 {
        let index = self.index(stream);
        &mut self.streams[index].2
    }

    fn state(&mut self, stream: &Stream) -> &mut StreamState {
        let index = self.index(stream);
        &mut self.streams[index].1
    }

    /// Asks the store where the order of a stream ends, where the log could not say so.
    fn resolve_doubt(
        &mut self,
        stream: &Stream,
        now: Now,
        hand_over: impl FnMut(&SharedMessage),
    ) -> Result<(), StoreError> {
        let state = self.state(stream);
        stream.resolve_doubt(&mut state.progress, now, hand_over)?;
        let given = state.progress.given();
        *self.given_mut(stream) = given;
        Ok(())
    }

    /// The commit has gone into the log's queue.
    fn begin(&mut self, steps: &[(usize, TransactionStep<'_>)], messages: &[SharedMessage]) {
        for (_, state, given) in &mut self.streams {
            state.progress.begun(*given);
        }
        for (publish, message) in publishes(steps).zip(messages) {
            if let Some(keyed) = publish.keyed {
                let position = publish.stream.position(message.offset);
                self.state(publish.stream).progress.remember(keyed.clone(), Outcome::Published(Some(position)));
            }
        }
    }

    /// The log has completed the commit.
    fn complete(
        &mut self,
        steps: &[(usize, TransactionStep<'_>)],
        messages: &[SharedMessage],
        result: &Result<(), StoreError>,
    ) {
        for (publish, message) in publishes(steps).zip(messages) {
            let key = publish.keyed.map(|keyed| &keyed.key);
            self.state(publish.stream).progress.complete_message(message, key, result);
        }
        for (_, state, _) in &mut self.streams {
            state.progress.complete(result);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use rialto_protocol::Payload;

    use super::*;
    use crate::config::History;
    use crate::shares::Share;
    use crate::store::failing::FailingStore;
    use crate::store::{Account, Digest, Key, KeyOwner, Page, Scope, Span, Store, Writes};
    use crate::topic::Topic;

    fn draft(text: &str) -> Draft {
        Draft { payload: Payload::json(text).expect("a text"), from: None, except: None }
    }

    fn open(engine: &Engine, id: u64, topic: &str) -> Stream {
        let history = History { messages: 10, bytes: 1_000, age_ms: 1_000 };
        let rule = TopicOptions::of_test(Some(history), 1_000);
        let topic = Topic::parse(topic).expect("a topic");
        engine.open(StreamId::topic(id), topic, "e".into(), rule, Account::of_test()).expect("opened")
    }

    fn keyed() -> KeyedRequest {
        KeyedRequest {
            key: Key { owner: KeyOwner::Embedder, text: "k".into() },
            digest: Digest::of(None, None),
            share: Some(Share::of_test()),
        }
    }

    fn state(value: &str) -> Batch {
        let values = [("key".to_owned(), Some(value.as_bytes().into()))].into();
        Batch {
            state: Some(Writes { namespace: "p".into(), values, timers: Default::default() }),
            ..Batch::at(Now::default())
        }
    }

    /// Steps that note what goes with each of them.
    struct NotedSteps {
        steps: Vec<NotedStep>,
        noted: Arc<Mutex<Vec<(usize, String, u64)>>>,
    }

    #[derive(Clone)]
    enum NotedStep {
        Publish(Arc<Stream>, Arc<TopicOptions>, Draft, Option<KeyedRequest>),
        Join(Arc<Stream>, Arc<TopicOptions>),
    }

    impl NotedStep {
        fn step(&self) -> TransactionStep<'_> {
            match self {
                Self::Publish(stream, rule, draft, keyed) => {
                    TransactionStep::Publish(PublishStep { stream, rule, draft, keyed: keyed.as_ref() })
                }
                Self::Join(stream, rule) => TransactionStep::Join(stream, rule),
            }
        }
    }

    impl AtomicSteps for NotedSteps {
        fn steps(&self) -> Vec<(usize, TransactionStep<'_>)> {
            let steps = self.steps.iter().map(NotedStep::step);
            steps.enumerate().collect()
        }

        fn begin(&self, store: &dyn Store, batch: Batch) -> Begun {
            store.begin(batch)
        }

        fn pass(&self, place: usize, outcome: StepOutcome<'_>) {
            self.noted.lock().expect("whole").push(match outcome {
                StepOutcome::Message(message) => (place, format!("message of {}", message.topic), message.offset),
                StepOutcome::Recovered(message) => panic!("{message:?} was in no doubt"),
                StepOutcome::Joined(view) => (place, "joined".to_owned(), view.position().offset),
                StepOutcome::Removed(offset) => (place, "removed".to_owned(), offset),
            });
        }

        fn complete(self, _: Result<Vec<Position>, StoreError>) {
            panic!("this store completes at once")
        }
    }

    #[test]
    fn all_get_their_places_in_order_and_are_kept_or_none() {
        let store = Arc::new(FailingStore::new());
        let engine = Engine::Local(Arc::clone(&store) as Arc<dyn Store>);
        let (b, a) = (Arc::new(open(&engine, 2, "b")), Arc::new(open(&engine, 1, "a")));
        let keyed = keyed();
        let publish = |stream: &Arc<Stream>, text, keyed| {
            NotedStep::Publish(Arc::clone(stream), stream.rule_to_decide(), draft(text), keyed)
        };
        let join = |stream: &Arc<Stream>| NotedStep::Join(Arc::clone(stream), stream.rule_to_decide());
        let steps = vec![
            publish(&b, "1", Some(keyed.clone())),
            join(&a),
            publish(&a, "2", None),
            publish(&b, "3", None),
            join(&b),
        ];
        for attempt in 0..4 {
            store.fail(usize::from(attempt % 2 == 0));
            let (noted, text) = (Arc::default(), attempt.to_string());
            let all = NotedSteps { steps: steps.clone(), noted: Arc::clone(&noted) };
            let committed = engine.publish_all(all, state(&text), Now::default());
            let noted = std::mem::take(&mut *noted.lock().expect("whole"));
            let known =
                store.recall(&Scope::Topic(b.topic().clone()), &keyed.key, Now::default()).expect("read").is_some();
            let all = Page { messages: 10, bytes: 1_000 };
            let kept = store.read(a.topic(), Span::After(0), all, Now::default()).expect("read").messages.len();
            match committed {
                Ok(Committed::Visible(_, positions)) => {
                    let before = (attempt - 1) / 2;
                    let (first, second) = (before * 2 + 1, before + 1);
                    let offsets: Vec<u64> = positions.iter().map(|position| position.offset).collect();
                    assert_eq!(offsets, [first, second, first + 1]);
                    let expected = [
                        (0, "message of b", first),
                        (1, "joined", second - 1),
                        (2, "message of a", second),
                        (3, "message of b", first + 1),
                        (4, "joined", first + 1),
                    ];
                    assert_eq!(noted, expected.map(|(index, what, offset)| (index, what.to_owned(), offset)));
                    assert_eq!(store.get("p", "key").expect("read").as_deref(), Some(text.as_bytes()));
                    assert!(known && kept as u64 == second);
                }
                Ok(Committed::Pending) => panic!("this store completes at once"),
                Err(error) => {
                    let error = error.reason;
                    assert!(attempt % 2 == 0 && matches!(error, TransactionError::NotKept(_)), "{error:?}");
                    assert!(noted.is_empty(), "nothing is handed over");
                    assert_eq!((known, kept), (attempt > 0, attempt as usize / 2));
                    assert_ne!(store.get("p", "key").expect("read").as_deref(), Some(text.as_bytes()));
                }
            }
        }
        b.change_rule(|rule| Some(Arc::new((**rule).clone())));
        let noted = Arc::default();
        let changed = NotedSteps { steps: steps.clone(), noted: Arc::clone(&noted) };
        let changed = engine.publish_all(changed, state("x"), Now::default());
        assert!(changed.is_err_and(|error| matches!(error.reason, TransactionError::Retired(_))));
        assert!(a.retire_if(|| true));
        let noted = Arc::default();
        let gone = engine.publish_all(NotedSteps { steps, noted: Arc::clone(&noted) }, state("x"), Now::default());
        assert!(gone.is_err_and(|error| matches!(error.reason, TransactionError::Retired(_))));
        assert!(noted.lock().expect("whole").is_empty(), "nothing is handed over");
        assert_eq!(b.join(|view| view.position().offset), Ok(4), "nobody holds the others");
    }
}
