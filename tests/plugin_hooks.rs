//! What hooks may do and what comes of it: sessions, timers, raw endpoints, single frames, all or nothing. The plugin of these
//! tests runs natively, through the same host code as a component.

mod all_or_nothing;
mod authentication;
mod capabilities;
mod chains;
pub(crate) mod endpoints;
mod isolation;
mod native;
mod policy;
mod puppet;
mod recording;
mod removal;
mod rules;
mod sessions;
mod timers;
