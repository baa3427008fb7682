//! Who a session is, and what it may do: tokens, where clients put them, the permissions of topic rules, and what changes while
//! sessions run.

mod bad_tokens;
mod callout;
mod changes;
mod key_files;
mod model;
pub(crate) mod passwords;
mod permissions;
#[cfg(unix)]
mod secrets;
mod sources;
mod topic_rates;
