//! Sends the samples of a shard's sampled subscriptions when they are due.

use std::rc::Rc;
use std::time::Instant;

use super::fanout::mark_dirty;
use crate::hub::Shard;

impl Shard {
    /// Sends samples for as long as the shard runs.
    pub(in crate::hub) async fn send_samples(self: Rc<Self>) {
        loop {
            let next = self.sessions.borrow().next_sample();
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.timer_changed.notified() => continue,
            }
            self.send_due(Instant::now());
            self.flush_dirty();
        }
    }

    fn send_due(&self, now: Instant) {
        let sessions = &mut *self.sessions.borrow_mut();
        let dirty = &mut *self.dirty.borrow_mut();
        while let Some((slot, stream)) = sessions.pop_due(now) {
            if let Some(session) = sessions.at(slot) {
                session.sample_due(stream, &self.metrics);
                mark_dirty(session, slot, dirty);
            }
        }
    }
}
