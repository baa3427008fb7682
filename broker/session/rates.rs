//! The rate limits of a session's requests: what each request counts as.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rialto_protocol::{ErrorCode, Failure, Operation};

use super::Session;
use crate::config::TopicOptions;
use crate::hub::work;
use crate::limits::request_rates::{RateOwner, RateRefusal, Rated};
use crate::topic::{Pattern, Topic};

impl Session {
    /// Counts a request toward the rates of the session, its user and its address, and those of the rule of its topic.
    /// Subscriptions count toward the rules of their topics one by one, when they are carried out.
    ///
    /// # Errors
    /// [`RateRefusal`]; the request is refused.
    pub(super) fn take_rate(&mut self, operation: &Operation<'_>) -> Result<(), RateRefusal> {
        let core = &self.broker.core;
        let config = core.config.load();
        if !config.has_rates && !config.has_topic_rates {
            return Ok(());
        }
        if let Some(rates) = self.extras.as_mut().and_then(|extras| extras.rates.as_mut()) {
            rates.begin_request();
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
        let rated = || rated.into_iter().flatten();
        let (holder, now) = (self.caller.holder(), core.clock.instant());
        if config.has_rates {
            let session = self.extras.get_or_insert_default().rates.get_or_insert_default();
            rated().try_for_each(|some| core.rates.take(session, &holder, &config.rates, some, now))?;
        }
        if !config.has_topic_rates {
            return Ok(());
        }
        let topic = topic_of(operation).and_then(|name| Topic::parse(name).ok());
        let Some(rule) = topic.and_then(|topic| core.topics.options(&topic)) else { return Ok(()) };
        let taken = rated().try_for_each(|some| core.rates.take_in_rule(&rule, &holder, some, now));
        taken.map_err(|wait| self.refuse_in_rule(&rule, wait, now))
    }

    /// Counts a subscription to a topic toward the rates of its rule.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(super) fn take_subscribe_rate(&mut self, topic: &Topic) -> Result<(), Failure> {
        let core = &self.broker.core;
        if !core.config.load().has_topic_rates {
            return Ok(());
        }
        let Some(rule) = core.topics.options(topic) else { return Ok(()) };
        self.take_subscribe_in_rules(&[rule])
    }

    /// Counts a subscription by pattern toward the rates of all rules of which it may select topics.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(super) fn take_pattern_rate(&mut self, pattern: &Pattern) -> Result<(), Failure> {
        let config = self.broker.core.config.load();
        if !config.has_topic_rates {
            return Ok(());
        }
        let limited = config.rules.iter().filter(|rule| Rated::Subscribes.limit_in_rule(&rule.rates) > 0);
        let selected = limited.filter(|rule| rule.is_selected() && pattern.intersection(&rule.selects).is_some());
        let rules: Vec<Arc<TopicOptions>> = selected.cloned().collect();
        // As much work as to find its scopes.
        work::add(config.rules.iter().count() / 16);
        self.take_subscribe_in_rules(&rules)
    }

    fn take_subscribe_in_rules(&mut self, rules: &[Arc<TopicOptions>]) -> Result<(), Failure> {
        let core = &self.broker.core;
        let (holder, now) = (self.caller.holder(), core.clock.instant());
        let taken = rules.iter().try_for_each(|rule| {
            core.rates.take_in_rule(rule, &holder, (Rated::Subscribes, 1), now).map_err(|wait| (rule, wait))
        });
        taken.map_err(|(rule, wait)| rate_limited(&self.refuse_in_rule(rule, wait, now)))
    }

    /// Whether it goes on although very many of its requests were refused.
    pub(super) fn is_abusing(&self) -> bool {
        self.extras.as_ref().and_then(|extras| extras.rates.as_ref()).is_some_and(|rates| rates.is_abuse())
    }

    fn refuse_in_rule(&mut self, rule: &TopicOptions, wait: Duration, now: Instant) -> RateRefusal {
        let refusals_per_s = self.broker.core.config.load().rates.refusals;
        let session = self.extras.get_or_insert_default().rates.get_or_insert_default();
        let is_abuse = session.count_refusal(refusals_per_s, now);
        RateRefusal { wait, of: RateOwner::Rule(rule.pattern.clone()), is_abuse }
    }
}

/// The topic that a request is about, unless it subscribes or unsubscribes.
fn topic_of<'o>(operation: &'o Operation<'_>) -> Option<&'o str> {
    match operation {
        Operation::Publish(publish) => Some(&*publish.topic),
        Operation::Call(call) => call.topic.as_deref(),
        Operation::History(history) => Some(&*history.topic),
        Operation::Presence(topic) => Some(&**topic),
        Operation::Connect(_) | Operation::Subscribe(_) | Operation::Unsubscribe(_) | Operation::Ping(_) => None,
    }
}

pub(super) fn rate_limited(refusal: &RateRefusal) -> Failure {
    let wait_ms = u64::try_from(refusal.wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    let limit = match &refusal.of {
        RateOwner::Session | RateOwner::User | RateOwner::Address => "`[rates]`",
        RateOwner::Rule(_) => "the topic rule",
    };
    let text = format!("rate limit of {} reached: see {limit}", refusal.of);
    Failure::new(ErrorCode::RateLimited, text).retry_after_ms(wait_ms)
}

#[cfg(test)]
mod tests {
    use rialto_protocol::Codec;

    use super::*;
    use crate::broker::Broker;
    use crate::clock::ManualClock;
    use crate::config::{Config, TopicRule};
    use crate::identity::SessionKey;
    use crate::limits::seats::SessionPermit;

    #[test]
    fn a_session_holds_nothing_for_the_rates_of_rules_until_it_is_refused_something() {
        let topics = vec![TopicRule { publishes_per_s: 2, subscribes_per_s: 1, ..TopicRule::default() }];
        let config = Config { topics, ..Config::default() };
        let broker = Broker::builder().config(config).clock(ManualClock::new(0)).start().expect("the broker starts");
        let key = SessionKey { shard: 0, slot: 0, serial: 1 };
        let mut session = Session::new(broker, key, Codec::Json, &SessionPermit::default());
        let publish = br#"{"type":"publish","topic":"a","data":1}"#;
        for request in [&publish[..], publish, br#"{"type":"subscribe","topic":"a"}"#] {
            session.handle(request).expect("a request");
        }
        assert!(session.extras.is_none());
        session.handle(publish).expect("a request");
        assert!(session.extras.as_ref().is_some_and(|extras| extras.rates.is_some()) && !session.is_abusing());
    }
}
