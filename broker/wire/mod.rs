//! Bytes on the wire, by transport. A message does not know how it travels.

pub(crate) mod websocket;
