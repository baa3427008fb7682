//! The registry of the topics in memory: each with its options, its stream and its audience. Unused topics are removed.

pub(crate) mod idempotency;
pub(crate) mod presence_timer;
pub(crate) mod recovery;
pub(crate) mod replay;
mod rule_change;

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwapOption, Guard};
use dashmap::mapref::entry::Entry as Slot;
use rialto_protocol::{ErrorCode, Failure};

use crate::collections::parted_map::{Pace, PartedMap};
use crate::config::{ActiveConfig, CurrentConfig, TopicOptions};
use crate::engine::{Engine, Stream};
use crate::hub::{Audience, Hub, Reach};
use crate::identity::{self, StreamId};
use crate::metrics::Metrics;
use crate::presence::TopicPresence;
use crate::shares::{Holder, Share, Shares};
use crate::store::{Account, StoreError};
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
    /// When the topic was last used, in milliseconds of the registry's own time.
    used_ms: AtomicU64,
    /// Whether no rule is for the topic any more: it has no subscribers, and nobody can look it up.
    is_without_rule: AtomicBool,
    /// The topic's order, which knows its rule.
    pub(crate) stream: Stream,
    pub(crate) reach: Reach,
    /// The topic's presence, if its rule enables it.
    presence: ArcSwapOption<TopicPresence>,
    /// Who made it be loaded: it uses up this one's share. In a box: an entry must not be as large as a message, of which some
    /// stay in memory when topics are removed, or the allocator has pages with both and gives none of them back.
    share: Box<Share>,
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
        self.reach.audience().is_empty() && self.presence().as_ref().is_none_or(|presence| presence.is_empty())
    }

    /// The topic's presence, if its rule enables it.
    pub(crate) fn presence(&self) -> Guard<Option<Arc<TopicPresence>>> {
        self.presence.load()
    }

    /// Whether a rule is for the topic.
    fn has_rule(&self) -> bool {
        !self.is_without_rule.load(Acquire)
    }
}

/// The topics in memory, by name.
#[derive(Debug)]
pub(crate) struct TopicRegistry {
    config: Arc<CurrentConfig>,
    hub: Hub,
    shares: Arc<Shares>,
    /// Who holds messages, by rule and client.
    accounts: Mutex<HashMap<(Pattern, Holder), Arc<Account>>>,
    next: AtomicU64,
    epoch: Mutex<Epoch>,
    started: std::time::Instant,
    metrics: Arc<Metrics>,
    /// Requests the thread that calls [`TopicRegistry::forget_idle`] to do so now. Dropped with the registry.
    sweep_requested: SyncSender<()>,
    topics: PartedMap<ByName, ()>,
}

impl TopicRegistry {
    pub(crate) fn new(
        config: Arc<CurrentConfig>,
        hub: Hub,
        metrics: Arc<Metrics>,
        sweep_requested: SyncSender<()>,
    ) -> Self {
        let (next, started, topics) = (AtomicU64::new(1), std::time::Instant::now(), PartedMap::new());
        let epoch = Mutex::new(Epoch::new());
        let shares = Arc::new(Shares::new(config.load().limits.topics as u64));
        let accounts = Mutex::default();
        Self { config, hub, shares, accounts, next, epoch, started, metrics, sweep_requested, topics }
    }

    /// The topic, loaded if it is not in memory. The client that makes it be loaded uses up its share.
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
        if let Some(entry) = self.used(topic) {
            return Ok(entry);
        }
        let config = self.config.get();
        let Some(rule) = config.rules.options(topic) else { return Err(no_rule(topic)) };
        let holder = holder();
        loop {
            let share = self.share(&holder)?;
            let (epoch, forgotten) = self.epoch().next();
            let opened = self.open(topic, Arc::clone(&rule), &config, (epoch, share), engine);
            let entry = Arc::new(opened.map_err(|error| error.to_failure())?);
            match self.topics.part(topic).entry(ByName(Arc::clone(&entry))) {
                Slot::Occupied(there) => {
                    let there = Arc::clone(&there.key().0);
                    return if there.has_rule() { Ok(there) } else { Err(no_rule(topic)) };
                }
                // The topic may have been loaded, published to and removed meanwhile: load it again.
                Slot::Vacant(_) if self.epoch().forgotten != forgotten => {}
                Slot::Vacant(free) => {
                    free.insert(());
                    self.metrics.topics.add(1);
                    return self.follow_new(entry, &config, engine);
                }
            }
        }
    }

    /// The topic, if it is in memory, where it stays for a while.
    pub(crate) fn used(&self, topic: &Topic) -> Option<Arc<TopicEntry>> {
        let entry = self.peek(topic)?;
        entry.used_ms.store(self.now_ms(), Relaxed);
        Some(entry)
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
            let topics_max = self.config.load().limits.topics;
            let text = format!("topic limit reached: {topics_max} in all, and the share of each client");
            Failure::new(ErrorCode::TooMany, text).retry_after_ms(FULL_RETRY_MS)
        })
    }

    fn open(
        &self,
        topic: &Topic,
        rule: Arc<TopicOptions>,
        config: &ActiveConfig,
        (epoch, share): (Arc<str>, Share),
        engine: &Engine,
    ) -> Result<TopicEntry, StoreError> {
        let id = StreamId::topic(self.next.fetch_add(1, Relaxed));
        let presence = rule.presence.then(|| self.new_presence(topic, id, config));
        let audience = Arc::new(Audience::new(self.hub.shards(), &rule.delivery));
        let reach = Reach::new(audience, self.hub.patterns().place(topic), Arc::clone(&rule));
        let account = self.account(&rule.pattern, share.holder());
        Ok(TopicEntry {
            used_ms: AtomicU64::new(self.now_ms()),
            is_without_rule: AtomicBool::new(false),
            stream: engine.open(id, topic.clone(), epoch, rule, account)?,
            reach,
            presence: ArcSwapOption::new(presence),
            share: Box::new(share),
        })
    }

    fn new_presence(&self, topic: &Topic, id: StreamId, config: &ActiveConfig) -> Arc<TopicPresence> {
        let (members_max, metrics) = (config.limits.presence_members, Arc::clone(&self.metrics));
        Arc::new(TopicPresence::new(topic.clone(), id, self.hub.shards(), members_max, metrics))
    }

    /// The topic, if it is in memory.
    pub(crate) fn peek(&self, topic: &Topic) -> Option<Arc<TopicEntry>> {
        self.topics.part(topic).get(topic).map(|there| Arc::clone(&there.key().0)).filter(|entry| entry.has_rule())
    }

    /// Visits each topic in memory. Parts of the table are locked meanwhile, so `look` must be short.
    pub(crate) fn each(&self, mut look: impl FnMut(&Topic, &Arc<TopicEntry>)) {
        let ruled = self.topics.iter().filter(|there| there.key().0.has_rule());
        ruled.for_each(|there| look(there.key().topic(), &there.key().0));
    }

    /// The options of a topic, whether it is in memory or not; none if no rule matches.
    pub(crate) fn options(&self, topic: &Topic) -> Option<Arc<TopicOptions>> {
        match self.peek(topic) {
            Some(entry) => Some(entry.stream.rule_to_decide()),
            None => self.config.load().rules.options(topic),
        }
    }

    /// Removes the topics that have no subscribers and were not used for so long. A topic that is loaded again
    /// continues at its position if its history is kept, else it begins a new epoch. Subscribers of patterns keep no
    /// topic in memory. Requests that come meanwhile are not held up for long.
    pub(crate) fn forget_idle(&self, idle_ms: u64) {
        let (now_ms, pace) = (self.now_ms(), &mut Pace::new());
        self.topics.retain(pace, |ByName(entry), ()| {
            let idle = now_ms.saturating_sub(entry.used_ms.load(Relaxed)) >= idle_ms;
            let stays = !(idle && entry.stream.retire_if(|| entry.is_unused()));
            if !stays {
                self.metrics.topics.subtract(1);
                // Before it can be loaded again.
                self.epoch().end();
            }
            entry.reach.forget_changed(self.hub.patterns());
            stays
        });
        // The logs of a store have theirs, too.
        self.accounts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, account| Arc::strong_count(account) > 1);
        self.topics.shrink(SPARSE_MIN, pace);
    }

    fn epoch(&self) -> MutexGuard<'_, Epoch> {
        // Plain fields, each valid with any value of the others.
        self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn no_rule(topic: &Topic) -> Failure {
    Failure::new(ErrorCode::NotFound, format!("no rule is for topic \"{topic}\""))
}
