//! Several messages, and what else is to be kept with them, as one: all get their places and are kept, or none. It decides
//! nothing.

use std::sync::{Arc, MutexGuard};

use rialto_protocol::Position;

use super::stream::{Retired, Stream, StreamState, View};
use super::{Engine, KeyedRequest};
use crate::clock::Now;
use crate::identity::StreamId;
use crate::message::{Draft, Message, SharedMessage};
use crate::store::{Batch, Begun, Outcome, StoreError};

/// One of several things that are done as one.
#[derive(Clone, Copy)]
pub(crate) enum TransactionStep<'p> {
    /// A message is published.
    Publish(PublishStep<'p>),
    /// Somebody is let into a topic.
    Join(&'p Stream),
}

/// What was done in a step.
pub(crate) enum StepOutcome<'p> {
    /// The message has its place, and is to be handed over.
    Message(&'p SharedMessage),
    /// A message before it, of which the log could not say whether it was kept, is kept and to be handed over.
    Recovered(&'p SharedMessage),
    /// A session that is let in now receives exactly the messages after this.
    Joined(View<'p>),
}

/// A message that is to be published with others.
#[derive(Clone, Copy)]
pub(crate) struct PublishStep<'p> {
    pub(crate) stream: &'p Stream,
    pub(crate) draft: &'p Draft,
    /// The key of the request that it answers.
    pub(crate) keyed: Option<&'p KeyedRequest>,
}

/// Why nothing of it was done.
#[derive(Debug)]
pub(crate) enum TransactionError {
    /// One of the topics has to be looked up again.
    Retired(Box<Batch>),
    /// It could not be kept.
    NotKept(StoreError),
}

impl Engine {
    /// Gives each message its place, keeps all of them with what is in the batch, and goes through the steps in their order,
    /// each with its index. Nobody sees one of the messages without everything being kept. Gives the positions of the
    /// messages.
    ///
    /// # Errors
    /// [`TransactionError`], and nothing has happened.
    pub(crate) fn publish_all(
        &self,
        steps: &[TransactionStep<'_>],
        mut batch: Batch,
        now: Now,
        mut pass: impl FnMut(usize, StepOutcome<'_>),
    ) -> Result<Vec<Position>, TransactionError> {
        let Self::Local(store) = self;
        let mut held = match hold(steps) {
            Ok(held) => held,
            Err(Retired) => return Err(TransactionError::Retired(Box::new(batch))),
        };
        for (index, step) in steps.iter().enumerate() {
            if let TransactionStep::Publish(PublishStep { stream, .. }) = step {
                let resolved = held.resolve_doubt(stream, now, |message| pass(index, StepOutcome::Recovered(message)));
                resolved.map_err(TransactionError::NotKept)?;
            }
        }
        let messages = place(steps, &mut held, &mut batch, now);
        let turn;
        match store.begin(batch) {
            Begun::Complete(Ok(())) => turn = None,
            Begun::Complete(Err(error)) => return Err(TransactionError::NotKept(error)),
            Begun::Pending(ticket) => {
                held.begin(steps, &messages);
                drop(held);
                // What was begun later becomes visible later: not before this function returns.
                let (result, in_turn) = ticket.wait();
                turn = Some(in_turn);
                held = hold(steps).expect("a stream with commits under way is not retired");
                held.complete(steps, &messages, &result);
                result.map_err(TransactionError::NotKept)?;
            }
        }
        let mut left = messages.iter();
        for (index, step) in steps.iter().enumerate() {
            match step {
                TransactionStep::Publish(PublishStep { stream, .. }) => {
                    let message = left.next().expect("a message was made of each posting");
                    held.state(stream).progress.visible = message.offset;
                    pass(index, StepOutcome::Message(message));
                }
                TransactionStep::Join(stream) => {
                    pass(index, StepOutcome::Joined(stream.view(held.state(stream).progress.visible)));
                }
            }
        }
        drop(held);
        drop(turn);
        let publishes = steps.iter().filter_map(TransactionStep::publish).zip(&messages);
        Ok(publishes.map(|(publish, message)| publish.stream.position(message.offset)).collect())
    }
}

/// Makes the messages of all postings, each at its place, and adds to the batch what is to be kept of them.
fn place(
    steps: &[TransactionStep<'_>],
    held: &mut LockedStreams<'_>,
    batch: &mut Batch,
    now: Now,
) -> Vec<SharedMessage> {
    let place = |PublishStep { stream, draft, keyed }: PublishStep<'_>| {
        let given = held.given_mut(stream);
        *given += 1;
        let position = stream.position(*given);
        let draft = draft.clone();
        let message = Message::new(stream.id(), stream.topic().clone(), position.offset, now.unix_ms, draft);
        let message = Arc::new(message);
        batch.messages.extend(stream.kept(&message));
        if let Some(keyed) = keyed {
            batch.keys.push(stream.kept_key(keyed.clone(), Outcome::Published(Some(position))));
        }
        message
    };
    steps.iter().filter_map(TransactionStep::publish).map(place).collect()
}

impl<'p> TransactionStep<'p> {
    fn publish(&self) -> Option<PublishStep<'p>> {
        match self {
            Self::Publish(publish) => Some(*publish),
            Self::Join(_) => None,
        }
    }

    fn stream(&self) -> &'p Stream {
        match self {
            Self::Publish(publish) => publish.stream,
            Self::Join(stream) => stream,
        }
    }
}

/// Streams in which nobody else gets a place meanwhile, each with the last offset that is given.
struct LockedStreams<'s> {
    streams: Vec<(StreamId, MutexGuard<'s, StreamState>, u64)>,
}

/// Holds each stream once. Always in the order of their ids, so that two threads that hold several do not wait for each other.
fn hold<'p>(steps: &[TransactionStep<'p>]) -> Result<LockedStreams<'p>, Retired> {
    let mut streams: Vec<&'p Stream> = steps.iter().map(TransactionStep::stream).collect();
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
    fn begin(&mut self, steps: &[TransactionStep<'_>], messages: &[SharedMessage]) {
        for (_, state, given) in &mut self.streams {
            state.progress.begun(*given);
        }
        for (publish, message) in steps.iter().filter_map(TransactionStep::publish).zip(messages) {
            if let Some(keyed) = publish.keyed {
                let position = publish.stream.position(message.offset);
                self.state(publish.stream).progress.remember(keyed.clone(), Outcome::Published(Some(position)));
            }
        }
    }

    /// The log has completed the commit.
    fn complete(&mut self, steps: &[TransactionStep<'_>], messages: &[SharedMessage], result: &Result<(), StoreError>) {
        for (publish, message) in steps.iter().filter_map(TransactionStep::publish).zip(messages) {
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
    use rialto_protocol::Payload;

    use super::*;
    use crate::engine::Keeping;
    use crate::store::failing::FailingStore;
    use crate::store::{Digest, Key, KeyOwner, Page, Retention, Scope, Span, Store, Writes};
    use crate::topic::Topic;

    fn draft(text: &str) -> Draft {
        Draft { payload: Payload::json(text).expect("a text"), from: None, except: None }
    }

    fn open(engine: &Engine, id: u64, topic: &str) -> Stream {
        let retention = Some(Retention { messages: 10, bytes: 1_000, age_ms: 1_000 });
        let keeping = Keeping { retention, keys_ms: 1_000, keys_max: 10 };
        engine
            .open(StreamId::topic(id), Topic::parse(topic).expect("a topic"), "e".into(), keeping.into())
            .expect("opened")
    }

    fn keyed() -> KeyedRequest {
        KeyedRequest { key: Key { owner: KeyOwner::User(None), text: "k".into() }, digest: Digest::of(None, None) }
    }

    fn state(value: &str) -> Batch {
        let values = [("key".to_owned(), Some(value.as_bytes().into()))].into();
        Batch {
            state: Some(Writes { namespace: "p".into(), values, timers: Default::default() }),
            ..Batch::at(Now::default())
        }
    }

    #[test]
    fn all_get_their_places_in_order_and_are_kept_or_none() {
        let store = Arc::new(FailingStore::new());
        let engine = Engine::Local(Arc::clone(&store) as Arc<dyn Store>);
        let (b, a) = (open(&engine, 2, "b"), open(&engine, 1, "a"));
        let (drafts, keyed) = ([draft("1"), draft("2"), draft("3")], keyed());
        let publish = |stream, draft, keyed| TransactionStep::Publish(PublishStep { stream, draft, keyed });
        let steps = [
            publish(&b, &drafts[0], Some(&keyed)),
            TransactionStep::Join(&a),
            publish(&a, &drafts[1], None),
            publish(&b, &drafts[2], None),
            TransactionStep::Join(&b),
        ];
        for attempt in 0..4 {
            store.fail(usize::from(attempt % 2 == 0));
            let mut handed = Vec::new();
            let text = attempt.to_string();
            let published = engine.publish_all(&steps, state(&text), Now::default(), |index, passed| {
                handed.push(match passed {
                    StepOutcome::Message(message) => (index, format!("message of {}", message.topic), message.offset),
                    StepOutcome::Recovered(message) => panic!("{message:?} was in no doubt"),
                    StepOutcome::Joined(view) => (index, "joined".to_owned(), view.position().offset),
                });
            });
            let known =
                store.recall(&Scope::Topic(b.topic().clone()), &keyed.key, Now::default()).expect("read").is_some();
            let all = Page { messages: 10, bytes: 1_000 };
            let kept = store.read(a.topic(), Span::After(0), all, Now::default()).expect("read").messages.len();
            match published {
                Ok(positions) => {
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
                    assert_eq!(handed, expected.map(|(index, what, offset)| (index, what.to_owned(), offset)));
                    assert_eq!(store.get("p", "key").expect("read").as_deref(), Some(text.as_bytes()));
                    assert!(known && kept as u64 == second);
                }
                Err(error) => {
                    assert!(attempt % 2 == 0 && matches!(error, TransactionError::NotKept(_)), "{error:?}");
                    assert!(handed.is_empty(), "nothing is handed over");
                    assert_eq!((known, kept), (attempt > 0, attempt as usize / 2));
                    assert_ne!(store.get("p", "key").expect("read").as_deref(), Some(text.as_bytes()));
                }
            }
        }
        assert!(a.retire_if(|| true));
        let gone = engine.publish_all(&steps, state("x"), Now::default(), |_, _| panic!("nothing is handed over"));
        assert!(matches!(gone, Err(TransactionError::Retired(_))));
        assert_eq!(b.join(|view| view.position().offset), Ok(4), "nobody holds the others");
    }
}
