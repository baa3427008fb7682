//! What the test programs share: a real broker on a free port, an independent client, a raw socket.
#![allow(dead_code, unused_imports, reason = "each test program uses a part of this")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod deadline;
pub(crate) mod events;
mod http;
pub(crate) mod raw;
mod running;
#[cfg(feature = "tls")]
pub(crate) mod tls;
mod value;

pub(crate) use client::Client;
pub(crate) use deadline::{DEADLINE, eventually, within};
pub(crate) use http::{
    Answered, Program, all_bytes_answered, everything_answered, get, http, http_over, upgrade_request,
};
pub(crate) use raw::{Raw, Wire};
pub(crate) use running::Running;
pub(crate) use value::{decode, encode, plain};
