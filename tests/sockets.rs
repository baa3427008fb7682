//! The broker through real sockets, right and wrong use of it in both codecs, as any client may come.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

#[path = "sockets/cancel.rs"]
mod cancel;
#[cfg(feature = "tls")]
#[path = "sockets/certificate.rs"]
mod certificate;
#[path = "sockets/close.rs"]
mod close;
#[path = "sockets/codec.rs"]
mod codec;
#[path = "sockets/crowd.rs"]
mod crowd;
#[path = "sockets/deadline.rs"]
mod deadline;
#[cfg(feature = "tls")]
#[path = "sockets/encrypted.rs"]
mod encrypted;
#[path = "sockets/flood.rs"]
mod flood;
#[path = "sockets/frame.rs"]
mod frame;
#[path = "sockets/gauge.rs"]
mod gauge;
#[path = "sockets/limit.rs"]
mod limit;
#[path = "sockets/noise.rs"]
mod noise;
#[path = "sockets/order.rs"]
mod order;
#[path = "sockets/page.rs"]
mod page;
#[path = "sockets/payload.rs"]
mod payload;
#[path = "sockets/pressure.rs"]
mod pressure;
#[path = "sockets/proxy.rs"]
mod proxy;
#[path = "sockets/race.rs"]
mod race;
#[path = "sockets/request.rs"]
mod request;
#[path = "sockets/session.rs"]
mod session;
#[path = "sockets/smuggle.rs"]
mod smuggle;
#[cfg(feature = "tls")]
#[path = "sockets/tls.rs"]
mod tls;
#[path = "sockets/topic.rs"]
mod topic;
#[path = "sockets/witness.rs"]
mod witness;
