//! The messages of one topic that somebody still waits for. It does not know who that is.

use std::collections::VecDeque;

/// One topic.
#[derive(Debug, Default)]
pub(crate) struct Topic {
    /// Live subscribers.
    pub(crate) subscribers: u32,
    /// Sequence of the first of `records`.
    first: u64,
    /// Messages that somebody waits for, and those after them.
    records: VecDeque<Record>,
}

/// One message.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) content: Box<[u8]>,
    pub(crate) due_ns: u64,
    /// When the last subscriber so far had it.
    pub(crate) had_ns: Option<u64>,
    /// Subscribers that have not got it, nor been told that they will not.
    waiting: u32,
}

impl Topic {
    /// The sequence of the message that will be published next.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    /// Adds a message, which all live subscribers wait for, and returns its content.
    pub(crate) fn push(&mut self, content: Box<[u8]>, due_ns: u64) -> &[u8] {
        self.records.push_back(Record { content, due_ns, had_ns: None, waiting: self.subscribers });
        &self.records[self.records.len() - 1].content
    }

    /// The message, if it is still known.
    #[inline]
    pub(crate) fn record(&self, sequence: u64) -> Option<&Record> {
        self.records.get(usize::try_from(sequence.checked_sub(self.first)?).ok()?)
    }

    /// One subscriber less waits for a message; `had_ns` is when it got it, if it did. Returns the message when nobody
    /// waits for it any more.
    #[inline]
    pub(crate) fn settle(&mut self, sequence: u64, had_ns: Option<u64>) -> Option<&Record> {
        let record = self.records.get_mut(usize::try_from(sequence.checked_sub(self.first)?).ok()?)?;
        record.had_ns = had_ns.or(record.had_ns);
        record.waiting = record.waiting.saturating_sub(1);
        (record.waiting == 0).then_some(record)
    }

    /// Drops the first messages, as far as nobody waits for them.
    pub(crate) fn forget(&mut self) {
        while self.records.front().is_some_and(|record| record.waiting == 0) {
            self.records.pop_front();
            self.first += 1;
        }
    }
}
