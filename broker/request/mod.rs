//! One request: who makes it, and the right to answer it.

pub(crate) mod caller;
pub(crate) mod responder;
