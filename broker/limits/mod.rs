//! Limits on what clients may take: rates, quotas, seats, and the network that an address counts for.

pub(crate) mod network;
pub(crate) mod quota;
pub(crate) mod rate;
pub(crate) mod seats;
