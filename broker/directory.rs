//! The topics in memory: each with its options, its order and its audience. It forgets topics that nobody needs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Slot;
use rialto_protocol::{ErrorCode, Failure, Policy};

use crate::config::{History, Limits, Rules, TopicOptions};
use crate::engine::{Engine, Keeping, Stream};
use crate::hub::{Audience, Patterns, Selection};
use crate::identity;
use crate::metrics::Metrics;
use crate::store::Retention;
use crate::topic::Topic;

/// Topics that nobody needs are forgotten on demand; that takes less than this.
const FULL_RETRY_MS: u64 = 1_000;

/// So many topics share an epoch: few enough that those who publish to them do not wait for each other.
const EPOCH_TOPICS: usize = 64;

/// One topic in memory. Small, and of what does not change much shared with others: whoever publishes to many topics finds
/// the more of them in the processor's cache.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) options: Arc<TopicOptions>,
    pub(crate) stream: Stream,
    pub(crate) audience: Arc<Audience>,
    pub(crate) selection: Selection,
    /// When the topic was last used, in milliseconds of the directory's own time.
    used_ms: AtomicU64,
}

/// The epoch of the topics that come into memory next. Several share one, but never a topic with itself in an earlier time.
#[derive(Debug)]
struct Epoch {
    text: Arc<str>,
    topics: usize,
}

impl Epoch {
    /// For a topic that comes into memory.
    fn next(&mut self) -> Arc<str> {
        if self.topics == EPOCH_TOPICS {
            *self = Self { text: identity::epoch(), topics: 0 };
        }
        self.topics += 1;
        Arc::clone(&self.text)
    }

    /// A topic is forgotten: what comes into memory from now on, be it the same one, has another epoch.
    fn end(&mut self) {
        self.topics = EPOCH_TOPICS;
    }
}

/// Finds topics by name.
#[derive(Debug)]
pub(crate) struct Directory {
    rules: Rules,
    topics_max: usize,
    keys_max: usize,
    shards: usize,
    patterns: Arc<Patterns>,
    next: AtomicU64,
    epoch: Mutex<Epoch>,
    started: std::time::Instant,
    metrics: Arc<Metrics>,
    /// Asks whoever calls [`Directory::forget_idle`] to do it now. Dropped with the directory.
    room_wanted: SyncSender<()>,
    topics: DashMap<Topic, Arc<Entry>>,
}

impl Directory {
    pub(crate) fn new(
        rules: Rules,
        limits: &Limits,
        shards: usize,
        patterns: Arc<Patterns>,
        metrics: Arc<Metrics>,
        room_wanted: SyncSender<()>,
    ) -> Self {
        let (next, started, topics) = (AtomicU64::new(1), std::time::Instant::now(), DashMap::new());
        let (topics_max, keys_max) = (limits.topics, limits.keys);
        let epoch = Mutex::new(Epoch { text: identity::epoch(), topics: 0 });
        Self { rules, topics_max, keys_max, shards, patterns, next, epoch, started, metrics, room_wanted, topics }
    }

    /// The topic, brought into memory if it is not there.
    ///
    /// # Errors
    /// `not_found` when no rule is for it, `too_many` when no further topic fits.
    pub(crate) fn entry(&self, topic: &Topic, engine: &Engine) -> Result<Arc<Entry>, Failure> {
        if let Some(entry) = self.topics.get(topic) {
            entry.used_ms.store(self.now_ms(), Relaxed);
            return Ok(Arc::clone(&entry));
        }
        let Some(options) = self.rules.options(topic) else {
            return Err(Failure::new(ErrorCode::NotFound, format!("no rule is for topic \"{topic}\"")));
        };
        if self.topics.len() >= self.topics_max {
            // One wish is enough, however many are turned away until it is granted.
            let _ = self.room_wanted.try_send(());
            let text = format!("the broker holds {} topics already", self.topics_max);
            return Err(Failure::new(ErrorCode::TooMany, text).retry_after_ms(FULL_RETRY_MS));
        }
        match self.topics.entry(topic.clone()) {
            Slot::Occupied(there) => Ok(Arc::clone(there.get())),
            Slot::Vacant(free) => {
                let audience = Arc::new(Audience::new(self.shards, &options.delivery));
                let keeping = Keeping {
                    retention: options.history.map(retention),
                    keys_ms: options.keys_ms,
                    keys_max: self.keys_max,
                };
                // Whoever is subscribed to a pattern gets everything.
                let selected = options.patterns && options.delivery_max == Policy::Queue;
                let entry = Arc::new(Entry {
                    options,
                    stream: engine.open(self.next.fetch_add(1, Relaxed), topic.clone(), self.epoch().next(), keeping),
                    audience,
                    selection: Selection::new(selected.then(|| self.patterns.place(topic))),
                    used_ms: AtomicU64::new(self.now_ms()),
                });
                free.insert(Arc::clone(&entry));
                self.metrics.topics.add(1);
                Ok(entry)
            }
        }
    }

    /// The topic, if it is in memory.
    pub(crate) fn peek(&self, topic: &Topic) -> Option<Arc<Entry>> {
        self.topics.get(topic).map(|entry| Arc::clone(&entry))
    }

    /// The name of the plugin that owns a topic, whether it is in memory or not.
    pub(crate) fn owner(&self, topic: &Topic) -> Option<Arc<str>> {
        match self.peek(topic) {
            Some(entry) => entry.options.plugin.clone(),
            None => self.rules.options(topic)?.plugin.clone(),
        }
    }

    /// Forgets the topics that have no audience and were not used for so long. A topic that comes back goes on where it was if
    /// anything of it is kept, else it begins a new epoch. Who is subscribed to patterns holds no topic: they would hold all
    /// that they select.
    pub(crate) fn forget_idle(&self, idle_ms: u64) {
        let now_ms = self.now_ms();
        self.topics.retain(|_, entry| {
            let idle = now_ms.saturating_sub(entry.used_ms.load(Relaxed)) >= idle_ms;
            let stays = !(idle && entry.stream.retire_if(|| entry.audience.is_empty()));
            if !stays {
                self.metrics.topics.subtract(1);
                // Before anyone can bring it back.
                self.epoch().end();
            }
            entry.selection.forget_changed(&self.patterns);
            stays
        });
    }

    fn epoch(&self) -> MutexGuard<'_, Epoch> {
        // Two plain fields, of which one is good with any other.
        self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn retention(history: History) -> Retention {
    let History { messages, bytes, age_ms } = history;
    Retention { messages, bytes, age_ms }
}
