//! What hooks may do and what comes of it: sessions, timers, raw endpoints, single frames, all or nothing. The plugin of these
//! tests runs natively, through the same host code as a component.
#![cfg(feature = "plugins")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

#[path = "hooks/all_or_nothing.rs"]
mod all_or_nothing;
#[path = "hooks/capabilities.rs"]
mod capabilities;
#[path = "hooks/chains.rs"]
mod chains;
#[path = "hooks/endpoints.rs"]
mod endpoints;
#[path = "hooks/isolation.rs"]
mod isolation;
#[path = "hooks/policy.rs"]
mod policy;
#[path = "hooks/puppet.rs"]
mod puppet;
#[path = "hooks/recording.rs"]
mod recording;
#[path = "hooks/sessions.rs"]
mod sessions;
#[path = "hooks/timers.rs"]
mod timers;
