//! Rialto: a pub/sub broker whose topics carry their own logic. This file names the modules and what is public of them.
//!
//! Clients talk WebSocket (JSON or MessagePack) to topics; the logic of a topic is a sandboxed WebAssembly plugin. The
//! same broker runs as one binary with one TOML file, or inside your own program:
//!
//! ```no_run
//! use rialto::{Broker, Payload, Server, config::Config};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let config = Config::default();
//!     let broker = Broker::builder().config(config.clone()).start()?;
//!     let server = Server::bind(broker.clone(), &config.server)?;
//!     println!("ws://{}/ws", server.addresses()[0]);
//!     let stop = async {
//!         let position = broker.publish("news", Payload::json("hello")?).await?;
//!         println!("published at {position:?}");
//!         tokio::signal::ctrl_c().await?;
//!         Ok::<(), Box<dyn std::error::Error>>(())
//!     };
//!     server.run(async { stop.await.unwrap_or_default() }).await;
//!     broker.shutdown(std::time::Duration::from_secs(10)).await;
//!     Ok(())
//! }
//! ```
//!
//! `broker/book/` is the manual, with the client protocol; `broker/ARCHITECTURE.md` explains how the broker is built.

mod access;
mod auth;
mod authorizer;
mod broker;
mod builder;
#[cfg(feature = "cli")]
pub mod cli;
mod clock;
mod collections;
pub mod config;
mod endpoints;
mod engine;
mod file_version;
mod hub;
mod identity;
mod limits;
mod log_pace;
mod message;
mod metrics;
mod plugin;
mod presence;
mod request;
mod server;
mod session;
mod shares;
mod store;
mod supervision;
mod topic_plugins;
mod topics;
mod wire;

pub use authorizer::{AccessAction, AccessRequest, Admission, Authorize, ConnectRequest, Decision, Identity};
pub use broker::{Broker, PluginStatus, PublishOptions, ReloadError, Reloaded, TopicStatus};
pub use builder::{Builder, StartError};
pub use clock::ManualClock;
pub use hub::Duplex;
pub use metrics::Snapshot;
pub use plugin::{FailureReport, PluginHealth};
pub use rialto_protocol::topic;
pub use rialto_protocol::{
    Answered, ApiOperation, HistoryFrom, Past, PastMessage, PointerError, Policy, Position, Present, Published,
    Sessions, Tokens, TopicLine,
};
pub use rialto_protocol::{CloseCode, Codec, Delivery, DeliveryError, Encoding, ErrorCode, Failure, Payload, Pointer};
#[cfg(feature = "tls")]
pub use server::PairError;
#[cfg(feature = "fuzzing")]
pub use server::fuzzing;
pub use server::{BindError, ConnectionInfo, ControlError, Server, SessionEnd, SessionHandle, TlsError};

/// The examples of the book, compiled and run with the doctests.
#[cfg(doctest)]
#[doc = include_str!("book/src/quick-start.md")]
#[doc = include_str!("book/src/embedding.md")]
#[doc = include_str!("book/src/plugins/writing.md")]
#[doc = include_str!("book/src/plugins/testing.md")]
#[doc = include_str!("book/src/plugins/recordings.md")]
#[doc = include_str!("book/src/plugins/native.md")]
struct Book;
