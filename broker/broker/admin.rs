//! What whoever runs the broker may do to it while it runs: list its topics, end sessions, publish and call in the name of a
//! program. It knows no HTTP.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use rialto_protocol::{Answered, CloseCode, Closing, Failure, Payload, Published, Sessions, TopicLine};
use tokio::sync::mpsc;

use super::{Broker, CallRequest, CallTarget, keyed};
use crate::broker;
use crate::store::Digest;
use crate::topic::Topic;
use crate::topics::TopicEntry;

/// When a session may come back whose close code says that it should.
const RETRY_MS: u64 = 1_000;

impl Broker {
    /// Topics in memory by name: the first `limit` behind `after` that are `selected`, and whether there are more. Walks all
    /// of them.
    pub fn topics(
        &self,
        selected: impl Fn(&Topic) -> bool,
        after: Option<&str>,
        limit: usize,
    ) -> (Vec<TopicLine>, bool) {
        // The largest name of those that are kept is on top: the first to go.
        let mut first: BinaryHeap<ByName> = BinaryHeap::new();
        let mut more = false;
        self.core.topics.each(|topic, entry| {
            let is_behind = after.is_none_or(|after| topic.as_str() > after);
            if !is_behind || !selected(topic) {
                return;
            }
            if first.len() >= limit {
                more = true;
                if first.peek().is_none_or(|largest| largest.0 <= *topic) {
                    return;
                }
                first.pop();
            }
            first.push(ByName(topic.clone(), Arc::clone(entry)));
        });
        let lines = first.into_sorted_vec().into_iter().filter_map(|ByName(topic, entry)| {
            let mut position = None;
            // A stream that was retired meanwhile is as good as not there.
            entry.stream.join(|view| position = Some(view.position())).ok()?;
            let (topic, subscribers) = (topic.as_str().into(), entry.reach.audience().subscribers());
            Some(TopicLine { topic, position: position?, subscribers })
        });
        (lines.collect(), more)
    }

    /// Ends sessions: each is told `code` and why, with a hint to come back where the code means that. Gives the number of
    /// those that were told.
    pub async fn disconnect(&self, sessions: Sessions<'_>, code: CloseCode) -> u64 {
        let closing = Closing {
            code: code.number(),
            message: "an operator ended the session".to_owned(),
            retry_after_ms: code.reconnect().then_some(RETRY_MS),
        };
        let sessions = sessions.into_owned();
        let (told, mut counts) = mpsc::unbounded_channel();
        for shard in 0..self.core.hub.shards() {
            let (sessions, closing, told) = (sessions.clone(), closing.clone(), told.clone());
            self.core.hub.run_on(shard, move |shard| {
                // Who asked may have left.
                let _ = told.send(shard.evict(|member| sessions.includes(member), &closing));
            });
        }
        drop(told);
        let mut evicted = 0;
        while let Some(count) = counts.recv().await {
            evicted += count;
        }
        evicted
    }

    /// Publishes in the name of a program: its idempotency keys are its own.
    pub(crate) async fn publish_for(
        &self,
        program: &str,
        topic: &Topic,
        payload: Payload,
        key: Option<&str>,
    ) -> Result<Published, Failure> {
        let keyed = keyed(key, Some(&broker::program(program)), || Digest::of(None, Some(&payload)))?;
        self.publish_keyed(topic, payload, keyed).await
    }

    /// Asks a plugin in the name of a program: its idempotency keys are its own.
    pub(crate) async fn call_for(
        &self,
        program: &str,
        asked: CallTarget,
        method: String,
        payload: Option<Payload>,
        key: Option<&str>,
    ) -> Result<Answered, Failure> {
        let keyed = keyed(key, Some(&broker::program(program)), || Digest::of(Some(&method), payload.as_ref()))?;
        self.ask_for(asked, CallRequest { method, payload, keyed }).await
    }
}

/// A topic in the order of names.
struct ByName(Topic, Arc<TopicEntry>);

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for ByName {}

impl PartialOrd for ByName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}
