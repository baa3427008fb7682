//! What a connection must pass before anything is read from it, and while its requests come in.

pub(super) mod connections;
pub(super) mod head_guard;
pub(super) mod rate;
pub(super) mod stream_guard;
