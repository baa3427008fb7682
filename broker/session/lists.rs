//! Requests about a list of topics, and the end of a session, which is about all of its topics: carried out in slices, between
//! which other sessions of the shard have their turn.

use std::borrow::Cow;
use std::sync::Arc;
use std::vec::IntoIter;

use rialto_protocol::{ErrorCode, Failure, Reply, Subscribe};

use super::{Session, pattern};
use crate::broker::parse_topic;
use crate::hub::work;
use crate::request::responder::{Part, RequestResult, Responder, SubscriptionState};
use crate::topic::{Pattern, Topic};

/// Units of work in a slice: a topic is one.
pub(super) const SLICE_WORK: usize = 16;

/// A topic whose past has to be read counts as so many.
const PAST_WORK: usize = 8;

/// The topics of a request that are still to be done.
pub(super) enum List {
    Subscribe(IntoIter<(Subscribe<'static>, Responder)>),
    Unsubscribe(IntoIter<(Target, Responder)>),
    /// The subscriptions whose permissions are to be looked at again.
    Recheck(IntoIter<Topic>, IntoIter<Pattern>),
    /// All topics of a session that has ended.
    End(IntoIter<(Topic, Arc<SubscriptionState>)>),
}

/// What a session unsubscribes from.
pub(super) enum Target {
    Topic(Topic),
    Pattern(Pattern),
}

impl List {
    /// The topics of a `subscribe`. Each counts as a request in flight, until all are answered.
    pub(super) fn subscribe(requests: Vec<Subscribe<'_>>, mut responder: Responder) -> Self {
        responder.count_as(requests.len());
        let parts = responder.split(requests.iter().map(|request| Arc::from(&*request.topic)), subscribed_all);
        let owned = requests.into_iter().map(|request| {
            let Subscribe { topic, since, last, delivery, presence } = request;
            Subscribe { topic: Cow::Owned(topic.into_owned()), since, last, delivery, presence }
        });
        Self::Subscribe(owned.zip(parts).collect::<Vec<_>>().into_iter())
    }

    /// The same for `unsubscribe`.
    ///
    /// # Errors
    /// Returns the responder where a name is no topic and no pattern.
    pub(super) fn unsubscribe(
        names: &[Cow<'_, str>],
        mut responder: Responder,
    ) -> Result<Self, Box<(Responder, Failure)>> {
        let target = |name: &Cow<'_, str>| match pattern(name) {
            Some(pattern) => Ok(Target::Pattern(pattern)),
            None => parse_topic(name).map(Target::Topic),
        };
        let targets: Vec<Target> = match names.iter().map(target).collect() {
            Ok(targets) => targets,
            Err(failure) => return Err(Box::new((responder, failure))),
        };
        responder.count_as(names.len());
        let parts = responder.split(names.iter().map(|name| Arc::from(&**name)), unsubscribed_all);
        Ok(Self::Unsubscribe(targets.into_iter().zip(parts).collect::<Vec<_>>().into_iter()))
    }
}

impl Session {
    /// Carries out the next slice of a list. Returns whether there may be more.
    pub(super) fn go_on(&mut self) -> bool {
        let Some(mut list) = self.list.take() else { return false };
        let mut done_work = 0;
        while done_work < SLICE_WORK {
            let done = match &mut *list {
                List::Subscribe(requests) => self.subscribe_next(requests),
                List::Unsubscribe(targets) => self.unsubscribe_next(targets),
                List::Recheck(topics, patterns) => self.recheck_next(topics, patterns),
                List::End(_) => None,
            };
            match done {
                Some(units) => {
                    done_work += units;
                    work::add(units);
                }
                None => return false,
            }
        }
        self.list = Some(list);
        true
    }

    /// Subscribes to the next topic. Returns the work that this was; none where nothing is left to be done here.
    fn subscribe_next(&mut self, requests: &mut IntoIter<(Subscribe<'static>, Responder)>) -> Option<usize> {
        let (request, part) = requests.next()?;
        let work = if request.since.is_some() || request.last.is_some() { PAST_WORK } else { 1 };
        let request = self.subscribe_request(request, part);
        if let Some(pending) = request.and_then(|request| self.broker.begin_subscribe(&self.caller, request)) {
            let rest = requests.filter_map(|(request, part)| self.subscribe_request(request, part));
            pending.then(rest.collect());
            return None;
        }
        Some(work)
    }

    fn unsubscribe_next(&mut self, targets: &mut IntoIter<(Target, Responder)>) -> Option<usize> {
        let (target, part) = targets.next()?;
        match target {
            Target::Topic(topic) => match self.subscriptions.remove(&topic).filter(|state| state.is_in()) {
                Some(_) => self.broker.unsubscribe(&self.caller, &topic, part),
                None if self.caller.assigned.remove(&topic) => self.broker.unsubscribe(&self.caller, &topic, part),
                None => part.ok(Reply::Unsubscribed),
            },
            Target::Pattern(pattern) => {
                if self.patterns.remove(&pattern).is_some() {
                    self.broker.core.hub.deselect(self.caller.key, &self.scoped(&pattern));
                    self.set_scoped(&pattern, Vec::new());
                }
                part.ok(Reply::Unsubscribed);
            }
        }
        Some(1)
    }

    /// Looks at the permissions of the next subscription.
    fn recheck_next(&mut self, topics: &mut IntoIter<Topic>, patterns: &mut IntoIter<Pattern>) -> Option<usize> {
        match topics.next() {
            Some(topic) => self.recheck_topic(&topic),
            None => self.recheck_pattern(&patterns.next()?),
        }
        Some(1)
    }

    /// Ends some of the subscriptions of a client that has disconnected, and reports that to the plugins of the topics. Returns
    /// whether there are more.
    pub(crate) fn end_some(&mut self) -> bool {
        let mut left = match self.list.take().map(|list| *list) {
            Some(List::End(left)) => left,
            _ => {
                let assigned =
                    self.caller.assigned.end().into_iter().map(|topic| (topic, SubscriptionState::subscribed()));
                self.subscriptions.drain().chain(assigned).collect::<Vec<_>>().into_iter()
            }
        };
        for (topic, state) in left.by_ref().take(SLICE_WORK) {
            if state.is_in() {
                self.broker.leave(&self.caller, &topic);
            }
        }
        work::add(SLICE_WORK);
        let is_more = left.len() > 0;
        self.list = is_more.then(|| Box::new(List::End(left)));
        is_more
    }
}

fn subscribed_all(parts: Vec<Part>) -> RequestResult {
    let outcome = |(topic, outcome)| match outcome {
        Ok(Reply::Subscribed(subscribed)) => Ok(subscribed),
        Ok(_) => Err((topic, Failure::new(ErrorCode::Internal, "not the answer to a subscription"))),
        Err(failure) => Err((topic, failure)),
    };
    Ok(Reply::SubscribedAll(parts.into_iter().map(outcome).collect()))
}

/// The answer to an `unsubscribe` of several topics: the first failure, if there is one.
fn unsubscribed_all(parts: Vec<Part>) -> RequestResult {
    parts.into_iter().map(|(_, outcome)| outcome).find(Result::is_err).unwrap_or(Ok(Reply::Unsubscribed))
}

#[cfg(test)]
mod tests {
    use rialto_protocol::{Codec, REQUEST_TOPICS_MAX};
    use serde_json::json;

    use super::*;
    use crate::broker::Broker;
    use crate::config::{Config, History, TopicRule};
    use crate::hub::commands_of;
    use crate::identity::SessionKey;
    use crate::limits::seats::SessionPermit;

    fn session(change: impl FnOnce(&mut Config)) -> Session {
        let topics = vec![TopicRule { history: Some(History::default()), ..TopicRule::default() }];
        let mut config = Config { topics, ..Config::default() };
        change(&mut config);
        let broker = Broker::builder().config(config).start().expect("the broker starts");
        let key = SessionKey { shard: 0, slot: 0, serial: 1 };
        Session::new(broker, key, Codec::Json, &SessionPermit::default())
    }

    /// The commands of each slice of a request, the first of which is carried out at once.
    fn slices(session: &mut Session, request: &serde_json::Value) -> Vec<usize> {
        let request = request.to_string();
        let mut counts = vec![commands_of(|| session.handle(request.as_bytes()).expect("a request")).len()];
        while session.list.is_some() {
            assert!(!session.is_ready(), "nothing else is read meanwhile");
            counts.push(commands_of(|| _ = session.go_on()).len());
        }
        counts
    }

    #[test]
    fn a_list_is_carried_out_in_slices_of_bounded_work() {
        let mut session = session(|_| {});
        let topics: Vec<String> = (0..REQUEST_TOPICS_MAX).map(|number| format!("t.{number}")).collect();
        let subscribe = |more: serde_json::Value| {
            let one = |topic: &String| {
                let mut one = json!({"topic": topic});
                one.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
                one
            };
            json!({"type": "subscribe", "id": 1, "topics": topics.iter().map(one).collect::<Vec<_>>()})
        };
        let counts = slices(&mut session, &subscribe(json!({})));
        assert_eq!(counts.iter().sum::<usize>(), topics.len() + 1, "each topic, and the reply");
        assert!(counts.iter().all(|count| *count <= SLICE_WORK + 1) && counts.len() >= 4, "{counts:?}");
        // To read the past takes longer.
        let counts = slices(&mut session, &subscribe(json!({"last": 5})));
        assert!(counts.iter().all(|count| *count <= SLICE_WORK / PAST_WORK + 1), "{counts:?}");
        let counts = slices(
            &mut session,
            &json!({"type": "unsubscribe", "id": 2, "topics": topics.iter().map(|topic| json!({"topic": topic})).collect::<Vec<_>>()}),
        );
        assert!(counts.iter().all(|count| *count <= 2 * SLICE_WORK + 1) && counts.len() >= 4, "{counts:?}");
    }

    #[test]
    fn refused_topics_are_answered_in_slices_and_take_no_room() {
        let mut session = session(|config| config.limits.subscriptions = 10);
        let topics =
            |count: usize| -> Vec<_> { (0..count).map(|number| json!({"topic": format!("t.{number}")})).collect() };
        slices(&mut session, &json!({"type": "subscribe", "id": 1, "topics": topics(REQUEST_TOPICS_MAX)}));
        assert_eq!(session.subscriptions.len(), 10);
        let nameless = vec![json!({"topic": ""}); REQUEST_TOPICS_MAX];
        slices(&mut session, &json!({"type": "subscribe", "id": 2, "topics": nameless}));
        assert_eq!(session.subscriptions.len(), 10);
    }

    #[test]
    fn requests_are_in_order_also_where_nobody_waits() {
        let mut session = session(|_| {});
        let topics: Vec<_> = (0..100).map(|number| json!({"topic": format!("t.{number}")})).collect();
        let list = json!({"type": "subscribe", "id": 1, "topics": topics}).to_string();
        let next = json!({"type": "unsubscribe", "id": 2, "topic": "t.99"}).to_string();
        session.handle(list.as_bytes()).expect("a request");
        session.handle(next.as_bytes()).expect("a request");
        assert!(session.list.is_none() && session.subscriptions.len() == 99);
    }

    #[test]
    fn the_end_of_a_session_is_carried_out_in_slices() {
        let mut session = session(|_| {});
        for hundred in 0..2 {
            let topics: Vec<_> = (0..100).map(|number| json!({"topic": format!("t.{hundred}.{number}")})).collect();
            slices(&mut session, &json!({"type": "subscribe", "id": 1, "topics": topics}));
        }
        let mut counts = Vec::new();
        let mut is_more = true;
        while is_more {
            counts.push(commands_of(|| is_more = session.end_some()).len());
        }
        assert_eq!(counts.iter().sum::<usize>(), 200);
        assert!(counts.iter().all(|count| *count <= SLICE_WORK), "{counts:?}");
    }
}
