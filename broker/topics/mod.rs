//! The registry of the topics in memory: each with its options, its stream and its audience. Unused topics are removed.

pub(crate) mod idempotency;
pub(crate) mod presence_timer;
pub(crate) mod recovery;
pub(crate) mod replay;

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Slot;
use rialto_protocol::{ErrorCode, Failure, Policy};

use crate::config::{History, Limits, Rules, TopicOptions};
use crate::engine::{Engine, Keeping, Stream};
use crate::hub::{Audience, Patterns, Reach};
use crate::identity::{self, StreamId};
use crate::metrics::Metrics;
use crate::presence::TopicPresence;
use crate::store::{Retention, StoreError};
use crate::topic::Topic;

/// Unused topics are removed on demand; that takes less than this.
const FULL_RETRY_MS: u64 = 1_000;

/// A table with more room than this, of which less than an eighth is used, is shrunk.
const SPARSE_MIN: usize = 65_536;

/// So many topics share an epoch: few enough that those who publish to them do not wait for each other.
const EPOCH_TOPICS: usize = 64;

/// One topic in memory. What a publisher needs of it stands together, in the order of the fields, and what does not change much
/// is shared with other topics: of a hundred thousand, each look elsewhere is a wait for memory.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct TopicEntry {
    pub(crate) options: Arc<TopicOptions>,
    /// When the topic was last used, in milliseconds of the registry's own time.
    used_ms: AtomicU64,
    pub(crate) stream: Stream,
    pub(crate) reach: Reach,
    /// Who is present, where the topic's rule wants that to be known.
    pub(crate) presence: Option<Arc<TopicPresence>>,
}

/// An entry as it is looked up by its name, without a copy of that in the table, which so stays small.
#[derive(Debug)]
struct ByName(Arc<TopicEntry>);

impl ByName {
    fn topic(&self) -> &Topic {
        self.0.stream.topic()
    }
}

impl Borrow<Topic> for ByName {
    fn borrow(&self) -> &Topic {
        self.topic()
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.topic() == other.topic()
    }
}

impl Eq for ByName {}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.topic().hash(state);
    }
}

/// The epoch of the topics that come into memory next. Several share one, but never a topic with itself in an earlier time.
#[derive(Debug)]
struct Epoch {
    text: Arc<str>,
    topics: usize,
    /// How many topics were ever forgotten.
    forgotten: u64,
}

impl Epoch {
    fn new() -> Self {
        Self { text: identity::epoch(), topics: 0, forgotten: 0 }
    }

    /// For a topic that comes into memory, unless some topic is forgotten first: then it may be this one.
    fn next(&mut self) -> (Arc<str>, u64) {
        if self.topics == EPOCH_TOPICS {
            *self = Self { forgotten: self.forgotten, ..Self::new() };
        }
        self.topics += 1;
        (Arc::clone(&self.text), self.forgotten)
    }

    /// A topic is forgotten: what comes into memory from now on, be it the same one, has another epoch.
    fn end(&mut self) {
        self.topics = EPOCH_TOPICS;
        self.forgotten += 1;
    }
}

impl TopicEntry {
    /// Whether the topic has no subscriber, and no member within its grace period.
    fn is_unused(&self) -> bool {
        self.reach.audience().is_empty() && self.presence.as_ref().is_none_or(|presence| presence.is_empty())
    }
}

/// What holds for topics that come into memory.
#[derive(Debug)]
struct RuleCache {
    rules: Rules,
    /// What is kept of the topics of each rule.
    keeping: Box<[Arc<Keeping>]>,
}

impl RuleCache {
    fn new(rules: Rules, keys_max: usize) -> Self {
        let keeping = rules.iter().map(|options| Arc::new(keeping(options, keys_max))).collect();
        Self { rules, keeping }
    }
}

/// Finds topics by name.
#[derive(Debug)]
pub(crate) struct TopicRegistry {
    ruled: RwLock<Arc<RuleCache>>,
    topics_max: usize,
    presence_members: usize,
    shards: usize,
    patterns: Arc<Patterns>,
    next: AtomicU64,
    epoch: Mutex<Epoch>,
    started: std::time::Instant,
    metrics: Arc<Metrics>,
    /// Asks the thread that calls [`TopicRegistry::forget_idle`] to do so now. Dropped with the registry.
    room_wanted: SyncSender<()>,
    topics: DashMap<ByName, ()>,
}

impl TopicRegistry {
    pub(crate) fn new(
        rules: Rules,
        limits: &Limits,
        shards: usize,
        patterns: Arc<Patterns>,
        metrics: Arc<Metrics>,
        room_wanted: SyncSender<()>,
    ) -> Self {
        let (next, started, topics) = (AtomicU64::new(1), std::time::Instant::now(), DashMap::new());
        let ruled = RwLock::new(Arc::new(RuleCache::new(rules, limits.keys)));
        let epoch = Mutex::new(Epoch::new());
        let Limits { topics: topics_max, presence_members, .. } = *limits;
        Self {
            ruled,
            topics_max,
            presence_members,
            shards,
            patterns,
            next,
            epoch,
            started,
            metrics,
            room_wanted,
            topics,
        }
    }

    /// The topic, loaded into memory if it is not there.
    ///
    /// # Errors
    /// `not_found` when no rule is for it, `too_many` when no further topic fits, `unavailable` when the store cannot be read.
    pub(crate) fn entry(&self, topic: &Topic, engine: &Engine) -> Result<Arc<TopicEntry>, Failure> {
        if let Some(there) = self.topics.get(topic) {
            let entry = Arc::clone(&there.key().0);
            drop(there);
            entry.used_ms.store(self.now_ms(), Relaxed);
            return Ok(entry);
        }
        let ruled = self.ruled();
        let Some(options) = ruled.rules.options(topic) else {
            return Err(Failure::new(ErrorCode::NotFound, format!("no rule is for topic \"{topic}\"")));
        };
        if self.topics.len() >= self.topics_max {
            // One request for room is enough, however many topics are refused until then.
            let _ = self.room_wanted.try_send(());
            let text = format!("the broker holds {} topics already", self.topics_max);
            return Err(Failure::new(ErrorCode::TooMany, text).retry_after_ms(FULL_RETRY_MS));
        }
        loop {
            let (epoch, forgotten) = self.epoch().next();
            let opened = self.open(topic, Arc::clone(&options), &ruled, epoch, engine);
            let entry = Arc::new(opened.map_err(|error| error.to_failure())?);
            match self.topics.entry(ByName(Arc::clone(&entry))) {
                Slot::Occupied(there) => return Ok(Arc::clone(&there.key().0)),
                // It may have come and gone meanwhile, and gone on where this one does not know of.
                Slot::Vacant(_) if self.epoch().forgotten != forgotten => {}
                Slot::Vacant(free) => {
                    free.insert(());
                    self.metrics.topics.add(1);
                    return Ok(entry);
                }
            }
        }
    }

    fn open(
        &self,
        topic: &Topic,
        options: Arc<TopicOptions>,
        ruled: &RuleCache,
        epoch: Arc<str>,
        engine: &Engine,
    ) -> Result<TopicEntry, StoreError> {
        let keeping = Arc::clone(&ruled.keeping[options.rule]);
        let id = StreamId::topic(self.next.fetch_add(1, Relaxed));
        let stream = engine.open(id, topic.clone(), epoch, keeping)?;
        let presence = options.presence.then(|| {
            let (members_max, metrics) = (self.presence_members, Arc::clone(&self.metrics));
            Arc::new(TopicPresence::new(topic.clone(), id, self.shards, members_max, metrics))
        });
        let audience = Arc::new(Audience::new(self.shards, &options.delivery));
        // A subscription to a pattern receives every message.
        let is_selected = options.patterns && options.delivery_max == Policy::Queue;
        let reach = Reach::new(audience, is_selected.then(|| self.patterns.place(topic)));
        Ok(TopicEntry { options, used_ms: AtomicU64::new(self.now_ms()), stream, reach, presence })
    }

    /// The topic, if it is in memory.
    pub(crate) fn peek(&self, topic: &Topic) -> Option<Arc<TopicEntry>> {
        self.topics.get(topic).map(|there| Arc::clone(&there.key().0))
    }

    /// Looks at each topic in memory. Meanwhile others cannot come into memory, so the look is short.
    pub(crate) fn each(&self, mut look: impl FnMut(&Topic, &Arc<TopicEntry>)) {
        self.topics.iter().for_each(|there| look(there.key().topic(), &there.key().0));
    }

    /// The options of a topic, whether it is in memory or not; none where no rule is for it.
    pub(crate) fn options(&self, topic: &Topic) -> Option<Arc<TopicOptions>> {
        match self.peek(topic) {
            Some(entry) => Some(Arc::clone(&entry.options)),
            None => self.ruled().rules.options(topic),
        }
    }

    /// Forgets the topics that have no audience and were not used for so long. A topic that comes back goes on where it was if
    /// anything of it is kept, else it begins a new epoch. Who is subscribed to patterns holds no topic: they would hold all
    /// that they select.
    pub(crate) fn forget_idle(&self, idle_ms: u64) {
        let now_ms = self.now_ms();
        self.topics.retain(|ByName(entry), ()| {
            let idle = now_ms.saturating_sub(entry.used_ms.load(Relaxed)) >= idle_ms;
            let stays = !(idle && entry.stream.retire_if(|| entry.is_unused()));
            if !stays {
                self.metrics.topics.subtract(1);
                // Before anyone can bring it back.
                self.epoch().end();
            }
            entry.reach.forget_changed(&self.patterns);
            stays
        });
        let (used, room) = (self.topics.len(), self.topics.capacity());
        if room > SPARSE_MIN && used < room / 8 {
            self.topics.shrink_to_fit();
        }
    }

    /// Other rules hold from now on, for topics in memory once they have been forgotten.
    pub(crate) fn set_rules(&self, rules: Rules, keys_max: usize) {
        *self.ruled.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(RuleCache::new(rules, keys_max));
    }

    fn ruled(&self) -> Arc<RuleCache> {
        Arc::clone(&self.ruled.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn epoch(&self) -> MutexGuard<'_, Epoch> {
        // Plain fields, each good with any of the others.
        self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn keeping(options: &TopicOptions, keys_max: usize) -> Keeping {
    let retention = |History { messages, bytes, age_ms }| Retention { messages, bytes, age_ms };
    Keeping { retention: options.history.map(retention), keys_ms: options.keys_ms, keys_max }
}
