//! The rate limits of a session's requests: what each request counts as.

use std::time::Instant;

use rialto_protocol::{ErrorCode, Failure, Operation};

use super::Session;
use crate::limits::request_rates::{RateRefusal, Rated};

impl Session {
    /// Counts a request toward the rates of the session, its user and its address.
    ///
    /// # Errors
    /// [`RateRefusal`]; the request is refused.
    pub(super) fn take_rate(&mut self, operation: &Operation<'_>) -> Result<(), RateRefusal> {
        let core = &self.broker.core;
        let config = core.config.load();
        if !config.has_rates {
            return Ok(());
        }
        let rated = match operation {
            Operation::Publish(publish) => {
                let bytes = u32::try_from(publish.payload.content().len()).unwrap_or(u32::MAX);
                [Some((Rated::Publishes, 1)), Some((Rated::Bytes, bytes))]
            }
            Operation::Subscribe(topics) => [Some((Rated::Subscribes, topics.len() as u32)), None],
            Operation::Call(_) | Operation::History(_) | Operation::Presence(_) => [Some((Rated::Calls, 1)), None],
            Operation::Connect(_) | Operation::Unsubscribe(_) | Operation::Ping(_) => return Ok(()),
        };
        let (holder, now) = (self.caller.holder(), Instant::now());
        let session = self.extras.get_or_insert_default().rates.get_or_insert_default();
        rated.into_iter().flatten().try_for_each(|some| core.rates.take(session, &holder, &config.rates, some, now))
    }
}

pub(super) fn rate_limited(refusal: &RateRefusal) -> Failure {
    let wait_ms = u64::try_from(refusal.wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    let text = format!("rate limit of {} reached: see `[rates]`", refusal.of);
    Failure::new(ErrorCode::RateLimited, text).retry_after_ms(wait_ms)
}
