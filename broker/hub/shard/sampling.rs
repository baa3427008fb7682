//! When a shard sends what sampled subscriptions are due.

use std::rc::Rc;
use std::time::Instant;

use super::fanout::note;
use crate::hub::Shard;

impl Shard {
    /// Sends what sampled subscriptions are due.
    pub(in crate::hub) async fn send_samples(self: Rc<Self>) {
        loop {
            let next = self.sessions.borrow().next_alarm();
            let rings = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = rings => {}
                () = self.alarm.notified() => continue,
            }
            self.send_due(Instant::now());
            self.flush_dirty();
        }
    }

    fn send_due(&self, now: Instant) {
        let sessions = &mut *self.sessions.borrow_mut();
        let dirty = &mut *self.dirty.borrow_mut();
        while let Some((slot, stream)) = sessions.ringing(now) {
            if let Some(member) = sessions.at(slot) {
                member.alarm_rang(stream, &self.metrics);
                note(member, slot, dirty);
            }
        }
    }
}
