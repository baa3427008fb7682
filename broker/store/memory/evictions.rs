//! In which order histories give way when all together take too much: those of the account with the most bytes first, and of
//! these the least recently used. It drops nothing itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::store::Account;
use crate::topic::Topic;

/// Among how many accounts the largest is looked for: this bounds the time that a commit takes.
const COMPARED_MAX: usize = 64;

/// The logs that may be evicted, by the account that holds them.
#[derive(Debug, Default)]
pub(super) struct Evictions {
    lines: Vec<Line>,
    /// Where the next comparison begins.
    cursor: usize,
    /// Whether only the newest logs are here, because the others are being checked: nothing is evicted meanwhile.
    pub(super) is_apart: bool,
}

/// The logs of one account, the least recently used first, each with the time at which it was last checked.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) account: Arc<Account>,
    pub(super) logs: VecDeque<(u64, Topic)>,
}

/// A log that is to give way.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) account: Arc<Account>,
    pub(super) topic: Topic,
    /// When it was last checked.
    pub(super) looked_ms: u64,
    /// Whether it is the only one of its account.
    pub(super) is_only: bool,
}

impl Evictions {
    /// Adds a log, as the one that was used last.
    pub(super) fn add(&mut self, account: &Arc<Account>, used_ms: u64, topic: Topic) {
        self.line(account).push_back((used_ms, topic));
    }

    /// Puts a log back that does not give way yet.
    pub(super) fn put_back(&mut self, candidate: Candidate) {
        let Candidate { account, topic, looked_ms, .. } = candidate;
        self.line(&account).push_front((looked_ms, topic));
    }

    fn line(&mut self, account: &Arc<Account>) -> &mut VecDeque<(u64, Topic)> {
        let known = account.line.load(Relaxed);
        let is_there = self.lines.get(known).is_some_and(|line| Arc::ptr_eq(&line.account, account));
        let place = if is_there { known } else { self.lines.len() };
        if !is_there {
            account.line.store(place, Relaxed);
            self.lines.push(Line { account: Arc::clone(account), logs: VecDeque::new() });
        }
        &mut self.lines[place].logs
    }

    /// The log that gives way next. It is no longer here.
    pub(super) fn next(&mut self) -> Option<Candidate> {
        let count = self.lines.len();
        let bytes = |place: usize| self.lines[place].account.bytes();
        let places = (0..count.min(COMPARED_MAX)).map(|step| (self.cursor + step) % count);
        let place = places.max_by_key(|place| bytes(*place))?;
        self.cursor = if count > COMPARED_MAX { (self.cursor + COMPARED_MAX) % count } else { 0 };
        let line = &mut self.lines[place];
        let account = Arc::clone(&line.account);
        let popped = line.logs.pop_front();
        let is_only = line.logs.is_empty();
        if is_only {
            self.remove(place);
        }
        let (looked_ms, topic) = popped?;
        Some(Candidate { account, topic, looked_ms, is_only })
    }

    fn remove(&mut self, place: usize) {
        self.lines.swap_remove(place);
        if let Some(moved) = self.lines.get(place) {
            moved.account.line.store(place, Relaxed);
        }
    }

    /// Takes all lines out, until [`Evictions::join`].
    pub(super) fn part(&mut self) -> Vec<Line> {
        self.is_apart = true;
        std::mem::take(&mut self.lines)
    }

    /// Puts lines in again, before those that came meanwhile.
    pub(super) fn join(&mut self, lines: Vec<Line>) {
        for Line { account, logs } in lines.into_iter().filter(|line| !line.logs.is_empty()) {
            let there = self.line(&account);
            let newer = std::mem::replace(there, logs);
            there.extend(newer);
        }
        self.is_apart = false;
    }

    /// Whether there is no log.
    pub(super) fn has_none(&self) -> bool {
        self.lines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shares::Holder;

    #[test]
    fn the_largest_account_gives_way_first_and_in_it_what_was_used_longest_ago() {
        let topic = |name: &str| Topic::parse(name).expect("a topic");
        let account = |name: &str, bytes| {
            let account = Account::new(name.into(), Holder::Session(name.into()));
            account.change(0, bytes);
            account
        };
        let (small, large) = (account("small", 10), account("large", 20));
        let mut evictions = Evictions::default();
        evictions.add(&small, 1, topic("a"));
        evictions.add(&large, 2, topic("b"));
        evictions.add(&large, 3, topic("c"));
        let mut next = || evictions.next().map(|found| (found.topic.as_str().to_owned(), found.is_only));
        assert_eq!(next(), Some(("b".to_owned(), false)));
        assert_eq!(next(), Some(("c".to_owned(), true)));
        assert_eq!(next(), Some(("a".to_owned(), true)));
        assert_eq!(next(), None);
        assert!(evictions.has_none());
    }

    #[test]
    fn lines_are_found_again_when_others_have_gone() {
        let accounts: Vec<Arc<Account>> =
            (0..200).map(|number| Account::new("r".into(), Holder::Session(number.to_string().into()))).collect();
        let topic = Topic::parse("t").expect("a topic");
        let mut evictions = Evictions::default();
        for _ in 0..2 {
            accounts.iter().for_each(|account| evictions.add(account, 1, topic.clone()));
        }
        let apart = evictions.part();
        accounts.iter().for_each(|account| evictions.add(account, 2, topic.clone()));
        evictions.join(apart);
        let mut count = 0;
        while let Some(found) = evictions.next() {
            count += 1;
            assert!(found.looked_ms <= 2);
        }
        assert_eq!(count, 600);
    }
}
