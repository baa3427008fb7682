//! Recordings: the events of a plugin's hooks, the calls to the host with what they returned, and the outcomes, so that a run
//! can be repeated exactly.
//!
//! A broker with `record = 100` for a plugin keeps the last 100 events of each instance and writes them beside its log when
//! a hook traps. `rialto plugin replay FILE` repeats that in the sandbox; this module repeats it natively, under a debugger
//! if you like:
//!
//! ```no_run
//! # use rialto_plugin::prelude::*;
//! # #[derive(Default)] struct Chat;
//! # impl Plugin for Chat {}
//! let recording = rialto_plugin::recording::Recording::read("chat-1.jsonl")?;
//! println!("{}", recording.replay::<Chat>());
//! # Ok::<(), rialto_plugin::recording::ReadError>(())
//! ```
//!
//! A file is JSON Lines: the [`Header`], the `start` of the instance, and then one line for each event.

mod event;
mod file;
mod playing;
mod replay;
mod taping;
mod text;

pub use event::{Event, HostCall, HostReply, HostRequest, Outcome, Step};
pub use file::{Header, ReadError, Recording};
pub use playing::{Difference, Player};
pub use replay::Replayed;
pub use taping::Tape;
