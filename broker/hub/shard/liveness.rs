//! Keep-alive and timeouts: pings idle sessions, and ends those whose peer does not answer, does not read or does not
//! complete a message.

use std::rc::Rc;
use std::time::{Duration, Instant};

use rialto_protocol::{CloseCode, Closing};

use crate::hub::session::ShardSession;
use crate::hub::{Ending, HubLimits, Shard};
use crate::wire::websocket::websocket_control;

const PING: u8 = 0x9;

impl Shard {
    /// Checks the timeouts of all sessions at an interval.
    pub(in crate::hub) async fn watch(self: Rc<Self>) {
        loop {
            tokio::time::sleep(self.sweep_every()).await;
            self.sweep(Instant::now());
        }
    }

    fn sweep_every(&self) -> Duration {
        let HubLimits { ping, pong, frame, write, .. } = self.limits();
        let every = [ping, pong, frame, write].into_iter().min().unwrap_or_default() / 4;
        every.clamp(Duration::from_millis(10), Duration::from_secs(1))
    }

    pub(in crate::hub) fn sweep(&self, now: Instant) {
        let limits = self.limits();
        let mut sessions = self.sessions.borrow_mut();
        let mut ended = Vec::new();
        let ticks = self.ticks();
        for (slot, session) in sessions.iter_mut() {
            session.outbox.shrink();
            session.signals.request_due_recheck(ticks);
            match verdict(session, &limits, now) {
                Verdict::Fine => {}
                Verdict::Ping => {
                    session.signals.record_ping(now);
                    session.outbox.push_control(websocket_control(PING, &[]));
                    if self.flush(session) {
                        ended.push(slot);
                    }
                }
                Verdict::End(ending) => session.signals.end(ending),
            }
        }
        for slot in ended {
            sessions.end_subscriptions(slot);
        }
        drop(sessions);
        self.update_budget();
    }
}

/// What is due for a session.
enum Verdict {
    Fine,
    Ping,
    End(Ending),
}

/// Compares a session's times with the limits.
fn verdict(session: &ShardSession, limits: &HubLimits, now: Instant) -> Verdict {
    let signals = &session.signals;
    if signals.is_ending() {
        return Verdict::Fine;
    }
    if session.full_since.is_some_and(|since| now.duration_since(since) > limits.write) {
        return Verdict::End(Ending::Gone);
    }
    if !signals.is_reading_paused()
        && signals.frame_started().is_some_and(|since| now.duration_since(since) > limits.frame)
    {
        let message = "a message was begun and not finished in time";
        return Verdict::End(Ending::Closed(closing(CloseCode::PolicyViolation, message, None)));
    }
    if signals.is_reading_paused() {
        return Verdict::Fine;
    }
    let last_activity = signals.last_activity.get();
    let unanswered = signals.pinged.get().filter(|pinged| last_activity < *pinged);
    if session.full_since.is_some() {
        // A ping that is not written yet cannot be answered; the write timeout covers such a peer.
        signals.pinged.set(unanswered.map(|_| now));
        return Verdict::Fine;
    }
    match unanswered {
        Some(pinged) if now.duration_since(pinged) > limits.pong => {
            Verdict::End(Ending::Closed(closing(CloseCode::NoPong, "no answer to a ping", Some(1_000))))
        }
        Some(_) => Verdict::Fine,
        None if now.duration_since(last_activity) >= limits.ping => Verdict::Ping,
        None => Verdict::Fine,
    }
}

/// A close by the broker.
pub(crate) fn closing(code: CloseCode, message: &str, retry_after_ms: Option<u64>) -> Closing {
    Closing { code: code.number(), message: message.to_owned(), retry_after_ms }
}
