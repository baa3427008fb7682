//! Presence timers: expires members after their grace period and sends overdue counts, on one thread. It knows no members.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use super::TopicEntry;
use crate::clock::Clock;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::supervision::keep_working;

/// The timers, at most one for each topic. Dropping this stops the thread.
#[derive(Debug)]
pub(crate) struct PresenceTimer {
    shared: Arc<TimerQueue>,
}

#[derive(Debug)]
struct TimerQueue {
    clock: Clock,
    hub: Hub,
    times: Mutex<Times>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Times {
    heap: BinaryHeap<Reverse<(u64, u64, DueTopic)>>,
    next: u64,
    is_stopped: bool,
}

/// A topic with a timer. All are equal, so that time and number decide the order.
#[derive(Debug)]
struct DueTopic(Weak<TopicEntry>);

impl PresenceTimer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the operating system cannot create one.
    pub(crate) fn spawn(hub: &Hub, clock: Clock, metrics: Arc<Metrics>) -> io::Result<Self> {
        let shared = TimerQueue { clock, hub: hub.clone(), times: Mutex::default(), changed: Condvar::new() };
        let shared = Arc::new(shared);
        let own = Arc::clone(&shared);
        std::thread::Builder::new().name("rialto-presence".to_owned()).spawn(move || {
            keep_working("rialto-presence", &metrics, || own.work());
        })?;
        Ok(Self { shared })
    }

    /// Sets the timer of a topic, if a time is given.
    pub(crate) fn schedule(&self, entry: &Arc<TopicEntry>, at_ms: Option<u64>) {
        if let Some(at_ms) = at_ms {
            self.shared.add(at_ms, Arc::downgrade(entry));
        }
    }
}

impl Drop for PresenceTimer {
    fn drop(&mut self) {
        self.shared.lock().is_stopped = true;
        self.shared.changed.notify_one();
    }
}

impl TimerQueue {
    fn add(&self, at_ms: u64, entry: Weak<TopicEntry>) {
        let mut times = self.lock();
        times.next += 1;
        let number = times.next;
        times.heap.push(Reverse((at_ms, number, DueTopic(entry))));
        self.changed.notify_one();
    }

    fn work(&self) {
        while let Some(entry) = self.next() {
            let Some(entry) = entry.upgrade() else { continue };
            let presence = entry.presence();
            let Some(presence) = &*presence else { continue };
            if let Some(at_ms) = presence.expire(&self.hub, self.clock.monotonic_ms()) {
                self.add(at_ms, Arc::downgrade(&entry));
            }
        }
    }

    /// Waits for the next timer and returns its topic; none when the thread has to stop.
    fn next(&self) -> Option<Weak<TopicEntry>> {
        let mut times = self.lock();
        loop {
            if times.is_stopped {
                return None;
            }
            let now_ms = self.clock.monotonic_ms();
            let wait_ms = times.heap.peek().map(|Reverse((at_ms, ..))| at_ms.saturating_sub(now_ms));
            times = match wait_ms {
                Some(0) => return times.heap.pop().map(|Reverse((_, _, DueTopic(entry)))| entry),
                Some(wait_ms) => {
                    let waited = self.changed.wait_timeout(times, self.clock.wait(wait_ms));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(times).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for DueTopic {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for DueTopic {}

impl PartialOrd for DueTopic {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for DueTopic {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}
