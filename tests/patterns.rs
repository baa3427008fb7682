//! Subscriptions by pattern, and publishing without an echo, through real sockets on two shards and in both codecs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

#[path = "patterns/bound.rs"]
mod bound;
#[path = "patterns/echo.rs"]
mod echo;
#[path = "patterns/model.rs"]
mod model;
#[path = "patterns/once.rs"]
mod once;
#[path = "patterns/race.rs"]
mod race;
#[path = "patterns/rule.rs"]
mod rule;
#[path = "patterns/subscriber.rs"]
mod subscriber;
