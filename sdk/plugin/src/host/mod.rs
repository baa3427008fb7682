//! The host's side of a hook call, once for the broker and for [`testing::Host`](crate::testing::Host): what a hook may do,
//! its limits, the checks of names, the accounting of state and timers, and the texts of refusals.
//!
//! [`HookContext`] applies these rules. Where sessions, state, timers, randomness and the log come from is behind
//! [`HostEnvironment`]. Nothing here commits: a host takes the [`HookOutput`] of a hook that has returned `ok`.

mod budget;
mod capability;
mod context;
mod effect;
mod environment;
mod imports;
mod payload;

pub use budget::{Exceeded, HookLimits, Usage};
pub use capability::{Capabilities, Capability, NoCapability};
pub use context::{Cause, HookContext};
pub use effect::{Credentials, Effect, HookOutput, SessionMessage, TimerWrite};
pub use environment::{HookTime, HostEnvironment, KnownSession, Permission, StateEntry, state_entry_bytes};
