//! Where a connection waits until it is a session: how many there may be, in all and of one address. It reads nothing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config;
use crate::limits::network::Network;
use crate::limits::quota::{Quota, QuotaSlot};
use crate::limits::rate::RatesByKey;
use crate::metrics::Metrics;

/// Connections that may be told at the same time why they find no place; more are hung up on without a word, because
/// words would take the very places that are missing.
const TOLD_MAX: usize = 128;

/// The places of all connections.
#[derive(Debug)]
pub(in crate::server) struct Connections {
    waiting: Arc<Semaphore>,
    told: Arc<Semaphore>,
    addresses: Quota<Network>,
    handshakes: RatesByKey<Network>,
    handshakes_per_s: u32,
    trusted_proxies: Vec<IpNet>,
    metrics: Arc<Metrics>,
}

/// A connection's place in the lobby. Dropping it gives it back.
#[derive(Debug)]
pub(in crate::server) struct Waiting {
    /// Why it will not become a session.
    pub(in crate::server) refusal: Option<Refusal>,
    /// The part of it that a session keeps; none for those that are not counted by the address of their connection.
    pub(in crate::server) of_address: Option<QuotaSlot<Network>>,
    metrics: Arc<Metrics>,
    _seat: OwnedSemaphorePermit,
}

/// Why a connection finds no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Refusal {
    /// Too many connections are no sessions yet.
    Full,
    /// Too many connections of this address.
    Address,
}

impl Connections {
    pub(in crate::server) fn new(limits: &config::Limits, trusted_proxies: Vec<IpNet>, metrics: Arc<Metrics>) -> Self {
        Self {
            waiting: Arc::new(Semaphore::new(limits.connections)),
            told: Arc::new(Semaphore::new(TOLD_MAX)),
            addresses: Quota::new(limits.connections_per_address),
            handshakes: RatesByKey::default(),
            handshakes_per_s: limits.handshakes_per_s,
            trusted_proxies,
            metrics,
        }
    }

    /// Lets a connection in, at least to be told why it must go. None means that there is no place even for that.
    pub(in crate::server) fn enter(&self, address: IpAddr) -> Option<Waiting> {
        let waiting = self.place(address);
        if waiting.as_ref().is_none_or(|waiting| waiting.refusal.is_some()) {
            self.metrics.connections_refused.add(1);
        }
        waiting
    }

    fn place(&self, address: IpAddr) -> Option<Waiting> {
        let counted = self.count(address);
        let seat = Arc::clone(&self.waiting).try_acquire_owned();
        let (refusal, seat) = match (&counted, seat) {
            (Ok(_), Ok(seat)) => (None, seat),
            (Err(refusal), _) => (Some(*refusal), Arc::clone(&self.told).try_acquire_owned().ok()?),
            (Ok(_), Err(_)) => (Some(Refusal::Full), Arc::clone(&self.told).try_acquire_owned().ok()?),
        };
        self.metrics.connections.add(1);
        let (of_address, metrics) = (counted.ok().flatten(), Arc::clone(&self.metrics));
        Some(Waiting { refusal, of_address, metrics, _seat: seat })
    }

    /// A place of an address. Proxies that speak for others have as many as they like, and so has this machine itself,
    /// where a proxy may be that nobody has named.
    ///
    /// # Errors
    /// [`Refusal::Address`] when it has too many already.
    pub(in crate::server) fn count(&self, address: IpAddr) -> Result<Option<QuotaSlot<Network>>, Refusal> {
        if !self.is_counted(address) {
            return Ok(None);
        }
        self.addresses.take(&Network::of(address)).map(Some).ok_or(Refusal::Address)
    }

    /// Takes one of the TLS handshakes that an address may have: each costs as much processor time as thousands of messages.
    pub(in crate::server) fn may_shake_hands(&self, address: IpAddr, now: Instant) -> bool {
        let taken = || self.handshakes.take(&Network::of(address), self.handshakes_per_s, now);
        let may = !self.is_counted(address) || taken().is_ok();
        if !may {
            self.metrics.connections_refused.add(1);
        }
        may
    }

    fn is_counted(&self, address: IpAddr) -> bool {
        !Network::is_this_machine(address) && !self.trusts(address)
    }

    /// Whether this address may say for whom it speaks.
    pub(in crate::server) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.metrics.connections.subtract(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_place_is_told_until_there_is_no_place_for_that_either() {
        let limits = config::Limits { connections: 3, connections_per_address: 2, ..config::Limits::default() };
        let metrics = Arc::new(Metrics::default());
        let proxies = vec!["10.0.0.0/8".parse().expect("a network")];
        let connections = Connections::new(&limits, proxies, Arc::clone(&metrics));
        let enter = |address: &str| connections.enter(address.parse().expect("an address"));
        let refusal = |waiting: &Option<Waiting>| waiting.as_ref().map(|waiting| waiting.refusal);
        let mut there = vec![enter("192.0.2.1"), enter("192.0.2.1")];
        assert!(there.iter().all(|waiting| refusal(waiting) == Some(None)));
        let third = enter("192.0.2.1");
        assert_eq!(refusal(&third), Some(Some(Refusal::Address)));
        drop(third);
        there.push(enter("10.1.1.1"));
        assert_eq!(refusal(&there[2]), Some(None), "proxies and this machine have no quota");
        assert_eq!(refusal(&enter("127.0.0.1")), Some(Some(Refusal::Full)));
        let told: Vec<_> = (0..TOLD_MAX).map(|_| enter("192.0.2.9")).collect();
        assert!(told.iter().all(Option::is_some) && enter("192.0.2.8").is_none());
        assert_eq!(metrics.connections.get(), 3 + TOLD_MAX as u64);
        drop((there, told));
        assert_eq!(metrics.connections.get(), 0);
        assert_eq!(metrics.connections_refused.get(), 3 + TOLD_MAX as u64);
        assert_eq!(refusal(&enter("192.0.2.1")), Some(None));
    }
}
