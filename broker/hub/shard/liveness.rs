//! What a shard does about its sessions from time to time: pings them, and ends those that are dead or stuck.

use std::rc::Rc;
use std::time::{Duration, Instant};

use rialto_protocol::{CloseCode, Closing};

use crate::hub::session::ShardSession;
use crate::hub::{Ending, HubLimits, Shard};
use crate::wire::websocket::websocket_control;

const PING: u8 = 0x9;

impl Shard {
    /// Looks after all sessions from time to time: pings, and ends those that are dead or stuck.
    pub(in crate::hub) async fn watch(self: Rc<Self>) {
        let shortest = [self.limits.ping, self.limits.pong, self.limits.frame, self.limits.write].into_iter().min();
        let every = shortest.unwrap_or_default() / 4;
        let mut ticks = tokio::time::interval(every.clamp(Duration::from_millis(10), Duration::from_secs(1)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.sweep(Instant::now());
        }
    }

    pub(in crate::hub) fn sweep(&self, now: Instant) {
        let mut sessions = self.sessions.borrow_mut();
        let mut over = Vec::new();
        for (slot, member) in sessions.iter_mut() {
            member.outbox.shrink();
            match verdict(member, &self.limits, now) {
                Verdict::Fine => {}
                Verdict::Ping => {
                    member.signals.pinged.set(Some(now));
                    member.outbox.push_control(websocket_control(PING, &[]));
                    if self.flush(member) {
                        over.push(slot);
                    }
                }
                Verdict::End(ending) => member.signals.end(ending),
            }
        }
        for slot in over {
            sessions.silence(slot);
        }
        drop(sessions);
        self.tell_budget();
    }
}

/// What is to be done about a session.
enum Verdict {
    Fine,
    Ping,
    End(Ending),
}

/// Looks at a session's clocks.
fn verdict(member: &ShardSession, limits: &HubLimits, now: Instant) -> Verdict {
    let signals = &member.signals;
    if signals.is_ending() {
        return Verdict::Fine;
    }
    if member.full_since.is_some_and(|since| now.duration_since(since) > limits.write) {
        return Verdict::End(Ending::Gone);
    }
    if !signals.is_held() && signals.frame_started().is_some_and(|since| now.duration_since(since) > limits.frame) {
        let message = "a message was begun and not finished in time";
        return Verdict::End(Ending::Closed(closing(CloseCode::PolicyViolation, message, None)));
    }
    if signals.is_held() {
        return Verdict::Fine;
    }
    let heard = signals.heard.get();
    let unanswered = signals.pinged.get().filter(|pinged| heard < *pinged);
    if member.full_since.is_some() {
        // A ping that the socket has not taken yet cannot be answered; the write deadline looks after such a peer.
        signals.pinged.set(unanswered.map(|_| now));
        return Verdict::Fine;
    }
    match unanswered {
        Some(pinged) if now.duration_since(pinged) > limits.pong => {
            Verdict::End(Ending::Closed(closing(CloseCode::NoPong, "no answer to a ping", Some(1_000))))
        }
        Some(_) => Verdict::Fine,
        None if now.duration_since(heard) >= limits.ping => Verdict::Ping,
        None => Verdict::Fine,
    }
}

/// A close of the broker's own.
pub(in crate::hub) fn closing(code: CloseCode, message: &str, retry_after_ms: Option<u64>) -> Closing {
    Closing { code: code.number(), message: message.to_owned(), retry_after_ms }
}
