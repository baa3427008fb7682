//! The state, clock and log of a test, and the transaction of the hook that runs.

use super::limits::Limits;
use super::{pattern, value};
use crate::imports::{Imports, Level, Refusal};
use crate::payload::Payload;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Longest key of the state, in bytes.
const KEY_BYTES_MAX: usize = 1024;
/// How much of a log line is kept, in bytes.
const LOG_BYTES_MAX: usize = 8 << 10;
/// The clock of a new host: 1 January 2026, 00:00 UTC.
const START_MS: u64 = 1_767_225_600_000;

/// A message that went out.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The topic it went to.
    pub topic: String,
    /// Its data as plain JSON; bytes are base64 text.
    pub data: Value,
    /// Its data as it was encoded.
    pub payload: Payload,
}

/// All that a host keeps, with the hook that runs.
pub(super) struct Ledger {
    books: RefCell<Books>,
}

struct Books {
    limits: Limits,
    owned: Vec<String>,
    entries: BTreeMap<String, Vec<u8>>,
    logs: Vec<(Level, String)>,
    now_ms: u64,
    random: u64,
    hook: Hook,
}

/// What the running hook has used and asked for.
#[derive(Default)]
struct Hook {
    host_calls: u32,
    transferred_bytes: usize,
    effects: Vec<Published>,
    /// What keys held before this hook wrote to them, oldest first.
    undo: Vec<(String, Option<Vec<u8>>)>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        let books = Books {
            limits: Limits::default(),
            owned: Vec::new(),
            entries: BTreeMap::new(),
            logs: Vec::new(),
            now_ms: START_MS,
            random: 0,
            hook: Hook::default(),
        };
        Self { books: RefCell::new(books) }
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.books.get_mut().limits = limits;
    }

    pub(super) fn own(&mut self, pattern: String) {
        self.books.get_mut().owned.push(pattern);
    }

    pub(super) fn owns(&self, topic: &str) -> bool {
        self.books.borrow().owns(topic)
    }

    pub(super) fn advance(&mut self, ms: u64) {
        self.books.get_mut().now_ms += ms;
    }

    pub(super) fn clock_ms(&self) -> u64 {
        self.books.borrow().now_ms
    }

    pub(super) fn logs(&self) -> Vec<(Level, String)> {
        self.books.borrow().logs.clone()
    }

    /// Every entry whose key begins with `prefix`, without the prefix.
    pub(super) fn entries(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let books = self.books.borrow();
        let entries = books.entries.iter().filter_map(|(key, content)| Some((key.strip_prefix(prefix)?, content)));
        entries.map(|(key, content)| (key.to_owned(), content.clone())).collect()
    }

    /// Writes an entry outside of any hook.
    pub(super) fn insert(&mut self, key: String, content: Vec<u8>) {
        self.books.get_mut().entries.insert(key, content);
    }

    /// Keeps what the hook wrote and returns what it published.
    pub(super) fn commit(&mut self) -> Vec<Published> {
        std::mem::take(&mut self.books.get_mut().hook).effects
    }

    /// Forgets all that the hook asked for.
    pub(super) fn roll_back(&mut self) {
        let books = self.books.get_mut();
        for (key, content) in std::mem::take(&mut books.hook).undo.into_iter().rev() {
            match content {
                Some(content) => books.entries.insert(key, content),
                None => books.entries.remove(&key),
            };
        }
    }

    /// Checks what a hook answers with, and reads it.
    pub(super) fn check_output(&mut self, payload: &Payload) -> Result<Value, String> {
        let books = self.books.get_mut();
        books.transfer(payload.content.len()).map_err(|refusal| refusal.to_string())?;
        value::read(payload).map_err(|problem| format!("the hook's answer is not valid: {problem}"))
    }
}

impl Books {
    fn owns(&self, topic: &str) -> bool {
        self.owned.is_empty() || self.owned.iter().any(|pattern| pattern::selects(pattern, topic))
    }

    fn count_call(&mut self) {
        self.hook.host_calls += 1;
        let limit = self.limits.host_calls;
        assert!(self.hook.host_calls <= limit, "limit: more than {limit} host calls in one hook");
    }

    fn transfer(&mut self, bytes: usize) -> Result<(), Refusal> {
        let (total, limit) = (self.hook.transferred_bytes + bytes, self.limits.transfer_bytes);
        if total > limit {
            return Err(Refusal::Limit(format!("{total} bytes of host calls in one hook, the limit is {limit}")));
        }
        self.hook.transferred_bytes = total;
        Ok(())
    }

    /// A read has no way to be refused, so the broker ends the hook.
    fn transfer_read(&mut self, bytes: usize) {
        self.transfer(bytes).unwrap_or_else(|refusal| panic!("{refusal}"));
    }

    fn write(&mut self, key: &str, content: Option<Vec<u8>>) {
        let before = match content {
            Some(content) => self.entries.insert(key.to_owned(), content),
            None => self.entries.remove(key),
        };
        self.hook.undo.push((key.to_owned(), before));
    }

    fn state_bytes_without(&self, key: &str) -> usize {
        let others = self.entries.iter().filter(|(other, _)| *other != key);
        others.map(|(key, content)| key.len() + content.len()).sum()
    }
}

impl Imports for Ledger {
    fn publish(&self, topic: &str, payload: Payload) -> Result<(), Refusal> {
        let mut books = self.books.borrow_mut();
        books.count_call();
        pattern::check_topic(topic).map_err(Refusal::Invalid)?;
        if !books.owns(topic) {
            return Err(Refusal::Forbidden(format!("topic {topic:?} does not belong to this plugin")));
        }
        let data = value::read(&payload).map_err(|problem| Refusal::Invalid(format!("payload: {problem}")))?;
        if books.hook.effects.len() >= books.limits.effects {
            return Err(Refusal::Limit(format!("more than {} effects in one hook", books.limits.effects)));
        }
        books.transfer(topic.len() + payload.content.len())?;
        books.hook.effects.push(Published { topic: topic.to_owned(), data, payload });
        Ok(())
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        let mut books = self.books.borrow_mut();
        books.count_call();
        let content = books.entries.get(key).cloned();
        books.transfer_read(key.len() + content.as_ref().map_or(0, Vec::len));
        content
    }

    fn put(&self, key: &str, value: Vec<u8>) -> Result<(), Refusal> {
        let mut books = self.books.borrow_mut();
        books.count_call();
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(Refusal::Invalid(format!("a key of {} bytes, 1 to {KEY_BYTES_MAX} are allowed", key.len())));
        }
        books.transfer(key.len() + value.len())?;
        let (total, limit) = (books.state_bytes_without(key) + key.len() + value.len(), books.limits.state_bytes);
        if total > limit {
            return Err(Refusal::Limit(format!("a state of {total} bytes, the limit is {limit}")));
        }
        books.write(key, Some(value));
        Ok(())
    }

    fn delete(&self, key: &str) {
        let mut books = self.books.borrow_mut();
        books.count_call();
        books.transfer_read(key.len());
        books.write(key, None);
    }

    fn scan(&self, prefix: &str, after: Option<&str>, limit: u32) -> Vec<(String, Vec<u8>)> {
        let mut books = self.books.borrow_mut();
        books.count_call();
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let entries: Vec<_> = books
            .entries
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit as usize)
            .map(|(key, content)| (key.clone(), content.clone()))
            .collect();
        let bytes: usize = entries.iter().map(|(key, content)| key.len() + content.len()).sum();
        books.transfer_read(prefix.len() + after.map_or(0, str::len) + bytes);
        entries
    }

    fn log(&self, level: Level, text: &str) {
        let mut books = self.books.borrow_mut();
        books.count_call();
        let end = text.floor_char_boundary(LOG_BYTES_MAX);
        books.transfer_read(end);
        books.logs.push((level, text[..end].to_owned()));
    }

    fn now_ms(&self) -> u64 {
        let mut books = self.books.borrow_mut();
        books.count_call();
        books.now_ms
    }

    /// SplitMix64 from 0: the same numbers in every run.
    fn random(&self) -> u64 {
        let mut books = self.books.borrow_mut();
        books.count_call();
        books.random = books.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = books.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}
