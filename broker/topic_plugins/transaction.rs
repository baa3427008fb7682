//! What a hook decided and wanted, done as one: everything that is to be kept is kept at once, then it happens in order, or
//! nothing of it does.

use std::cell::Cell;
use std::sync::Arc;

use rialto_protocol::{CloseCode, Closing, ErrorCode, Failure, Position};

use super::handle::Owner;
use crate::broker::{Broker, Departure, Wish, not_kept};
use crate::engine::{Keyed, NotTogether, Passed, Posting, Step};
use crate::hub::{Push, What};
use crate::message::Draft;
use crate::plugin::{Effect, Sent, Wanted};
use crate::request::caller::Client;
use crate::request::responder::Answer;
use crate::store::{Batch, KeptKey};
use crate::topic::Topic;
use crate::topics::Entry;

/// What follows first of all from a hook that returned `ok`.
pub(super) enum First {
    /// Nothing but what it wanted.
    Nothing,
    /// The message that it decided on goes out.
    Message { entry: Arc<Entry>, draft: Draft, keyed: Option<Keyed> },
    /// The session that asked is let into the topic.
    Join { entry: Arc<Entry>, wish: Wish, answer: Option<Answer> },
    /// Something has ended.
    End(End),
}

/// What is done when something has ended.
pub(super) type End = Box<dyn FnOnce(&Broker) + Send>;

/// Nothing was done.
pub(super) struct Undone {
    pub(super) failure: Failure,
    /// What is still to be given.
    pub(super) answer: Option<Answer>,
}

/// One hook's outcome on its way into the world.
pub(super) struct Settling<'s> {
    pub(super) broker: &'s Broker,
    pub(super) owner: &'s Arc<Owner>,
    /// Whose request it was.
    pub(super) by: Option<&'s Client>,
}

/// Something that happens, in its place among the others.
enum Act {
    Post {
        entry: Arc<Entry>,
        draft: Draft,
        keyed: Option<Keyed>,
    },
    Join {
        entry: Arc<Entry>,
        client: Client,
        parts: Cell<Option<(Wish, Answer)>>,
    },
    /// A session is brought into a topic of the plugin, or of nobody.
    Bring {
        entry: Arc<Entry>,
        client: Client,
        own: bool,
    },
    Send {
        client: Client,
        what: Cell<Option<What>>,
    },
    Take {
        client: Client,
        topic: Topic,
        own: bool,
    },
    Evict {
        client: Client,
        reason: String,
    },
    End(Cell<Option<End>>),
    /// A message to a topic of another plugin, which decides on it.
    Forward {
        entry: Arc<Entry>,
        draft: Draft,
        other: Arc<Owner>,
    },
}

impl Settling<'_> {
    /// Does what follows from a hook. Gives the position of the message that it decided on.
    ///
    /// # Errors
    /// Why nothing of it was done.
    pub(super) fn settle(&self, first: First, keys: Vec<KeptKey>, wanted: Wanted) -> Result<Option<Position>, Failure> {
        let decides = matches!(first, First::Message { .. });
        let hops = wanted.hops;
        let mut acts = self.first_act(first)?;
        let batch = self.resolve(wanted, keys, &mut acts)?;
        let positions = self.carry_out(acts, batch, hops).map_err(|undone| undone.failure)?;
        Ok(positions.into_iter().next().filter(|_| decides))
    }

    /// The same where a session is let in first, which answers by itself.
    ///
    /// # Errors
    /// Why nothing of it was done, and the answer that is still to be given.
    pub(super) fn settle_joining(&self, first: First, wanted: Wanted) -> Result<(), Box<Undone>> {
        let hops = wanted.hops;
        let mut acts = self.first_act(first).map_err(|failure| undone(&[], failure))?;
        match self.resolve(wanted, Vec::new(), &mut acts) {
            Ok(batch) => self.carry_out(acts, batch, hops).map(|_| ()),
            Err(failure) => Err(undone(&acts, failure)),
        }
    }

    fn first_act(&self, first: First) -> Result<Vec<Act>, Failure> {
        Ok(match (first, self.by) {
            (First::Nothing, _) => Vec::new(),
            (First::Message { entry, draft, keyed }, _) => vec![Act::Post { entry, draft, keyed }],
            (First::Join { entry, wish, answer: Some(answer) }, Some(client)) => {
                vec![Act::Join { entry, client: client.clone(), parts: Cell::new(Some((wish, answer))) }]
            }
            (First::Join { .. }, _) => return Err(Failure::new(ErrorCode::Internal, "nobody asked to be let in")),
            (First::End(end), _) => vec![Act::End(Cell::new(Some(end)))],
        })
    }

    /// Finds the topics and sessions of what a hook wanted. Gives what is to be kept.
    fn resolve(&self, wanted: Wanted, keys: Vec<KeptKey>, acts: &mut Vec<Act>) -> Result<Batch, Failure> {
        let Wanted { effects, writes, .. } = wanted;
        let is_end = matches!(acts.first(), Some(Act::End(_)));
        for effect in effects {
            match self.act(effect) {
                Ok(act) => acts.extend(act),
                // An ending gets through however full the broker is; a topic for which there is no room has no audience.
                Err(failure) if is_end => {
                    tracing::error!(plugin = &**self.owner.name(), %failure, "a plugin's message could not be published");
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(Batch { state: Some(writes), keys, ..Batch::at(self.broker.core.clock.monotonic_ms()) })
    }

    /// What an effect comes to; none where its session has ended meanwhile.
    fn act(&self, effect: Effect) -> Result<Option<Act>, Failure> {
        let entry = |topic: &Topic| self.broker.core.directory.entry(topic, &self.broker.core.engine);
        Ok(match effect {
            Effect::Publish { topic, payload, exclude, own } => {
                let entry = entry(&topic)?;
                let except = exclude.and_then(|session| self.client(&session)).map(|client| client.key);
                let draft = Draft { payload, from: None, except };
                match self.broker.owner(&entry)?.filter(|_| !own) {
                    Some(other) => Some(Act::Forward { entry, draft, other }),
                    None => Some(Act::Post { entry, draft, keyed: None }),
                }
            }
            Effect::Send { session, what } => self.client(&session).map(|client| {
                let what = match what {
                    Sent::Payload(payload) => What::Custom(payload),
                    Sent::Text(text) => What::Text(text),
                    Sent::Binary(bytes) => What::Binary(bytes),
                };
                Act::Send { client, what: Cell::new(Some(what)) }
            }),
            Effect::Subscribe { session, topic, own } => {
                let is_in = own && self.owner.has_let_in(&topic, &session);
                match self.client(&session).filter(|_| !is_in) {
                    Some(client) => Some(Act::Bring { entry: entry(&topic)?, client, own }),
                    None => None,
                }
            }
            Effect::Unsubscribe { session, topic, own } => {
                self.client(&session).map(|client| Act::Take { client, topic, own })
            }
            Effect::Disconnect { session, reason } => self.client(&session).map(|client| Act::Evict { client, reason }),
        })
    }

    /// A session that the plugin knows, or that caused the hook.
    fn client(&self, session: &str) -> Option<Client> {
        match self.by {
            Some(by) if *by.member.session == *session => Some(by.clone()),
            _ => self.owner.people.get(session),
        }
    }

    /// Keeps what is to be kept and then does everything in order.
    fn carry_out(&self, mut acts: Vec<Act>, mut batch: Batch, hops: u8) -> Result<Vec<Position>, Box<Undone>> {
        let core = &self.broker.core;
        let (positions, done) = loop {
            let places: Vec<usize> = (0..acts.len()).filter(|place| acts[*place].step().is_some()).collect();
            let steps: Vec<Step<'_>> = acts.iter().filter_map(Act::step).collect();
            let done = Cell::new(0);
            let pass = |index: usize, passed: Passed<'_>| {
                let place = places[index];
                acts[done.get()..place].iter().for_each(|act| self.perform(act, hops));
                self.pass(&acts[place], passed);
                done.set(place + 1);
            };
            match core.engine.publish_all(&steps, batch, core.clock.now(), pass) {
                Ok(positions) => break (positions, done.get()),
                Err(NotTogether::NotKept(error)) => return Err(undone(&acts, not_kept(&error))),
                Err(NotTogether::Retired(back)) => batch = *back,
            }
            for act in &mut acts {
                if let Some(entry) = act.entry_mut() {
                    let again = core.directory.entry(entry.stream.topic(), &core.engine);
                    match again {
                        Ok(again) => *entry = again,
                        Err(failure) => return Err(undone(&acts, failure)),
                    }
                }
            }
        };
        acts[done..].iter().for_each(|act| self.perform(act, hops));
        core.metrics.messages_published.add(positions.len() as u64);
        self.wait_for_readers(&acts);
        Ok(positions)
    }

    /// What happens while the topic is held.
    fn pass(&self, act: &Act, passed: Passed<'_>) {
        match (act, passed) {
            (Act::Post { entry, .. }, Passed::Message(message)) => {
                self.broker.core.hub.deliver(&entry.reach, message);
            }
            (Act::Join { entry, client, parts }, Passed::Joined(view)) => {
                if let Some((mut wish, answer)) = parts.take() {
                    self.broker.enter(entry, &view, client, &mut wish, answer);
                }
            }
            (Act::Bring { entry, client, own }, Passed::Joined(view)) => {
                let topic = entry.stream.topic();
                if !client.brought.add(topic, self.broker.core.limits.subscriptions) {
                    return;
                }
                if *own {
                    self.owner.people.add(client);
                    self.owner.books.enter(topic, &client.member);
                }
                // Nobody asked, so nobody is answered.
                let (answer, _) = Answer::caller();
                self.broker.enter(entry, &view, client, &mut Wish::default(), answer);
            }
            _ => {}
        }
    }

    /// What happens to sessions.
    fn perform(&self, act: &Act, hops: u8) {
        let hub = &self.broker.core.hub;
        match act {
            Act::Send { client, what } => {
                if let Some(what) = what.take() {
                    hub.push(client.key, Push { what, under_way: None });
                }
            }
            Act::Take { client, topic, own } => self.take_out(client, topic, *own),
            Act::Evict { client, reason } => {
                let code = CloseCode::Kicked.number();
                let closing = Closing { code, message: reason.clone(), retry_after_ms: None };
                let key = client.key;
                hub.run_on(key.shard(), move |shard| shard.end(key, &closing));
            }
            Act::End(end) => end.take().into_iter().for_each(|end| end(self.broker)),
            Act::Forward { entry, draft, other } => {
                let Draft { payload, except, .. } = draft.clone();
                let (answer, _) = Answer::caller();
                other.publish(self.broker, entry, (None, except, hops + 1), payload, None, answer);
            }
            Act::Post { .. } | Act::Join { .. } | Act::Bring { .. } => {}
        }
    }

    /// Ends a subscription for a session that did not ask for that, and tells it.
    fn take_out(&self, client: &Client, topic: &Topic, own: bool) {
        let was_in = !own || self.owner.books.leave(topic, &client.member.session);
        let was_brought = client.brought.remove(topic);
        if !(was_in || was_brought) {
            return;
        }
        self.broker.release(client, topic, Departure::Final);
        let failure = Failure::new(ErrorCode::Rejected, "the topic's plugin ended the subscription");
        let what = What::Unsubscribed { topic: topic.clone(), failure };
        self.broker.core.hub.push(client.key, Push { what, under_way: None });
        if self.by.is_none_or(|by| by.key != client.key) {
            self.owner.people.tidy(&client.member.session, &self.owner.books);
        }
    }

    /// Waits, on the plugin's thread, while the subscribers' shards have too much to do: a plugin that makes many messages of
    /// few requests is held back like any publisher. Shards never wait for a plugin, so this ends.
    fn wait_for_readers(&self, acts: &[Act]) {
        let hub = &self.broker.core.hub;
        for act in acts {
            if let Act::Post { entry, .. } = act
                && !hub.has_room(&entry.reach)
            {
                futures_executor::block_on(hub.room(&entry.reach));
            }
        }
    }
}

impl Act {
    /// What of it must be done while its topic is held.
    fn step(&self) -> Option<Step<'_>> {
        match self {
            Self::Post { entry, draft, keyed } => {
                Some(Step::Post(Posting { stream: &entry.stream, draft, keyed: keyed.as_ref() }))
            }
            Self::Join { entry, .. } | Self::Bring { entry, .. } => Some(Step::Join(&entry.stream)),
            _ => None,
        }
    }

    fn entry_mut(&mut self) -> Option<&mut Arc<Entry>> {
        match self {
            Self::Post { entry, .. } | Self::Join { entry, .. } | Self::Bring { entry, .. } => Some(entry),
            _ => None,
        }
    }
}

fn undone(acts: &[Act], failure: Failure) -> Box<Undone> {
    let answer = match acts.first() {
        Some(Act::Join { parts, .. }) => parts.take().map(|(_, answer)| answer),
        _ => None,
    };
    Box::new(Undone { failure, answer })
}
