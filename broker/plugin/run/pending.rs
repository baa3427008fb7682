//! What the hooks of a plugin have written that waits for the log, in the order of their commits, and the changes to its
//! members that depend on that. It takes no lock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crate::plugin::PluginSession;
use crate::store::{Batch, Key, KeyRecord, Scope, StateEntry};
use crate::topic::Topic;

/// What is known of a key of the state: its value, or that it is removed.
pub(super) type PendingValue = Option<Arc<[u8]>>;

/// A change to the members of a plugin that is undone if its commit is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MembershipChange {
    /// A session has joined a topic.
    Joined { topic: Topic, session: Arc<str> },
    /// A session has left a topic.
    Left { topic: Topic, member: PluginSession },
    /// A session has connected to a raw endpoint.
    Connected { endpoint: Arc<str>, session: Arc<str> },
}

/// The writes of all commits of one plugin that are under way, as one view over what the store has kept.
#[derive(Debug, Default)]
pub(super) struct PendingWrites {
    /// The number of the newest commit; they count from one.
    newest: u64,
    commits: VecDeque<PendingCommit>,
    namespaces: HashMap<Arc<str>, PendingNamespace>,
    /// What requests with a key will have come to, each with the commit that says so.
    keys: HashMap<(Scope, Key), (u64, KeyRecord)>,
    /// Bytes of the keys and values of all commits under way.
    bytes: usize,
}

/// The part of a commit that later hooks see before it is kept.
#[derive(Debug, Default)]
pub(super) struct PendingCommit {
    namespace: Option<Arc<str>>,
    values: Vec<(String, PendingValue)>,
    keys: Vec<((Scope, Key), KeyRecord)>,
    members: Vec<MembershipChange>,
    bytes: usize,
}

/// One namespace with the writes that are under way.
#[derive(Debug, Default)]
struct PendingNamespace {
    values: BTreeMap<String, (u64, PendingValue)>,
    /// How many bytes its keys and values will take.
    bytes: usize,
    newest: u64,
}

impl PendingCommit {
    /// What later hooks see of a commit.
    pub(super) fn of(batch: &Batch) -> Self {
        let writes = batch.state.as_ref();
        let values: Vec<_> = writes.into_iter().flat_map(|writes| writes.values.clone()).collect();
        let keys = batch.keys.iter().map(|kept| ((kept.scope.clone(), kept.key.clone()), kept.record.clone()));
        let bytes = values.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, |value| value.len())).sum();
        Self {
            namespace: writes.map(|writes| Arc::clone(&writes.namespace)),
            values,
            keys: keys.collect(),
            members: Vec::new(),
            bytes,
        }
    }
}

impl PendingWrites {
    /// Adds a commit that has gone into the log's queue. `state_bytes` is what its namespace takes with it.
    pub(super) fn push(&mut self, commit: PendingCommit, state_bytes: usize, members: Vec<MembershipChange>) {
        self.newest += 1;
        let number = self.newest;
        if let Some(namespace) = commit.namespace.as_ref().filter(|_| !commit.values.is_empty()) {
            let pending = self.namespaces.entry(Arc::clone(namespace)).or_default();
            (pending.bytes, pending.newest) = (state_bytes, number);
            pending.values.extend(commit.values.iter().map(|(key, value)| (key.clone(), (number, value.clone()))));
        }
        self.keys.extend(commit.keys.iter().map(|(key, record)| (key.clone(), (number, record.clone()))));
        self.bytes += commit.bytes;
        self.commits.push_back(PendingCommit { members, ..commit });
    }

    /// The oldest commit is kept: from now on the store knows what it wrote.
    pub(super) fn pop(&mut self) {
        let number = self.newest + 1 - self.commits.len() as u64;
        let Some(commit) = self.commits.pop_front() else { return };
        self.bytes -= commit.bytes;
        for (key, _) in commit.keys {
            if self.keys.get(&key).is_some_and(|(newest, _)| *newest == number) {
                self.keys.remove(&key);
            }
        }
        let Some(name) = commit.namespace else { return };
        let Some(namespace) = self.namespaces.get_mut(&name) else { return };
        for (key, _) in commit.values {
            if namespace.values.get(&key).is_some_and(|(newest, _)| *newest == number) {
                namespace.values.remove(&key);
            }
        }
        if namespace.newest == number {
            self.namespaces.remove(&name);
        }
    }

    /// Drops everything, because the oldest commit is not kept, and with it all later ones. Returns the changes to the
    /// members, newest first.
    pub(super) fn drop_all(&mut self) -> Vec<MembershipChange> {
        let dropped = std::mem::replace(self, Self { newest: self.newest, ..Self::default() });
        dropped.commits.into_iter().rev().flat_map(|commit| commit.members.into_iter().rev()).collect()
    }

    /// A session has ended: if it had been removed from a topic, that is not undone any more.
    pub(super) fn forget_left(&mut self, topic: &Topic, session: &str) {
        for commit in &mut self.commits {
            commit.members.retain(|change| {
                !matches!(change, MembershipChange::Left { topic: left, member }
                    if left == topic && *member.id == *session)
            });
        }
    }

    /// How many commits are under way, and the bytes that they hold.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.commits.len(), self.bytes)
    }

    /// The value of a key, if a commit under way has written it.
    pub(super) fn value(&self, namespace: &str, key: &str) -> Option<PendingValue> {
        self.namespaces.get(namespace)?.values.get(key).map(|(_, value)| value.clone())
    }

    /// The first key from one on that a commit under way has written, and its value.
    pub(super) fn next(&self, namespace: &str, from: Bound<&str>) -> Option<(String, PendingValue)> {
        let values = &self.namespaces.get(namespace)?.values;
        let (key, (_, value)) = values.range::<str, _>((from, Bound::Unbounded)).next()?;
        Some((key.clone(), value.clone()))
    }

    /// How many bytes a namespace will take, if a commit under way has written to it.
    pub(super) fn state_bytes(&self, namespace: &str) -> Option<usize> {
        self.namespaces.get(namespace).map(|namespace| namespace.bytes)
    }

    /// What a request under way with this key will have come to.
    pub(super) fn key(&self, scope: Scope, key: Key) -> Option<KeyRecord> {
        self.keys.get(&(scope, key)).map(|(_, record)| record.clone())
    }
}

/// The first entry of a namespace from a key on, of what is under way and what is kept. `pending` is asked before `kept`: what
/// is not under way any more when `kept` is asked, `kept` knows.
///
/// # Errors
/// Those of `kept`.
pub(super) fn merge_next<E>(
    from: Bound<&str>,
    pending: impl Fn(Bound<&str>) -> Option<(String, PendingValue)>,
    kept: impl Fn(Bound<&str>) -> Result<Option<StateEntry>, E>,
) -> Result<Option<StateEntry>, E> {
    let mut from = from.map(str::to_owned);
    loop {
        let bound = from.as_ref().map(String::as_str);
        let (written, stored) = (pending(bound), kept(bound)?);
        match (written, stored) {
            (None, stored) => return Ok(stored),
            (Some((key, _)), Some(stored)) if stored.0 < key => return Ok(Some(stored)),
            (Some((key, Some(value))), _) => return Ok(Some((key, value))),
            (Some((key, None)), _) => from = Bound::Excluded(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::clock::Now;
    use crate::store::Writes;

    fn batch(namespace: &str, writes: &[(&str, Option<&str>)]) -> Batch {
        let write =
            |(key, value): &(&str, Option<&str>)| ((*key).to_owned(), value.map(|value| value.as_bytes().into()));
        let values = writes.iter().map(write).collect();
        Batch {
            state: Some(Writes { namespace: namespace.into(), values, timers: BTreeMap::new() }),
            ..Batch::at(Now::default())
        }
    }

    fn push(pending: &mut PendingWrites, namespace: &str, writes: &[(&str, Option<&str>)], bytes: usize) {
        pending.push(PendingCommit::of(&batch(namespace, writes)), bytes, Vec::new());
    }

    fn value(pending: &PendingWrites, key: &str) -> Option<Option<String>> {
        let value = pending.value("n", key)?;
        Some(value.map(|value| String::from_utf8(value.to_vec()).expect("a text")))
    }

    #[test]
    fn the_newest_write_is_seen_until_its_own_commit_is_kept() {
        let mut pending = PendingWrites::default();
        push(&mut pending, "n", &[("a", Some("1")), ("b", Some("1"))], 4);
        push(&mut pending, "other", &[("a", Some("x"))], 2);
        push(&mut pending, "n", &[("a", None)], 2);
        assert_eq!((value(&pending, "a"), value(&pending, "b")), (Some(None), Some(Some("1".to_owned()))));
        assert_eq!(
            (pending.state_bytes("n"), pending.state_bytes("other"), pending.size()),
            (Some(2), Some(2), (3, 7))
        );
        pending.pop();
        assert_eq!((value(&pending, "a"), value(&pending, "b")), (Some(None), None));
        pending.pop();
        assert_eq!((pending.state_bytes("n"), pending.state_bytes("other")), (Some(2), None));
        pending.pop();
        assert_eq!((value(&pending, "a"), pending.state_bytes("n"), pending.size()), (None, None, (0, 0)));
    }

    #[test]
    fn a_commit_without_writes_keeps_its_place_in_the_order() {
        let mut pending = PendingWrites::default();
        pending.push(PendingCommit::of(&Batch::at(Now::default())), 0, Vec::new());
        push(&mut pending, "n", &[("a", Some("1"))], 2);
        pending.pop();
        assert_eq!((value(&pending, "a"), pending.size()), (Some(Some("1".to_owned())), (1, 2)));
    }

    #[test]
    fn what_is_dropped_is_undone_from_its_end() {
        let (topic, mut pending) = (Topic::parse("t").expect("a topic"), PendingWrites::default());
        let joined = |session: &str| MembershipChange::Joined { topic: topic.clone(), session: session.into() };
        let member = PluginSession::anonymous("s");
        let left = MembershipChange::Left { topic: topic.clone(), member };
        pending.push(PendingCommit::default(), 0, vec![joined("a"), left.clone()]);
        pending.push(PendingCommit::default(), 0, vec![joined("b")]);
        push(&mut pending, "n", &[("a", Some("1"))], 2);
        assert_eq!(pending.drop_all(), [joined("b"), left, joined("a")]);
        assert_eq!((value(&pending, "a"), pending.size(), pending.newest), (None, (0, 0), 3));
    }

    #[test]
    fn a_session_that_has_ended_is_not_put_back() {
        let (topic, mut pending) = (Topic::parse("t").expect("a topic"), PendingWrites::default());
        let left =
            |session: &str| MembershipChange::Left { topic: topic.clone(), member: PluginSession::anonymous(session) };
        pending.push(PendingCommit::default(), 0, vec![left("a"), left("b")]);
        pending.forget_left(&topic, "a");
        assert_eq!(pending.drop_all(), [left("b")]);
    }

    #[test]
    fn entries_under_way_and_kept_entries_come_in_one_order() {
        let mut pending = PendingWrites::default();
        push(&mut pending, "n", &[("b", None), ("c", Some("new")), ("d", None), ("f", None)], 0);
        let kept: BTreeMap<&str, &str> = [("a", "1"), ("b", "2"), ("c", "3"), ("e", "5"), ("f", "6")].into();
        let stored = |from: Bound<&str>| {
            let next = kept.range::<str, _>((from, Bound::Unbounded)).next();
            Ok::<_, Infallible>(next.map(|(key, value)| ((*key).to_owned(), Arc::from(value.as_bytes()))))
        };
        let (mut seen, mut from) = (Vec::new(), Bound::Unbounded);
        while let Ok(Some((key, value))) =
            merge_next(from.as_ref().map(String::as_str), |from| pending.next("n", from), stored)
        {
            seen.push(format!("{key}={}", String::from_utf8_lossy(&value)));
            from = Bound::Excluded(key);
        }
        assert_eq!(seen, ["a=1", "c=new", "e=5"]);
    }
}
