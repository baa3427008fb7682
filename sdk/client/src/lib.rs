//! A client for Rialto.

mod address;
mod builder;
mod client;
mod command;
mod driver;
mod error;
mod event;
mod machine;
mod random;
mod request;
mod socket;
mod subscription;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;
mod token;
mod wanted;

pub use builder::Builder;
pub use client::{Client, Events};
pub use error::{Ending, Error};
pub use event::{Event, Item, Resumed, Session};
pub use request::{Call, History, Ping, Pong, Presence, Publish, Sent};
pub use rialto_protocol::value::ValueError;
pub use rialto_protocol::{
    Answered, Codec, Delivery, Encoding, ErrorCode, Failure, Gap, GapReason, HeardMessage as Message, Limits, Member,
    Past, PastMessage, Payload, Pointer, Position, Present, Published, Subscribed,
};
pub use subscription::Subscription;
pub use wanted::Topic;
