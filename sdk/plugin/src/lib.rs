//! The SDK for Rialto plugins: the hooks as a trait, typed payloads and state, and a native test double.
//!
//! A plugin holds the logic of the topics that the operator gives it. It is a type that implements [`Plugin`]; the
//! broker runs it as a sandboxed WebAssembly component and calls its hooks one at a time.
//!
//! ```
//! use rialto_plugin::prelude::*;
//!
//! #[derive(Default)]
//! struct Echo;
//!
//! impl Plugin for Echo {
//!     fn on_publish(&mut self, ctx: &mut Context, message: Message) -> Result<Verdict> {
//!         let text: String = message.data()?;
//!         ctx.publish("echo.out", &text.to_uppercase())?;
//!         Ok(Verdict::Accept)
//!     }
//! }
//!
//! rialto_plugin::export!(Echo);
//!
//! // In a plain `#[test]`, natively:
//! let mut host = rialto_plugin::testing::Host::new(Echo);
//! host.publish("session-1", "echo.in", &"hello").expect("text is accepted");
//! assert_eq!(host.published()[1].data, json!("HELLO"));
//! ```
//!
//! # A hook is a transaction
//! What a hook asks for (messages, state) happens when it returns `Ok`, all of it and in order. When it returns an
//! [`Error`], panics or exceeds a limit, nothing of it happens. `?` does the right thing throughout: data that does not
//! decode becomes a rejection that tells the client why, and what the broker refuses becomes a failure that tells the
//! operator why.
//!
//! # Instance memory is a cache
//! The plugin's fields are lost when it panics, is reloaded or moves. What must last belongs into [`Context::state`].

mod call;
mod config;
mod context;
mod error;
mod export;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
pub mod host;
mod imports;
mod message;
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
pub mod native;
mod payload;
mod plugin;
pub mod prelude;
#[cfg(not(target_arch = "wasm32"))]
pub mod recording;
mod session;
mod sessions;
pub mod shares;
mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod timer;

pub use call::{Call, Reply};
pub use config::Config;
pub use context::Context;
pub use error::{Error, Result, fail, reject};
#[doc(hidden)]
pub use export::section_bytes;
pub use imports::{Entry, Imports, Level, Refusal};
pub use message::{Message, Raw, Verdict};
pub use payload::{DecodeError, EncodeError, Encoding, Payload};
pub use plugin::Plugin;
pub use serde_json::json;
pub use session::Session;
pub use sessions::{Listing, Sessions};
pub use state::{Scan, State};
pub use timer::Timer;

/// The examples of README.md, compiled and run with the doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
