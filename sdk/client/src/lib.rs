//! A client for the [Rialto](https://crates.io/crates/rialto) pub/sub broker that comes back after every cut, with all that was
//! missed, in order and once; or it says what is gone.
//!
//! ```no_run
//! use rialto_client::{Client, Item};
//!
//! # async fn example() -> Result<(), rialto_client::Error> {
//! let client = Client::connect("ws://127.0.0.1:8080").await?;
//! let mut news = client.subscribe("news.venice").await?;
//! client.publish("news.venice", &"A ship has come to Lisbon").await?;
//! while let Some(item) = news.next().await {
//!     if let Item::Message(message) = item {
//!         println!("{} {:?}", message.offset, message.payload.parse::<String>());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//! A request fails with an [`Error`]. [`Error::code`] is the broker's, where it refused; [`Error::may_have_acted`] says whether
//! what was asked for may have been done all the same. A client that does not come back has an [`Ending`]: from
//! [`Client::closed`], from [`Event::Closed`], and in [`Error::Closed`].
//!
//! # Limits
//! - Requests have a deadline, 30 s unless they say otherwise, over as many sessions as they need. Publishes and calls are sent
//!   again with a random key, by which the broker knows a retry: within `keys_ms` of the topic's rule (2 minutes) and its own life.
//! - At most 1,024 requests are without an answer ([`Builder::unanswered_max`]).
//! - A subscription has room for 256 items ([`Builder::queue_items_max`]). While one is full nothing is read from the socket,
//!   answers neither, and the broker's delivery policies decide. So do not wait for an answer in the task that must make the room.
//! - One client has each topic and pattern once.

mod address;
mod builder;
mod client;
mod command;
mod credential;
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
mod topic;

pub use builder::Builder;
pub use client::{Client, Events};
pub use error::{Ending, Error};
pub use event::{Event, Item, Resumed, Session};
pub use request::{Call, History, Ping, Pong, Presence, Publish, Sent};
pub use rialto_protocol::value::ValueError;
pub use rialto_protocol::{
    Answered, Codec, Delivery, Encoding, ErrorCode, Failure, Gap, GapReason, Limits, Member, Past, PastMessage,
    Payload, Pointer, Position, Present, Published, ReceivedMessage as Message, RequestRates, Subscribed,
};
pub use subscription::Subscription;
pub use topic::Topic;

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
