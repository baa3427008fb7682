//! Rate limits of requests: of one session, of all sessions of a user, of an address, and of each of these in the topics of
//! a rule. It knows no request.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rialto_protocol::RequestRates;

use super::rate::{Rate, RatesByKey};
use crate::config::{Rates, Rules, TopicOptions, TopicRates};
use crate::shares::Holder;
use crate::shares::network::Network;
use crate::topic::Pattern;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rated {
    Publishes,
    Bytes,
    Subscribes,
    Calls,
}

/// How many kinds there are.
const KINDS: usize = 4;

/// The rates of one session.
#[derive(Debug, Default)]
pub(crate) struct SessionRates {
    rates: [Rate; KINDS],
    refusals: Rate,
    /// Whether the request under way was refused something already.
    is_counted: bool,
    /// Whether it has been refused so often that it has to end.
    is_abuse: bool,
}

/// The rates that sessions share.
#[derive(Debug, Default)]
pub(crate) struct SharedRates {
    users: [RatesByKey<Arc<str>>; KINDS],
    networks: [RatesByKey<Network>; KINDS],
    in_rules: [RatesByKey<RuleClient>; KINDS],
    pub(crate) sessions: RatesByKey<Network>,
}

/// A client in all topics of a rule. Where the limit has changed, it counts anew.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RuleClient {
    /// What the rule selects: no two rules select the same.
    selects: Pattern,
    per_s: u32,
    client: Holder,
}

/// Whose rate it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RateOwner {
    Session,
    User,
    Address,
    /// Each client in the topics of the rule with this pattern.
    Rule(Pattern),
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RateRefusal {
    /// How long to wait.
    pub(crate) wait: Duration,
    /// Whose rate it is.
    pub(crate) of: RateOwner,
    /// Whether the session has been refused so often that it has to end.
    pub(crate) is_abuse: bool,
}

impl Rated {
    const ALL: [Self; KINDS] = [Self::Publishes, Self::Bytes, Self::Subscribes, Self::Calls];

    /// The limits of a session, of a user and of an address.
    fn limits(self, rates: &Rates) -> [u32; 3] {
        match self {
            Self::Publishes => [rates.session_publishes, rates.user_publishes, rates.address_publishes],
            Self::Bytes => [rates.session_bytes, rates.user_bytes, rates.address_bytes],
            Self::Subscribes => [rates.session_subscribes, rates.user_subscribes, rates.address_subscribes],
            Self::Calls => [rates.session_calls, rates.user_calls, rates.address_calls],
        }
    }

    /// The limit of one client in the topics of a rule; 0 where there is none.
    pub(crate) fn limit_in_rule(self, rates: &TopicRates) -> u32 {
        match self {
            Self::Publishes => rates.publishes,
            Self::Bytes => rates.bytes,
            Self::Subscribes => rates.subscribes,
            Self::Calls => rates.calls,
        }
    }
}

/// The rates that a session of this holder is sent: of each kind the lowest that applies to it.
pub(crate) fn rates_of(holder: &Holder, limits: &Rates) -> RequestRates {
    let lowest = |rated: Rated| {
        let [of_session, of_user, of_address] = rated.limits(limits);
        let shared = match holder {
            Holder::User(_) => of_user,
            Holder::Network(_) => of_address,
            Holder::Session(_) | Holder::Trusted => 0,
        };
        [of_session, shared].into_iter().filter(|limit| *limit > 0).min()
    };
    RequestRates {
        publishes: lowest(Rated::Publishes),
        bytes: lowest(Rated::Bytes),
        subscribes: lowest(Rated::Subscribes),
        calls: lowest(Rated::Calls),
    }
}

impl SessionRates {
    /// A request begins: it counts as one refusal, however many of its topics are refused.
    pub(crate) fn begin_request(&mut self) {
        self.is_counted = false;
    }

    /// Counts a refusal toward so many per second. Returns whether they have become too many.
    pub(crate) fn count_refusal(&mut self, per_s: u32, now: Instant) -> bool {
        if !self.is_counted {
            self.is_counted = true;
            self.is_abuse |= self.refusals.take(per_s, now).is_err();
        }
        self.is_abuse
    }

    /// Whether the session has been refused so often that it has to end.
    pub(crate) fn is_abuse(&self) -> bool {
        self.is_abuse
    }
}

impl SharedRates {
    /// Takes so many units of something for a session of this holder.
    ///
    /// # Errors
    /// [`RateRefusal`]; of what is asked for nothing takes place.
    pub(crate) fn take(
        &self,
        session: &mut SessionRates,
        holder: &Holder,
        limits: &Rates,
        (rated, units): (Rated, u32),
        now: Instant,
    ) -> Result<(), RateRefusal> {
        let [of_session, of_user, of_address] = rated.limits(limits);
        let place = rated as usize;
        let taken = limited(of_session, || session.rates[place].take_some(of_session, units, now))
            .map_err(|wait| (wait, RateOwner::Session))
            .and_then(|()| match holder {
                Holder::User(user) => limited(of_user, || self.users[place].take_some(user, of_user, units, now))
                    .map_err(|wait| (wait, RateOwner::User)),
                Holder::Network(network) => {
                    limited(of_address, || self.networks[place].take_some(network, of_address, units, now))
                        .map_err(|wait| (wait, RateOwner::Address))
                }
                Holder::Session(_) | Holder::Trusted => Ok(()),
            });
        taken.map_err(|(wait, of)| {
            let is_abuse = session.count_refusal(limits.refusals, now);
            RateRefusal { wait, of, is_abuse }
        })
    }

    /// Takes so many units of something for this holder in the topics of a rule.
    ///
    /// # Errors
    /// How long to wait; of what is asked for nothing takes place.
    pub(crate) fn take_in_rule(
        &self,
        rule: &TopicOptions,
        holder: &Holder,
        (rated, units): (Rated, u32),
        now: Instant,
    ) -> Result<(), Duration> {
        let per_s = rated.limit_in_rule(&rule.rates);
        limited(per_s, || {
            let client = RuleClient { selects: rule.selects.clone(), per_s, client: holder.clone() };
            self.in_rules[rated as usize].take_some(&client, per_s, units, now)
        })
    }

    /// Forgets what was counted by rules that are gone or have other limits.
    pub(crate) fn follow_rules(&self, rules: &Rules) {
        for rated in Rated::ALL {
            let limits: HashMap<&Pattern, u32> =
                rules.iter().map(|rule| (&rule.selects, rated.limit_in_rule(&rule.rates))).collect();
            self.in_rules[rated as usize].retain(|known| limits.get(&known.selects) == Some(&known.per_s));
        }
    }
}

impl fmt::Display for RateOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session => f.write_str("this session"),
            Self::User => f.write_str("this user"),
            Self::Address => f.write_str("this address"),
            Self::Rule(pattern) => write!(f, "each client in topics \"{pattern}\""),
        }
    }
}

fn limited(per_s: u32, take: impl FnOnce() -> Result<(), Duration>) -> Result<(), Duration> {
    if per_s == 0 { Ok(()) } else { take() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TopicRule;
    use crate::topic::Topic;

    fn holder(user: &str) -> Holder {
        Holder::User(user.into())
    }

    /// Rules with these patterns and publishes per second.
    fn rules(limits: &[(&str, u32)]) -> Rules {
        let rule = |(pattern, publishes_per_s): &(&str, u32)| TopicRule {
            pattern: Pattern::parse(pattern).expect("a pattern"),
            publishes_per_s: *publishes_per_s,
            ..TopicRule::default()
        };
        Rules::new(&limits.iter().map(rule).collect::<Vec<_>>())
    }

    /// How many of 20 publishes to a topic take place.
    fn publishes(shared: &SharedRates, rules: &Rules, topic: &str, user: &str, now: Instant) -> usize {
        let rule = rules.options(&Topic::parse(topic).expect("a topic")).expect("a rule");
        let publish = |_: &i32| shared.take_in_rule(&rule, &holder(user), (Rated::Publishes, 1), now).is_ok();
        (0..20).filter(publish).count()
    }

    #[test]
    fn each_session_user_and_address_has_its_rate() {
        let (shared, now) = (SharedRates::default(), Instant::now());
        let limits = Rates { session_publishes: 3, user_publishes: 5, refusals: 2, ..Rates::default() };
        let (mut one, mut other) = (SessionRates::default(), SessionRates::default());
        let take = |session: &mut SessionRates, user: &str, now| {
            session.begin_request();
            shared
                .take(session, &holder(user), &limits, (Rated::Publishes, 1), now)
                .map_err(|refusal| (refusal.of.to_string(), refusal.is_abuse))
        };
        let refused = |of: &str, is_abuse| Err((of.to_owned(), is_abuse));
        assert_eq!([(); 3].map(|()| take(&mut one, "ann", now)), [Ok(()), Ok(()), Ok(())]);
        assert_eq!(take(&mut one, "ann", now), refused("this session", false));
        assert_eq!([(); 2].map(|()| take(&mut other, "ann", now)), [Ok(()), Ok(())]);
        assert_eq!(take(&mut other, "ann", now), refused("this user", false));
        assert_eq!(take(&mut SessionRates::default(), "bob", now), Ok(()));
        assert_eq!(
            [(); 2].map(|()| take(&mut one, "ann", now)),
            [refused("this session", false), refused("this session", true)]
        );
        assert_eq!(take(&mut one, "ann", now + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn bytes_are_paid_for_afterwards() {
        let (shared, now) = (SharedRates::default(), Instant::now());
        let limits = Rates { session_bytes: 1_000, ..Rates::default() };
        let mut session = SessionRates::default();
        let mut take =
            |bytes, now| shared.take(&mut session, &holder("ann"), &limits, (Rated::Bytes, bytes), now).is_ok();
        // More than a second's worth is taken as long as nothing is owed, and makes the next one wait.
        assert!(take(400, now) && take(3_000, now) && !take(1, now));
        assert!(!take(1, now + Duration::from_millis(2_300)) && take(1, now + Duration::from_millis(2_500)));
    }

    #[test]
    fn a_request_counts_as_one_refusal_however_many_of_its_topics_are_refused() {
        let (mut session, now) = (SessionRates::default(), Instant::now());
        for (request, is_abuse) in [false, false, true].into_iter().enumerate() {
            session.begin_request();
            assert_eq!([(); 100].map(|()| session.count_refusal(2, now)), [is_abuse; 100], "{request}");
        }
        session.begin_request();
        assert!(session.is_abuse(), "it has to end");
    }

    #[test]
    fn each_client_has_a_rate_in_all_topics_of_a_rule_together() {
        let (shared, now) = (SharedRates::default(), Instant::now());
        let rules = rules(&[("chat.*", 5), ("news.*", 3), (">", 0)]);
        let publishes = |topic, user, now| publishes(&shared, &rules, topic, user, now);
        assert_eq!((publishes("chat.a", "ann", now), publishes("chat.b", "ann", now)), (5, 0));
        let others = (publishes("chat.a", "bob", now), publishes("news.a", "ann", now));
        assert_eq!(others, (5, 3), "they are not touched");
        assert_eq!(publishes("other", "ann", now), 20, "there is no limit");
        assert_eq!(publishes("chat.a", "ann", now + Duration::from_millis(400)), 2);
        let known = [0, 1, 2, 3].map(|kind| shared.in_rules[kind].len());
        assert_eq!(known, [3, 0, 0, 0], "nothing is kept where nothing is limited");
    }

    #[test]
    fn a_changed_limit_holds_at_once_and_a_rule_that_is_gone_leaves_nothing() {
        let (shared, now) = (SharedRates::default(), Instant::now());
        let before = rules(&[("chat.*", 5), ("news.*", 3), ("old.*", 2)]);
        for (topic, expected) in [("chat.a", 5), ("news.a", 3), ("old.a", 2)] {
            assert_eq!(publishes(&shared, &before, topic, "ann", now), expected);
        }
        let after = rules(&[("news.*", 3), ("chat.*", 7), ("new.*", 9)]);
        shared.follow_rules(&after);
        assert_eq!(shared.in_rules[0].len(), 1, "that of the rule that is as before");
        for (topic, expected) in [("chat.a", 7), ("news.a", 0), ("new.a", 9)] {
            assert_eq!(publishes(&shared, &after, topic, "ann", now), expected, "{topic}");
        }
        // A request that was decided by the rule before takes nothing from the one after it.
        assert_eq!(publishes(&shared, &before, "chat.b", "bob", now), 5);
        assert_eq!(publishes(&shared, &after, "chat.a", "bob", now), 7);
        shared.follow_rules(&rules(&[]));
        assert_eq!(shared.in_rules[0].len(), 0);
    }

    #[test]
    fn a_session_is_told_the_lowest_rate_of_each_kind_that_applies_to_it() {
        let limits = Rates {
            session_publishes: 20,
            user_publishes: 10,
            session_bytes: 1_000,
            user_bytes: 2_000,
            address_subscribes: 7,
            ..Rates::default()
        };
        let rates = |publishes, bytes, subscribes| RequestRates { publishes, bytes, subscribes, calls: None };
        let network = Network::of("192.0.2.1".parse().expect("an address"));
        for (holder, expected) in [
            (holder("ann"), rates(Some(10), Some(1_000), None)),
            (Holder::Network(network), rates(Some(20), Some(1_000), Some(7))),
            (Holder::Session("s".into()), rates(Some(20), Some(1_000), None)),
        ] {
            assert_eq!(rates_of(&holder, &limits), expected, "{holder:?}");
            assert_eq!(rates_of(&holder, &Rates::default()), RequestRates::default());
        }
    }
}
