//! The Rialto client protocol, version 1: requests, frames, codecs and codes. It does no I/O and knows no clock.
//!
//! One protocol, two codecs, the same shapes: every frame is one map with string keys, as JSON (RFC 8259) in a
//! WebSocket text frame or as MessagePack in a binary one. The payload of a message is carried as the bytes it came
//! in and never built into a tree.
//!
//! ```
//! use rialto_protocol::{Codec, Request, Operation};
//!
//! let frame = br#"{"type":"subscribe","id":1,"topic":"chat.lobby"}"#;
//! let request = Request::decode(Codec::Json, frame)?;
//! assert_eq!(request.id, Some(1));
//! assert!(matches!(request.operation, Operation::Subscribe(_)));
//! # Ok::<(), rialto_protocol::RequestError>(())
//! ```

mod api;
mod code;
mod codec;
mod delivery;
mod entries;
mod explain;
mod fields;
mod frame;
mod payload;
mod plugins;
mod pointer;
mod reload;
mod reply;
mod request;
pub mod topic;
pub mod value;
mod writer;

pub use api::{
    ApiAnswer, ApiOperation, ApiRequest, Broadcast, Disconnect, Revoke, Sessions, Tokens, TopicLine, Topics,
};
pub use code::{CloseCode, ErrorCode};
pub use codec::Codec;
pub use delivery::{Delivery, DeliveryError, Key, Policy};
pub use entries::FrameError;
pub use explain::{Explain, ExplainedAction, Explanation};
pub use frame::{
    Closing, Failure, Frame, Gap, GapReason, Greeting, Limits, Member, Position, ReceivedFrame, ReceivedMessage,
    RequestRates, Welcome,
};
pub use payload::{Encoding, Payload};
pub use plugins::{PluginFailureLine, PluginLine};
pub use pointer::{Pointer, PointerError};
pub use reload::ReloadReport;
pub use reply::{Answer, Answered, Connected, Outcome, Past, PastMessage, Present, Published, Reply, Subscribed};
pub use request::{
    Call, Connect, History, HistoryFrom, Operation, Publish, REQUEST_TOPICS_MAX, Request, RequestError, Subscribe,
};

/// How deep arrays and maps may be nested in a payload, and in the value of any other field of a frame, in either codec.
pub const DEPTH_MAX: usize = 32;
