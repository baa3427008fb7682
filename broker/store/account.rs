//! Who holds messages in a store: all topics of one rule that one client has made be loaded.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::shares::Holder;

/// The topics of one rule and one client, and what their messages take.
#[derive(Debug)]
pub(crate) struct Account {
    /// The pattern of the rule.
    rule: Arc<str>,
    holder: Holder,
    bytes: AtomicUsize,
    /// Where the store has it, for the store alone.
    pub(in crate::store) line: AtomicUsize,
}

impl Account {
    /// An account that holds nothing. There must be one for a rule and a client at a time.
    pub(crate) fn new(rule: Arc<str>, holder: Holder) -> Arc<Self> {
        Arc::new(Self { rule, holder, bytes: AtomicUsize::new(0), line: AtomicUsize::new(usize::MAX) })
    }

    /// That of all topics of a test.
    #[cfg(test)]
    pub(crate) fn of_test() -> Arc<Self> {
        thread_local! {
            static ACCOUNT: Arc<Account> = Account::new(">".into(), Holder::Trusted);
        }
        ACCOUNT.with(Arc::clone)
    }

    /// What the messages take.
    pub(in crate::store) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Replaces what a topic takes.
    pub(in crate::store) fn change(&self, before: usize, after: usize) {
        if after >= before {
            self.bytes.fetch_add(after - before, Relaxed);
        } else {
            self.bytes.fetch_sub(before - after, Relaxed);
        }
    }
}

impl PartialEq for Account {
    fn eq(&self, other: &Self) -> bool {
        (&self.rule, &self.holder) == (&other.rule, &other.holder)
    }
}

impl Eq for Account {}

impl Hash for Account {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.rule, &self.holder).hash(state);
    }
}
