//! Sessions over plain HTTP: Server-Sent Events and long poll.

pub(super) mod bridge;
mod cursor;
pub(super) mod events;
pub(super) mod frame;
pub(super) mod poll;
pub(super) mod sse;
pub(super) mod subscription;
