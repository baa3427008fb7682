//! Shares of a bounded place: while there is plenty everyone takes what it likes, and when the place is nearly full everyone is
//! left at least a share, so that nobody can fill it for all others. It knows nothing of what is taken.

pub(crate) mod network;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::network::Network;

/// This part of a place is left to those who have less than their share of it.
const RESERVED_PART: u64 = 4;

/// A share is this part of what is left.
const SHARE_PART: u64 = 16;

/// This part of a place is for the embedding program, programs with an API key, and plugins.
const TRUSTED_PART: u64 = 16;

/// Who takes a share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// A user, with all sessions.
    User(Arc<str>),
    /// All sessions without a user of one network.
    Network(Network),
    /// A session without a user from an address to which no limits apply: this machine, or a trusted proxy that names nobody.
    Session(Arc<str>),
    /// The embedding program, programs with an API key, and plugins. Their part is whatever is free.
    Trusted,
}

/// A place of bounded size, and what is taken of it.
pub(crate) struct Shares {
    max: AtomicU64,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    units: u64,
    by_holder: HashMap<Holder, u64>,
}

/// What a holder has taken, until this is dropped.
pub(crate) struct Share {
    shares: Arc<Shares>,
    holder: Holder,
    units: AtomicU64,
}

/// Whether a place of `max` units, of which `taken` are taken, has none for somebody who has `held` and wants one more. Nearly
/// full, it gives everyone a sixteenth of what is left, and at least one: so there is room for the next client.
pub(crate) fn is_used_up(max: u64, taken: u64, held: u64) -> bool {
    let is_nearly_full = taken >= max - max / RESERVED_PART;
    taken >= max || (is_nearly_full && held >= ((max - taken) / SHARE_PART).max(1))
}

impl Shares {
    pub(crate) fn new(max: u64) -> Self {
        Self { max: AtomicU64::new(max), taken: Mutex::default() }
    }

    /// Lets the place have so many units from now on. What is taken stays taken, also where it is more.
    pub(crate) fn set_max(&self, max: u64) {
        self.max.store(max, Relaxed);
    }

    /// Takes units for a holder, if its share allows it.
    pub(crate) fn take(self: &Arc<Self>, holder: &Holder, units: u64) -> Option<Share> {
        let mut taken = self.lock();
        let max = self.max.load(Relaxed);
        if taken.units + units > max {
            return None;
        }
        let held = taken.by_holder.get(holder).copied();
        if *holder != Holder::Trusted {
            // Small places have no part for others.
            let of_clients = max - max / TRUSTED_PART;
            if is_used_up(of_clients, taken.units, held.unwrap_or_default()) {
                return None;
            }
        }
        taken.units += units;
        *taken.by_holder.entry(holder.clone()).or_default() += units;
        Some(Share { shares: Arc::clone(self), holder: holder.clone(), units: AtomicU64::new(units) })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // No code panics between two changes under this lock, so a poisoned one is consistent.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Who has taken it.
    pub(crate) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Takes more units, whether or not they are free: they are used already.
    pub(crate) fn grow(&self, units: u64) {
        let mut taken = self.shares.lock();
        taken.units += units;
        *taken.by_holder.entry(self.holder.clone()).or_default() += units;
        self.units.fetch_add(units, Relaxed);
    }

    /// One of a place without a bound.
    #[cfg(test)]
    pub(crate) fn of_test() -> Arc<Self> {
        Arc::new(Arc::new(Shares::new(u64::MAX)).take(&Holder::Trusted, 1).expect("there is no bound"))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let units = *self.units.get_mut();
        let mut taken = self.shares.lock();
        taken.units -= units;
        let Some(held) = taken.by_holder.get_mut(&self.holder) else { return };
        *held -= units;
        if *held == 0 {
            taken.by_holder.remove(&self.holder);
            if taken.by_holder.capacity() > 1_024 && taken.by_holder.len() < taken.by_holder.capacity() / 8 {
                // Releases the memory of a flood of holders once it is over.
                taken.by_holder.shrink_to_fit();
            }
        }
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shares").field("max", &self.max.load(Relaxed)).finish_non_exhaustive()
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share")
            .field("holder", &self.holder)
            .field("units", &self.units.load(Relaxed))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(name: &str) -> Holder {
        Holder::Session(name.into())
    }

    /// All that a holder gets, one after the other.
    fn fill(shares: &Arc<Shares>, holder: &Holder) -> Vec<Share> {
        std::iter::from_fn(|| shares.take(holder, 1)).collect()
    }

    #[test]
    fn one_alone_may_have_three_quarters_and_the_next_client_its_share() {
        let shares = Arc::new(Shares::new(1_000));
        let greedy = fill(&shares, &session("greedy"));
        assert_eq!(greedy.len(), 704, "three quarters of what is for clients: {}", greedy.len());
        let neighbour = fill(&shares, &session("neighbour"));
        assert!(neighbour.len() >= 13, "{}", neighbour.len());
        let trusted = fill(&shares, &Holder::Trusted);
        assert!(trusted.len() >= 62, "{}", trusted.len());
        drop(greedy);
        assert!(fill(&shares, &session("neighbour")).len() > 400);
        drop((neighbour, trusted));
        assert!(shares.lock().units == 0 && shares.lock().by_holder.is_empty());
    }

    #[test]
    fn however_many_take_all_they_can_there_is_some_for_the_next() {
        for attackers in [1, 10, 60] {
            let shares = Arc::new(Shares::new(1_000));
            let held: Vec<Vec<Share>> =
                (0..attackers).map(|number| fill(&shares, &session(&number.to_string()))).collect();
            let neighbour = fill(&shares, &session("neighbour"));
            assert!(!neighbour.is_empty(), "{attackers} have {:?}", held.iter().map(Vec::len).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_small_place_is_shared_too() {
        let shares = Arc::new(Shares::new(2));
        let all = fill(&shares, &session("a"));
        assert_eq!(all.len(), 2);
        drop(all);
        assert!(Arc::new(Shares::new(0)).take(&Holder::Trusted, 1).is_none());
    }

    #[test]
    fn a_place_may_become_larger_and_smaller() {
        let shares = Arc::new(Shares::new(10));
        let mut all = fill(&shares, &Holder::Trusted);
        assert_eq!(all.len(), 10);
        shares.set_max(20);
        all.extend(fill(&shares, &Holder::Trusted));
        assert_eq!(all.len(), 20);
        shares.set_max(5);
        all.truncate(6);
        assert!(shares.take(&Holder::Trusted, 1).is_none() && shares.take(&session("a"), 1).is_none());
        all.truncate(3);
        assert!(shares.take(&session("a"), 1).is_some());
    }

    #[test]
    fn what_has_grown_counts() {
        let shares = Arc::new(Shares::new(100));
        let share = shares.take(&session("a"), 1).expect("free");
        share.grow(200);
        assert!(shares.take(&Holder::Trusted, 1).is_none());
        drop(share);
        assert_eq!(shares.lock().units, 0);
    }
}
