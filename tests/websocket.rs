//! The WebSocket server through real sockets: correct and incorrect clients, in both codecs.

mod cancel;
#[cfg(feature = "tls")]
mod certificate;
mod close;
mod codec;
mod crowd;
mod deadline;
#[cfg(feature = "tls")]
mod encrypted;
mod flood;
mod frame;
mod gauge;
mod limit;
mod noise;
mod order;
mod page;
mod payload;
mod pressure;
mod proxy;
mod race;
mod request;
mod session;
mod smuggle;
#[cfg(feature = "tls")]
mod tls;
mod topic;
mod witness;
