//! Admission control: connection limits, the rate limit for new sessions, and guards on the bytes of HTTP connections.

pub(super) mod connections;
pub(super) mod head_guard;
pub(super) mod rate;
pub(super) mod stream_guard;
