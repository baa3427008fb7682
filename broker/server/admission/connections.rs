//! Connection limits: how many connections may be open that are not sessions, in all and per address, and the rate limit
//! for TLS handshakes. It reads nothing from a connection.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config;
use crate::limits::quota::{Quota, QuotaSlot};
use crate::limits::rate::RatesByKey;
use crate::metrics::Metrics;
use crate::shares::network::Network;

/// Connections at a time that are answered with the reason for their refusal. More are closed without an answer, because
/// answering would use the very resources that are exhausted.
const REFUSED_MAX: usize = 128;

/// The limits that all connections share.
#[derive(Debug)]
pub(in crate::server) struct Connections {
    waiting: Arc<Semaphore>,
    refused: Arc<Semaphore>,
    addresses: Quota<Network>,
    handshakes: RatesByKey<Network>,
    handshakes_per_s: u32,
    trusted_proxies: Vec<IpNet>,
    metrics: Arc<Metrics>,
}

/// The slot of a connection that is not a session. Dropping it releases the slot.
#[derive(Debug)]
pub(in crate::server) struct Waiting {
    /// Why the connection must not become a session.
    pub(in crate::server) refusal: Option<Refusal>,
    /// The slot of its address, which a session keeps; none where the address of the connection is not limited.
    pub(in crate::server) of_address: Option<QuotaSlot<Network>>,
    metrics: Arc<Metrics>,
    _permit: OwnedSemaphorePermit,
}

/// The connection limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Refusal {
    /// Too many connections that are not sessions yet.
    Full,
    /// Too many connections from this address.
    Address,
}

impl Connections {
    pub(in crate::server) fn new(limits: &config::Limits, trusted_proxies: Vec<IpNet>, metrics: Arc<Metrics>) -> Self {
        Self {
            waiting: Arc::new(Semaphore::new(limits.connections)),
            refused: Arc::new(Semaphore::new(REFUSED_MAX)),
            addresses: Quota::new(limits.connections_per_address),
            handshakes: RatesByKey::default(),
            handshakes_per_s: limits.handshakes_per_s,
            trusted_proxies,
            metrics,
        }
    }

    /// Admits a connection, maybe only to answer why it is refused. None means that it has to be closed without an answer.
    pub(in crate::server) fn enter(&self, address: IpAddr) -> Option<Waiting> {
        let waiting = self.admit(address);
        if waiting.as_ref().is_none_or(|waiting| waiting.refusal.is_some()) {
            self.metrics.connections_refused.add(1);
        }
        waiting
    }

    fn admit(&self, address: IpAddr) -> Option<Waiting> {
        let slot = self.take_address_slot(address);
        let permit = Arc::clone(&self.waiting).try_acquire_owned();
        let (refusal, permit) = match (&slot, permit) {
            (Ok(_), Ok(permit)) => (None, permit),
            (Err(refusal), _) => (Some(*refusal), Arc::clone(&self.refused).try_acquire_owned().ok()?),
            (Ok(_), Err(_)) => (Some(Refusal::Full), Arc::clone(&self.refused).try_acquire_owned().ok()?),
        };
        self.metrics.connections.add(1);
        let (of_address, metrics) = (slot.ok().flatten(), Arc::clone(&self.metrics));
        Some(Waiting { refusal, of_address, metrics, _permit: permit })
    }

    /// Takes a slot of an address. Trusted proxies have no limit, and neither has this machine itself, where a proxy may run
    /// that is not configured.
    ///
    /// # Errors
    /// [`Refusal::Address`] if the address has no slot left.
    pub(in crate::server) fn take_address_slot(&self, address: IpAddr) -> Result<Option<QuotaSlot<Network>>, Refusal> {
        if !self.is_counted(address) {
            return Ok(None);
        }
        self.addresses.take(&Network::of(address)).map(Some).ok_or(Refusal::Address)
    }

    /// The rate limit for TLS handshakes of an address: each costs as much processor time as thousands of messages.
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

    /// Whether the address is a trusted proxy, whose `X-Forwarded-*` headers count.
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
    fn refused_connections_are_answered_up_to_a_limit_and_dropped_beyond_it() {
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
        assert_eq!(refusal(&there[2]), Some(None), "proxies and this machine have no limit");
        assert_eq!(refusal(&enter("127.0.0.1")), Some(Some(Refusal::Full)));
        let refused: Vec<_> = (0..REFUSED_MAX).map(|_| enter("192.0.2.9")).collect();
        assert!(refused.iter().all(Option::is_some) && enter("192.0.2.8").is_none());
        assert_eq!(metrics.connections.get(), 3 + REFUSED_MAX as u64);
        drop((there, refused));
        assert_eq!(metrics.connections.get(), 0);
        assert_eq!(metrics.connections_refused.get(), 3 + REFUSED_MAX as u64);
        assert_eq!(refusal(&enter("192.0.2.1")), Some(None));
    }
}
