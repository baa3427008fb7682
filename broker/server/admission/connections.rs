//! Connection limits: how many connections may be open that are not sessions, in all and per address, and the rate limit
//! for TLS handshakes. It reads nothing from a connection.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::config::ActiveConfig;
use crate::limits::count::{Count, Counted};
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
    waiting: Count,
    refused: Count,
    addresses: Quota<Network>,
    handshakes: RatesByKey<Network>,
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
    _counted: Counted,
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
    pub(in crate::server) fn new(metrics: Arc<Metrics>) -> Self {
        let (waiting, refused, addresses) = (Count::default(), Count::default(), Quota::default());
        Self { waiting, refused, addresses, handshakes: RatesByKey::default(), metrics }
    }

    /// Admits a connection, maybe only to answer why it is refused. None means that it has to be closed without an answer.
    pub(in crate::server) fn enter(&self, config: &ActiveConfig, address: IpAddr) -> Option<Waiting> {
        let waiting = self.admit(config, address);
        if waiting.as_ref().is_none_or(|waiting| waiting.refusal.is_some()) {
            self.metrics.connections_refused.add(1);
        }
        waiting
    }

    fn admit(&self, config: &ActiveConfig, address: IpAddr) -> Option<Waiting> {
        let slot = self.take_address_slot(config, address);
        let (refusal, counted) = match (&slot, self.waiting.take(config.limits.connections)) {
            (Ok(_), Some(counted)) => (None, counted),
            (Err(refusal), _) => (Some(*refusal), self.refused.take(REFUSED_MAX)?),
            (Ok(_), None) => (Some(Refusal::Full), self.refused.take(REFUSED_MAX)?),
        };
        self.metrics.connections.add(1);
        let (of_address, metrics) = (slot.ok().flatten(), Arc::clone(&self.metrics));
        Some(Waiting { refusal, of_address, metrics, _counted: counted })
    }

    /// Takes a slot of an address. Trusted proxies have no limit, and neither has this machine itself, where a proxy may run
    /// that is not configured.
    ///
    /// # Errors
    /// [`Refusal::Address`] if the address has no slot left.
    pub(in crate::server) fn take_address_slot(
        &self,
        config: &ActiveConfig,
        address: IpAddr,
    ) -> Result<Option<QuotaSlot<Network>>, Refusal> {
        if !is_counted(config, address) {
            return Ok(None);
        }
        let slots_max = config.limits.connections_per_address;
        self.addresses.take(&Network::of(address), slots_max).map(Some).ok_or(Refusal::Address)
    }

    /// The rate limit for TLS handshakes of an address: each costs as much processor time as thousands of messages.
    pub(in crate::server) fn may_shake_hands(&self, config: &ActiveConfig, address: IpAddr, now: Instant) -> bool {
        let taken = || self.handshakes.take(&Network::of(address), config.limits.handshakes_per_s, now);
        let may = !is_counted(config, address) || taken().is_ok();
        if !may {
            self.metrics.connections_refused.add(1);
        }
        may
    }
}

fn is_counted(config: &ActiveConfig, address: IpAddr) -> bool {
    !Network::is_this_machine(address) && !trusts(config, address)
}

/// Whether the address is a trusted proxy, whose `X-Forwarded-*` headers count.
pub(in crate::server) fn trusts(config: &ActiveConfig, address: IpAddr) -> bool {
    let address = address.to_canonical();
    config.server.trusted_proxies.iter().any(|network| network.contains(&address))
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.metrics.connections.subtract(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, CurrentConfig};

    #[test]
    fn refused_connections_are_answered_up_to_a_limit_and_dropped_beyond_it() {
        let mut config = Config::default();
        (config.limits.connections, config.limits.connections_per_address) = (3, 2);
        config.server.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")];
        let config = CurrentConfig::new(config).get();
        let metrics = Arc::new(Metrics::default());
        let connections = Connections::new(Arc::clone(&metrics));
        let enter = |address: &str| connections.enter(&config, address.parse().expect("an address"));
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
