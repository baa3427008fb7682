//! The WebSocket server through real sockets: correct and incorrect clients, in both codecs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

#[path = "websocket/cancel.rs"]
mod cancel;
#[cfg(feature = "tls")]
#[path = "websocket/certificate.rs"]
mod certificate;
#[path = "websocket/close.rs"]
mod close;
#[path = "websocket/codec.rs"]
mod codec;
#[path = "websocket/crowd.rs"]
mod crowd;
#[path = "websocket/deadline.rs"]
mod deadline;
#[cfg(feature = "tls")]
#[path = "websocket/encrypted.rs"]
mod encrypted;
#[path = "websocket/flood.rs"]
mod flood;
#[path = "websocket/frame.rs"]
mod frame;
#[path = "websocket/gauge.rs"]
mod gauge;
#[path = "websocket/limit.rs"]
mod limit;
#[path = "websocket/noise.rs"]
mod noise;
#[path = "websocket/order.rs"]
mod order;
#[path = "websocket/page.rs"]
mod page;
#[path = "websocket/payload.rs"]
mod payload;
#[path = "websocket/pressure.rs"]
mod pressure;
#[path = "websocket/proxy.rs"]
mod proxy;
#[path = "websocket/race.rs"]
mod race;
#[path = "websocket/request.rs"]
mod request;
#[path = "websocket/session.rs"]
mod session;
#[path = "websocket/smuggle.rs"]
mod smuggle;
#[cfg(feature = "tls")]
#[path = "websocket/tls.rs"]
mod tls;
#[path = "websocket/topic.rs"]
mod topic;
#[path = "websocket/witness.rs"]
mod witness;
