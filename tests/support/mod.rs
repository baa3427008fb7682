//! What the tests share: a real broker on a free port, an independent client, a raw socket.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(crate) mod alone;
mod client;
pub(crate) mod component;
mod deadline;
pub(crate) mod dice;
pub(crate) mod events;
pub(crate) mod fault;
mod http;
mod log;
pub(crate) mod place;
#[cfg(unix)]
pub(crate) mod process;
pub(crate) mod raw;
mod running;
pub(crate) mod tls;
pub(crate) mod token;
mod value;

pub(crate) use client::Client;
pub(crate) use deadline::{DEADLINE, eventually, within};
pub(crate) use http::{
    Answered, Program, all_bytes_answered, everything_answered, get, http, http_over, status, upgrade_request,
};
pub(crate) use place::{RIALTO, root};
pub(crate) use raw::{Raw, Wire};
pub(crate) use running::Running;
pub(crate) use value::{decode, encode, plain};
