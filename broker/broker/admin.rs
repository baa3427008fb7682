//! Administration of a running broker: lists topics and ends sessions. It knows no HTTP.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use rialto_protocol::{CloseCode, Closing, Failure, Sessions, TopicLine};
use tokio::sync::mpsc;

use super::Broker;
use crate::access::{self, Action, Target};
use crate::request::caller::Caller;
use crate::topic::Topic;
use crate::topics::TopicEntry;

/// When a session may come back whose close code says that it should.
const RETRY_MS: u64 = 1_000;

impl Broker {
    /// Topics in memory, sorted by name: the first `limit` behind `after` that are `selected`, and whether there are more. Walks
    /// all of them.
    pub fn topics(
        &self,
        selected: impl Fn(&Topic) -> bool,
        after: Option<&str>,
        limit: usize,
    ) -> (Vec<TopicLine>, bool) {
        self.topics_as(Caller::Embedder, selected, after, limit).expect("the embedder may list topics")
    }

    /// The same for any caller: of those topics that it may know of.
    ///
    /// # Errors
    /// `forbidden` where the caller may list none.
    pub(crate) fn topics_as(
        &self,
        caller: Caller<'_>,
        selected: impl Fn(&Topic) -> bool,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<TopicLine>, bool), Failure> {
        access::check(caller, Action::ListTopics, Target::Broker)?;
        // The largest name that was found is on top: the first to be replaced.
        let mut first: BinaryHeap<ByName> = BinaryHeap::new();
        let mut more = false;
        self.core.topics.each(|topic, entry| {
            let is_behind = after.is_none_or(|after| topic.as_str() > after);
            if !is_behind || !access::lists(caller, topic) || !selected(topic) {
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
            // A stream that was retired meanwhile is not in memory any more.
            entry.stream.join(|view| position = Some(view.position())).ok()?;
            let (topic, subscribers) = (topic.as_str().into(), entry.reach.audience().subscribers());
            Some(TopicLine { topic, position: position?, subscribers })
        });
        Ok((lines.collect(), more))
    }

    /// Ends sessions: each is closed with `code` and a reason, and with a hint to reconnect where the code means that. Returns
    /// the number of sessions that were closed.
    pub async fn disconnect(&self, sessions: Sessions<'_>, code: CloseCode) -> u64 {
        self.disconnect_as(Caller::Embedder, sessions, code).await.expect("the embedder may end sessions")
    }

    /// The same for any caller.
    ///
    /// # Errors
    /// `forbidden` where the caller may not do this.
    pub(crate) async fn disconnect_as(
        &self,
        caller: Caller<'_>,
        sessions: Sessions<'_>,
        code: CloseCode,
    ) -> Result<u64, Failure> {
        access::check(caller, Action::Disconnect, Target::Broker)?;
        let closing = Closing {
            code: code.number(),
            message: "an operator ended the session".to_owned(),
            retry_after_ms: code.reconnect().then_some(RETRY_MS),
        };
        let sessions = sessions.into_owned();
        let (counted, mut counts) = mpsc::unbounded_channel();
        for shard in 0..self.core.hub.shards() {
            let (sessions, closing, counted) = (sessions.clone(), closing.clone(), counted.clone());
            self.core.hub.run_on(shard, move |shard| {
                // The caller may have stopped waiting.
                let _ = counted.send(shard.evict(|session, user| sessions.includes(session, user), &closing));
            });
        }
        drop(counted);
        let mut evicted = 0;
        while let Some(count) = counts.recv().await {
            evicted += count;
        }
        Ok(evicted)
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
