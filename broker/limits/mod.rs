//! Limits on clients: rate limits, quotas and session permits.

pub(crate) mod count;
pub(crate) mod quota;
pub(crate) mod rate;
pub(crate) mod request_rates;
pub(crate) mod seats;
