//! Limits on clients: rate limits, quotas, session permits, and the network that an address belongs to.

pub(crate) mod network;
pub(crate) mod quota;
pub(crate) mod rate;
pub(crate) mod seats;
