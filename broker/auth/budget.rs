//! How much work tokens that are not valid may cause: each network has its share of refusals, and all together a quarter of
//! one core. What is beyond is not looked at.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::shares::network::Network;

/// How much time of one core a second all refused tokens may take.
const TIME_PER_S: Duration = Duration::from_millis(250);

/// The part of it that is kept for networks from which no bad token has come lately.
const RESERVE: Duration = Duration::from_millis(60);

/// Most networks that are remembered.
const NETWORKS_MAX: usize = 4_096;

/// How long a network is remembered after its last bad token.
const MEMORY: Duration = Duration::from_secs(10);

/// What was spent on bad tokens, lately.
#[derive(Debug, Default)]
pub(crate) struct VerificationBudget(Mutex<Spent>);

#[derive(Debug, Default)]
struct Spent {
    time: Duration,
    counted_at: Option<Instant>,
    networks: HashMap<Option<Network>, Bad>,
}

/// The bad tokens of one network: how many beyond what its rate has made up for, at that time.
#[derive(Clone, Copy, Debug)]
struct Bad {
    count: f64,
    at: Instant,
}

impl Bad {
    fn now(self, per_s: u32, now: Instant) -> f64 {
        (self.count - now.saturating_duration_since(self.at).as_secs_f64() * f64::from(per_s)).max(0.0)
    }
}

impl VerificationBudget {
    /// Whether a token from this network may be looked at, of which so many bad ones a second may come.
    pub(crate) fn has_room(&self, network: Option<Network>, per_s: u32, now: Instant) -> bool {
        let spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let time = spent.time_now(now);
        match spent.networks.get(&network) {
            Some(bad) => bad.now(per_s, now) <= f64::from(per_s) - 1.0 && time < TIME_PER_S - RESERVE,
            None => time < TIME_PER_S,
        }
    }

    /// Counts a bad token whose verification began then.
    pub(crate) fn charge(&self, network: Option<Network>, per_s: u32, begun: Instant) {
        let now = Instant::now();
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spent.time = spent.time_now(now) + now.saturating_duration_since(begun);
        spent.counted_at = Some(now);
        if spent.networks.len() >= NETWORKS_MAX {
            spent.networks.retain(|_, bad| now.saturating_duration_since(bad.at) < MEMORY);
        }
        if spent.networks.len() >= NETWORKS_MAX && !spent.networks.contains_key(&network) {
            return;
        }
        let before = spent.networks.get(&network).map_or(0.0, |bad| bad.now(per_s, now));
        spent.networks.insert(network, Bad { count: before + 1.0, at: now });
    }
}

impl Spent {
    fn time_now(&self, now: Instant) -> Duration {
        let Some(counted_at) = self.counted_at else { return Duration::ZERO };
        let made_up = now.saturating_duration_since(counted_at).mul_f64(TIME_PER_S.as_secs_f64());
        self.time.saturating_sub(made_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(number: u8) -> Option<Network> {
        Some(Network::of(std::net::IpAddr::from([10, 0, 0, number])))
    }

    #[test]
    fn a_network_has_its_share_and_others_are_not_touched() {
        let (budget, now) = (VerificationBudget::default(), Instant::now());
        for _ in 0..5 {
            assert!(budget.has_room(network(1), 5, now));
            budget.charge(network(1), 5, now);
        }
        let now = Instant::now();
        assert!(!budget.has_room(network(1), 5, now) && budget.has_room(network(2), 5, now));
        assert!(budget.has_room(network(1), 5, now + Duration::from_secs(1)), "a second later it has more");
    }

    #[test]
    fn all_together_have_a_quarter_of_a_core() {
        let (budget, now) = (VerificationBudget::default(), Instant::now());
        let Some(begun) = now.checked_sub(Duration::from_millis(200)) else { return };
        budget.charge(network(1), 1_000, begun);
        let now = Instant::now();
        assert!(!budget.has_room(network(1), 1_000, now), "a reserve is for those who sent nothing bad");
        assert!(budget.has_room(network(2), 1_000, now));
        budget.charge(network(2), 1_000, begun);
        let now = Instant::now();
        assert!(!budget.has_room(network(3), 1_000, now));
        // 400 ms are made up for in 1.6 s.
        assert!(budget.has_room(network(3), 1_000, now + Duration::from_millis(700)));
        assert!(budget.has_room(network(1), 1_000, now + Duration::from_millis(1_700)));
    }
}
