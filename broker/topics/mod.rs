//! The registry of the topics in memory: each with its options, its stream and its audience. Unused topics are removed.

pub(crate) mod idempotency;
pub(crate) mod presence_timer;
pub(crate) mod recovery;
pub(crate) mod replay;

use std::borrow::Borrow;
use std::collections::HashMap;
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
use crate::shares::{Holder, Share, Shares};
use crate::store::{Account, Retention, StoreError};
use crate::topic::{Pattern, Topic};

/// Retry hint when the topic limit is reached: unused topics are removed within this time.
const FULL_RETRY_MS: u64 = 1_000;

/// A table with more room than this, of which less than an eighth is used, is shrunk.
const SPARSE_MIN: usize = 65_536;

/// How many topics share an epoch: few enough that their publishers do not contend for its reference count.
const EPOCH_TOPICS: usize = 64;

/// One topic in memory. What a publish reads is adjacent, in the order of the fields, and what seldom changes is shared
/// with other topics: with a hundred thousand topics, each further lookup is a cache miss.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct TopicEntry {
    pub(crate) options: Arc<TopicOptions>,
    /// When the topic was last used, in milliseconds of the registry's own time.
    used_ms: AtomicU64,
    pub(crate) stream: Stream,
    pub(crate) reach: Reach,
    /// The topic's presence, if its rule enables it.
    pub(crate) presence: Option<Arc<TopicPresence>>,
    /// Who made it be loaded: it uses up this one's share.
    share: Share,
}

/// An entry that is found by its name, without a copy of the name in the table.
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

/// The epoch of the topics that are loaded next. Several share one, but a topic that was removed never gets its old
/// epoch again.
#[derive(Debug)]
struct Epoch {
    text: Arc<str>,
    topics: usize,
    /// How many topics were ever removed.
    forgotten: u64,
}

impl Epoch {
    fn new() -> Self {
        Self { text: identity::epoch(), topics: 0, forgotten: 0 }
    }

    /// The epoch for a topic that is loaded. It is valid unless a topic is removed meanwhile, which may be this one.
    fn next(&mut self) -> (Arc<str>, u64) {
        if self.topics == EPOCH_TOPICS {
            *self = Self { forgotten: self.forgotten, ..Self::new() };
        }
        self.topics += 1;
        (Arc::clone(&self.text), self.forgotten)
    }

    /// A topic is removed: topics that are loaded from now on, perhaps the same one, have another epoch.
    fn end(&mut self) {
        self.topics = EPOCH_TOPICS;
        self.forgotten += 1;
    }
}

impl TopicEntry {
    /// Who made it be loaded.
    fn holder(&self) -> &Holder {
        self.share.holder()
    }

    /// Whether the topic has no subscriber, and no member within its grace period.
    fn is_unused(&self) -> bool {
        self.reach.audience().is_empty() && self.presence.as_ref().is_none_or(|presence| presence.is_empty())
    }
}

/// The rules for topics that are loaded.
#[derive(Debug)]
struct RuleCache {
    rules: Rules,
    /// What is kept of the topics of each rule, by its index.
    keeping: Box<[Arc<Keeping>]>,
}

impl RuleCache {
    fn new(rules: Rules) -> Self {
        let keeping = rules.iter().map(|options| Arc::new(keeping(options))).collect();
        Self { rules, keeping }
    }
}

/// The topics in memory, by name.
#[derive(Debug)]
pub(crate) struct TopicRegistry {
    rule_cache: RwLock<Arc<RuleCache>>,
    topics_max: usize,
    shares: Arc<Shares>,
    /// Who holds messages, by rule and client.
    accounts: Mutex<HashMap<(Pattern, Holder), Arc<Account>>>,
    presence_members: usize,
    shards: usize,
    patterns: Arc<Patterns>,
    next: AtomicU64,
    epoch: Mutex<Epoch>,
    started: std::time::Instant,
    metrics: Arc<Metrics>,
    /// Requests the thread that calls [`TopicRegistry::forget_idle`] to do so now. Dropped with the registry.
    sweep_requested: SyncSender<()>,
    topics: DashMap<ByName, ()>,
}

impl TopicRegistry {
    pub(crate) fn new(
        rules: Rules,
        limits: &Limits,
        shards: usize,
        patterns: Arc<Patterns>,
        metrics: Arc<Metrics>,
        sweep_requested: SyncSender<()>,
    ) -> Self {
        let (next, started, topics) = (AtomicU64::new(1), std::time::Instant::now(), DashMap::new());
        let rule_cache = RwLock::new(Arc::new(RuleCache::new(rules)));
        let epoch = Mutex::new(Epoch::new());
        let Limits { topics: topics_max, presence_members, .. } = *limits;
        Self {
            rule_cache,
            topics_max,
            shares: Arc::new(Shares::new(topics_max as u64)),
            accounts: Mutex::default(),
            presence_members,
            shards,
            patterns,
            next,
            epoch,
            started,
            metrics,
            sweep_requested,
            topics,
        }
    }

    /// The topic, loaded if it is not in memory. Whoever makes it be loaded uses up its share for that.
    ///
    /// # Errors
    /// `not_found` when no rule matches, `too_many` at the topic limit or the holder's share of it, `unavailable` when the store
    /// cannot be read.
    pub(crate) fn entry(
        &self,
        topic: &Topic,
        engine: &Engine,
        holder: impl FnOnce() -> Holder,
    ) -> Result<Arc<TopicEntry>, Failure> {
        if let Some(there) = self.topics.get(topic) {
            let entry = Arc::clone(&there.key().0);
            drop(there);
            entry.used_ms.store(self.now_ms(), Relaxed);
            return Ok(entry);
        }
        let rule_cache = self.rule_cache();
        let Some(options) = rule_cache.rules.options(topic) else {
            return Err(Failure::new(ErrorCode::NotFound, format!("no rule is for topic \"{topic}\"")));
        };
        let holder = holder();
        loop {
            let share = self.share(&holder)?;
            let (epoch, forgotten) = self.epoch().next();
            let opened = self.open(topic, Arc::clone(&options), &rule_cache, (epoch, share), engine);
            let entry = Arc::new(opened.map_err(|error| error.to_failure())?);
            match self.topics.entry(ByName(Arc::clone(&entry))) {
                Slot::Occupied(there) => return Ok(Arc::clone(&there.key().0)),
                // The topic may have been loaded, published to and removed meanwhile: load it again.
                Slot::Vacant(_) if self.epoch().forgotten != forgotten => {}
                Slot::Vacant(free) => {
                    free.insert(());
                    self.metrics.topics.add(1);
                    return Ok(entry);
                }
            }
        }
    }

    /// The same for a topic that was forgotten meanwhile.
    ///
    /// # Errors
    /// Those of [`TopicRegistry::entry`].
    pub(crate) fn entry_again(&self, forgotten: &TopicEntry, engine: &Engine) -> Result<Arc<TopicEntry>, Failure> {
        self.entry(forgotten.stream.topic(), engine, || forgotten.holder().clone())
    }

    fn account(&self, rule: &Pattern, holder: &Holder) -> Arc<Account> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let account = accounts.entry((rule.clone(), holder.clone()));
        Arc::clone(account.or_insert_with(|| Account::new(rule.as_str().into(), holder.clone())))
    }

    fn share(&self, holder: &Holder) -> Result<Share, Failure> {
        self.shares.take(holder, 1).ok_or_else(|| {
            // One request is enough, however many topics are refused until then.
            let _ = self.sweep_requested.try_send(());
            let text = format!("topic limit reached: {} in all, and the share of each client", self.topics_max);
            Failure::new(ErrorCode::TooMany, text).retry_after_ms(FULL_RETRY_MS)
        })
    }

    fn open(
        &self,
        topic: &Topic,
        options: Arc<TopicOptions>,
        rule_cache: &RuleCache,
        (epoch, share): (Arc<str>, Share),
        engine: &Engine,
    ) -> Result<TopicEntry, StoreError> {
        let keeping = Arc::clone(&rule_cache.keeping[options.rule]);
        let id = StreamId::topic(self.next.fetch_add(1, Relaxed));
        let account = self.account(&options.pattern, share.holder());
        let stream = engine.open(id, topic.clone(), epoch, keeping, account)?;
        let presence = options.presence.then(|| {
            let (members_max, metrics) = (self.presence_members, Arc::clone(&self.metrics));
            Arc::new(TopicPresence::new(topic.clone(), id, self.shards, members_max, metrics))
        });
        let audience = Arc::new(Audience::new(self.shards, &options.delivery));
        // A subscription to a pattern receives every message.
        let is_selected = options.patterns && options.delivery_max == Policy::Queue;
        let reach = Reach::new(audience, is_selected.then(|| self.patterns.place(topic)));
        Ok(TopicEntry { options, used_ms: AtomicU64::new(self.now_ms()), stream, reach, presence, share })
    }

    /// The topic, if it is in memory.
    pub(crate) fn peek(&self, topic: &Topic) -> Option<Arc<TopicEntry>> {
        self.topics.get(topic).map(|there| Arc::clone(&there.key().0))
    }

    /// Visits each topic in memory. Parts of the table are locked meanwhile, so `look` must be short.
    pub(crate) fn each(&self, mut look: impl FnMut(&Topic, &Arc<TopicEntry>)) {
        self.topics.iter().for_each(|there| look(there.key().topic(), &there.key().0));
    }

    /// The options of a topic, whether it is in memory or not; none if no rule matches.
    pub(crate) fn options(&self, topic: &Topic) -> Option<Arc<TopicOptions>> {
        match self.peek(topic) {
            Some(entry) => Some(Arc::clone(&entry.options)),
            None => self.rule_cache().rules.options(topic),
        }
    }

    /// Removes the topics that have no subscribers and were not used for so long. A topic that is loaded again
    /// continues at its position if its history is kept, else it begins a new epoch. Subscribers of patterns keep no
    /// topic in memory.
    pub(crate) fn forget_idle(&self, idle_ms: u64) {
        let now_ms = self.now_ms();
        self.topics.retain(|ByName(entry), ()| {
            let idle = now_ms.saturating_sub(entry.used_ms.load(Relaxed)) >= idle_ms;
            let stays = !(idle && entry.stream.retire_if(|| entry.is_unused()));
            if !stays {
                self.metrics.topics.subtract(1);
                // Before it can be loaded again.
                self.epoch().end();
            }
            entry.reach.forget_changed(&self.patterns);
            stays
        });
        // The logs of a store have theirs, too.
        self.accounts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, account| Arc::strong_count(account) > 1);
        let (used, room) = (self.topics.len(), self.topics.capacity());
        if room > SPARSE_MIN && used < room / 8 {
            self.topics.shrink_to_fit();
        }
    }

    /// Replaces the rules. Topics in memory keep their options until they are removed.
    pub(crate) fn set_rules(&self, rules: Rules) {
        *self.rule_cache.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(RuleCache::new(rules));
    }

    fn rule_cache(&self) -> Arc<RuleCache> {
        Arc::clone(&self.rule_cache.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn epoch(&self) -> MutexGuard<'_, Epoch> {
        // Plain fields, each valid with any value of the others.
        self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn keeping(options: &TopicOptions) -> Keeping {
    let retention = |History { messages, bytes, age_ms }| Retention { messages, bytes, age_ms };
    Keeping { retention: options.history.map(retention), keys_ms: options.keys_ms }
}
