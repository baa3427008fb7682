//! Running plugins: the thread, the mailbox and the instances of each, and what a hook may do.

pub(super) mod convert;
pub(super) mod deadline;
pub(super) mod health;
pub(super) mod hook_context;
pub(super) mod imports;
pub(super) mod instance;
pub(super) mod limits;
pub(super) mod mailbox;
pub(super) mod native;
pub(super) mod registry;
pub(super) mod sandbox;
pub(super) mod state;
pub(super) mod status;
pub(super) mod worker;
