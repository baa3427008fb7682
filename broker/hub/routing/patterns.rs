//! The patterns that sessions are subscribed to: each is one stream with an audience of its own, whatever the number of
//! its subscribers. It delivers nothing.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use super::trie::Trie;
use crate::hub::{Audience, StreamId};
use crate::metrics::Metrics;
use crate::topic::{Pattern, Topic};

/// A change of a pattern concerns the topics that begin with the same token, and with those all that share their version.
const VERSIONS: usize = 1 + u8::MAX as usize;

/// All patterns that are subscribed to.
#[derive(Debug)]
pub(crate) struct Patterns {
    patterns_max: usize,
    shards: usize,
    metrics: Arc<Metrics>,
    selectors: RwLock<Trie<Selector>>,
    /// The number of the next stream; changed under the lock.
    streams: AtomicU64,
    /// Each counts the changes that concern a part of all topics; changed under the lock.
    versions: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// A pattern that somebody is subscribed to.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    pub(in crate::hub) stream: StreamId,
    pub(in crate::hub) audience: Arc<Audience>,
}

/// The patterns that select one topic; there is at least one.
pub(crate) type Selectors = Arc<[Selector]>;

/// As many different patterns as may be are subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyPatterns;

/// Takes a pattern out when its last subscriber has left.
#[derive(Debug)]
pub(in crate::hub) struct Retirement {
    patterns: Weak<Patterns>,
    pattern: Pattern,
    stream: StreamId,
}

impl Patterns {
    pub(in crate::hub) fn new(patterns_max: usize, shards: usize, metrics: Arc<Metrics>) -> Self {
        let versions = (0..VERSIONS).map(|_| AtomicU64::new(0)).collect();
        let (selectors, streams, hasher) = (RwLock::default(), AtomicU64::new(0), RandomState::new());
        Self { patterns_max, shards, metrics, selectors, streams, versions, hasher }
    }

    /// Counts a subscriber of a pattern in and lets `enter` make it one. A publisher that finds out about a new pattern
    /// does so after that.
    ///
    /// # Errors
    /// [`TooManyPatterns`] when the pattern would be one more than may be.
    pub(in crate::hub) fn enter(
        self: &Arc<Self>,
        pattern: &Pattern,
        shard: usize,
        enter: impl FnOnce(&Selector),
    ) -> Result<(), TooManyPatterns> {
        let mut selectors = self.write();
        if let Some(selector) = selectors.get(pattern.as_str()) {
            selector.audience.enter(shard);
            enter(selector);
            return Ok(());
        }
        if selectors.len() >= self.patterns_max {
            return Err(TooManyPatterns);
        }
        let stream = StreamId::pattern(self.streams.fetch_add(1, Release));
        let retirement = Retirement { patterns: Arc::downgrade(self), pattern: pattern.clone(), stream };
        let audience = Arc::new(Audience::of_pattern(self.shards, retirement));
        let selector = Selector { stream, audience };
        selector.audience.enter(shard);
        enter(&selector);
        selectors.add(pattern.as_str(), selector);
        self.metrics.patterns.add(1);
        self.change(pattern);
        Ok(())
    }

    /// The stream of a pattern that somebody is subscribed to.
    pub(in crate::hub) fn stream(&self, pattern: &Pattern) -> Option<StreamId> {
        self.read().get(pattern.as_str()).map(|selector| selector.stream)
    }

    /// Which of the versions concerns a topic.
    pub(crate) fn place(&self, topic: &Topic) -> u8 {
        self.place_of(first_token(topic.as_str()))
    }

    /// The number of changes that concern the topics of a place.
    pub(in crate::hub) fn version(&self, place: u8) -> u64 {
        self.versions[usize::from(place)].load(Acquire)
    }

    /// The patterns that select a topic, and the version of its place that this is true of.
    pub(in crate::hub) fn selecting(&self, topic: &Topic, place: u8) -> (Option<Selectors>, u64) {
        let selectors = self.read();
        let mut found = Vec::new();
        selectors.select(topic.as_str(), &mut |selector| found.push(selector.clone()));
        let found = if found.is_empty() { None } else { Some(found.into()) };
        (found, self.version(place))
    }

    /// To be called under the lock, after the change.
    fn change(&self, pattern: &Pattern) {
        match first_token(pattern.as_str()) {
            "*" | ">" => self.versions.iter().for_each(|version| _ = version.fetch_add(1, Release)),
            token => _ = self.versions[usize::from(self.place_of(token))].fetch_add(1, Release),
        }
    }

    fn place_of(&self, token: &str) -> u8 {
        self.hasher.hash_one(token) as u8
    }

    fn read(&self) -> RwLockReadGuard<'_, Trie<Selector>> {
        // What is done under the lock for writing either happens or does not.
        self.selectors.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Trie<Selector>> {
        self.selectors.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Retirement {
    /// Takes the pattern out, unless somebody has come meanwhile.
    pub(in crate::hub) fn retire(&self) {
        let Some(patterns) = self.patterns.upgrade() else { return };
        let mut selectors = patterns.write();
        let own = selectors.get(self.pattern.as_str()).filter(|selector| selector.stream == self.stream);
        if own.is_some_and(|selector| selector.audience.is_empty()) {
            let gone = selectors.remove(self.pattern.as_str());
            patterns.metrics.patterns.subtract(1);
            patterns.change(&self.pattern);
            drop(selectors);
            drop(gone);
        }
    }
}

fn first_token(text: &str) -> &str {
    text.split('.').next().unwrap_or_default()
}
