//! Subscriptions by pattern, and publishing without an echo, through real sockets on two shards and in both codecs.

mod bound;
mod echo;
mod model;
mod once;
mod race;
mod rule;
mod subscriber;
