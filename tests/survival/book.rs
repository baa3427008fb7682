//! The log of a run, which all clients write into, and the numbers that are used once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use rialto_checker::{Event, Fact};

/// The log.
pub(crate) struct Book {
    begun: Instant,
    events: Mutex<Vec<Event>>,
    numbers: AtomicU64,
}

impl Book {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), events: Mutex::new(Vec::new()), numbers: AtomicU64::new(1) }
    }

    pub(crate) fn write(&self, fact: Fact) {
        let mut events = self.events.lock().unwrap();
        // Read under the lock: times never go back in the log.
        let at_ms = self.begun.elapsed().as_millis() as u64;
        events.push(Event { at_ms, fact });
    }

    /// A number that nobody had before.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed)
    }

    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().unwrap())
    }
}
