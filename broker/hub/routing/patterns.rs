//! The patterns that sessions are subscribed to. Each is one stream with one audience, however many subscribers it has. It
//! delivers nothing.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use super::deep_patterns::DeepPatterns;
use super::scope::{Scope, ScopedPattern};
use super::selector_lists::{SelectorList, SelectorLists};
use super::trie::Trie;
use crate::config::TopicOptions;
use crate::hub::{Audience, StreamId};
use crate::metrics::Metrics;
use crate::shares::{Holder, Share, Shares};
use crate::topic::{Pattern, Topic};

/// Topics are hashed by their first token to one of so many versions; a change of a pattern invalidates those that
/// share it.
const VERSIONS: usize = 1 + u8::MAX as usize;

/// All patterns with subscribers.
#[derive(Debug)]
pub(crate) struct Patterns {
    shares: Arc<Shares>,
    deep: DeepPatterns,
    shards: usize,
    metrics: Arc<Metrics>,
    selectors: RwLock<Trie<Vec<PatternEntry>>>,
    lists: SelectorLists,
    /// The number of the next stream; changed under the lock.
    streams: AtomicU64,
    /// Each counts the changes that concern its part of the topics; changed under the lock.
    versions: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// A pattern with subscribers.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    pub(in crate::hub) stream: StreamId,
    pub(in crate::hub) audience: Arc<Audience>,
}

/// The patterns that select one topic; there is at least one.
pub(crate) type Selectors = Arc<SelectorList>;

/// What a look-up of the patterns that select a topic found.
pub(in crate::hub) struct Selecting {
    pub(in crate::hub) selectors: Option<Selectors>,
    /// The version for which this is true.
    pub(in crate::hub) version: u64,
    /// Whether the topic may keep it; if not, the next publish looks again.
    pub(in crate::hub) is_kept: bool,
}

/// A limit of different patterns is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooManyPatterns {
    /// Of all, or the holder's share of them.
    InAll,
    /// Of those of many tokens that begin alike, or the holder's share of them.
    Alike,
}

/// A pattern with subscribers of one scope, which uses up the share of its first subscriber.
#[derive(Debug)]
struct PatternEntry {
    scope: Arc<dyn Scope>,
    selector: Selector,
    _share: Share,
    _of_deep: Option<Share>,
}

/// Removes a pattern when its last subscriber has left.
#[derive(Debug)]
pub(in crate::hub) struct Retirement {
    patterns: Weak<Patterns>,
    pattern: Pattern,
    stream: StreamId,
}

impl Patterns {
    pub(in crate::hub) fn new(
        patterns_max: usize,
        deep_max: usize,
        lists_bytes_max: usize,
        shards: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        let lists = SelectorLists::new(lists_bytes_max, Arc::clone(&metrics));
        let versions = (0..VERSIONS).map(|_| AtomicU64::new(0)).collect();
        let (selectors, streams, hasher) = (RwLock::default(), AtomicU64::new(0), RandomState::new());
        let shares = Arc::new(Shares::new(patterns_max as u64));
        let deep = DeepPatterns::new(deep_max);
        Self { shares, deep, shards, metrics, selectors, lists, streams, versions, hasher }
    }

    /// Allows so many different patterns from now on, and so many deep ones that begin alike.
    pub(in crate::hub) fn set_max(&self, patterns_max: usize, deep_max: usize) {
        self.shares.set_max(patterns_max as u64);
        self.deep.set_max(deep_max);
    }

    /// Counts a subscriber of patterns, and calls `enter` for each to subscribe it, then `then`. Publishers see a new pattern only
    /// after that.
    ///
    /// # Errors
    /// [`TooManyPatterns`] when new patterns would exceed the limit, or the holder's share of it; then nothing was called.
    pub(in crate::hub) fn enter(
        self: &Arc<Self>,
        patterns: &[ScopedPattern],
        (shard, holder): (usize, &Holder),
        mut enter: impl FnMut(&Selector),
        then: impl FnOnce(),
    ) -> Result<(), TooManyPatterns> {
        let mut selectors = self.write();
        let is_new = |one: &&ScopedPattern| find(&selectors, one).is_none();
        let new: Vec<&ScopedPattern> = patterns.iter().filter(is_new).collect();
        let mut entries = Vec::with_capacity(new.len());
        for ScopedPattern { pattern, scope } in new.iter().copied() {
            let share = self.shares.take(holder, 1).ok_or(TooManyPatterns::InAll)?;
            let of_deep = self.deep.take(pattern, holder).map_err(|()| TooManyPatterns::Alike)?;
            let stream = StreamId::pattern(self.streams.fetch_add(1, Release));
            let retirement = Retirement { patterns: Arc::downgrade(self), pattern: pattern.clone(), stream };
            let audience = Arc::new(Audience::of_pattern(self.shards, retirement));
            let (scope, selector) = (Arc::clone(scope), Selector { stream, audience });
            entries.push(PatternEntry { scope, selector, _share: share, _of_deep: of_deep });
        }
        let known = patterns.iter().filter_map(|one| find(&selectors, one));
        for PatternEntry { selector, .. } in known.chain(&entries) {
            selector.audience.enter(shard);
            enter(selector);
        }
        then();
        for (ScopedPattern { pattern, .. }, entry) in new.iter().zip(entries) {
            match selectors.get_mut(pattern.as_str()) {
                Some(there) => there.push(entry),
                None => selectors.add(pattern.as_str(), vec![entry]),
            }
            self.metrics.patterns.add(1);
            self.change(pattern);
        }
        Ok(())
    }

    /// The stream of a pattern with subscribers.
    pub(in crate::hub) fn stream(&self, pattern: &ScopedPattern) -> Option<StreamId> {
        find(&self.read(), pattern).map(|entry| entry.selector.stream)
    }

    /// The index of the version that concerns a topic.
    pub(crate) fn place(&self, topic: &Topic) -> u8 {
        self.place_of(first_token(topic.as_str()))
    }

    /// The version at this index.
    pub(in crate::hub) fn version(&self, place: u8) -> u64 {
        self.versions[usize::from(place)].load(Acquire)
    }

    /// The patterns that select a topic under this rule.
    pub(in crate::hub) fn selecting(&self, topic: &Topic, rule: &TopicOptions, place: u8) -> Selecting {
        let selectors = self.read();
        let mut found = Vec::new();
        selectors.select(topic.as_str(), &mut |entries| {
            let admitted = entries.iter().filter(|entry| entry.scope.admits(topic, rule));
            found.extend(admitted.map(|entry| entry.selector.clone()));
        });
        let version = self.version(place);
        drop(selectors);
        if found.is_empty() {
            return Selecting { selectors: None, version, is_kept: true };
        }
        let (list, is_kept) = self.lists.share(found);
        Selecting { selectors: Some(list), version, is_kept }
    }

    /// Advances the versions that a changed pattern concerns. To be called under the lock, after the change.
    fn change(&self, pattern: &Pattern) {
        match first_token(pattern.as_str()) {
            "*" | ">" => self.versions.iter().for_each(|version| _ = version.fetch_add(1, Release)),
            token => _ = self.versions[usize::from(self.place_of(token))].fetch_add(1, Release),
        }
    }

    fn place_of(&self, token: &str) -> u8 {
        self.hasher.hash_one(token) as u8
    }

    fn read(&self) -> RwLockReadGuard<'_, Trie<Vec<PatternEntry>>> {
        // No write under the lock can stop half way, so a poisoned lock is consistent.
        self.selectors.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Trie<Vec<PatternEntry>>> {
        self.selectors.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Retirement {
    /// Removes the pattern, unless it has a new subscriber.
    pub(in crate::hub) fn retire(&self) {
        let Some(patterns) = self.patterns.upgrade() else { return };
        let mut selectors = patterns.write();
        let Some(entries) = selectors.get_mut(self.pattern.as_str()) else { return };
        let is_own = |entry: &PatternEntry| entry.selector.stream == self.stream && entry.selector.audience.is_empty();
        let Some(place) = entries.iter().position(is_own) else { return };
        let removed = entries.swap_remove(place);
        let emptied = if entries.is_empty() { selectors.remove(self.pattern.as_str()) } else { None };
        patterns.metrics.patterns.subtract(1);
        patterns.change(&self.pattern);
        drop(selectors);
        drop((removed, emptied));
    }
}

/// The entry of a pattern in its scope.
fn find<'s>(selectors: &'s Trie<Vec<PatternEntry>>, wanted: &ScopedPattern) -> Option<&'s PatternEntry> {
    let mut entries = selectors.get(wanted.pattern.as_str())?.iter();
    entries.find(|entry| entry.scope.name() == wanted.scope.name())
}

fn first_token(text: &str) -> &str {
    text.split('.').next().unwrap_or_default()
}
