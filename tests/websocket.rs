//! The WebSocket server through real sockets: correct and incorrect clients, in both codecs.

mod cancel;
mod certificate;
mod close;
mod codec;
mod crowd;
mod deadline;
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
mod rate;
mod request;
mod session;
mod smuggle;
mod tls;
mod topic;
mod witness;
