//! Delivery policies and the budget of all outboxes, over real sockets with small receive buffers: skipped messages are
//! reported as gaps, and other sessions are not affected.

mod budget;
mod change;
mod choice;
mod policy;
pub(crate) mod reader;
mod slow;
