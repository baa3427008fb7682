//! Running plugins: the thread, the mailbox and the instances of each, and what a hook may do.

#[cfg(feature = "plugins")]
pub(super) mod bindings;
#[cfg(feature = "plugins")]
mod bound_types;
pub(super) mod convert;
#[cfg(feature = "plugins")]
pub(super) mod deadline;
pub(super) mod health;
pub(super) mod hook_context;
#[cfg(feature = "plugins")]
pub(super) mod hooks;
#[cfg(feature = "plugins")]
pub(super) mod imports;
pub(super) mod instance;
pub(super) mod mailbox;
#[cfg(feature = "plugins")]
mod memory;
pub(super) mod native;
pub(super) mod pending;
pub(super) mod recorder;
pub(super) mod registry;
#[cfg(feature = "plugins")]
pub(super) mod sandbox;
pub(super) mod state;
pub(super) mod status;
pub(super) mod version;
pub(super) mod worker;
