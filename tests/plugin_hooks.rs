//! What hooks may do and what comes of it: sessions, timers, raw endpoints, single frames, all or nothing. The plugin of these
//! tests runs natively, through the same host code as a component.
#![cfg(feature = "plugins")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

#[path = "plugin_hooks/all_or_nothing.rs"]
mod all_or_nothing;
#[path = "plugin_hooks/capabilities.rs"]
mod capabilities;
#[path = "plugin_hooks/chains.rs"]
mod chains;
#[path = "plugin_hooks/endpoints.rs"]
mod endpoints;
#[path = "plugin_hooks/isolation.rs"]
mod isolation;
#[path = "plugin_hooks/native.rs"]
mod native;
#[path = "plugin_hooks/policy.rs"]
mod policy;
#[path = "plugin_hooks/puppet.rs"]
mod puppet;
#[path = "plugin_hooks/recording.rs"]
mod recording;
#[path = "plugin_hooks/rules.rs"]
mod rules;
#[path = "plugin_hooks/sessions.rs"]
mod sessions;
#[path = "plugin_hooks/timers.rs"]
mod timers;
