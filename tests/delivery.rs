//! Delivery policies and the budget of all outboxes, over real sockets with small receive buffers: skipped messages are
//! reported as gaps, and other sessions are not affected.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

#[path = "delivery/budget.rs"]
mod budget;
#[path = "delivery/change.rs"]
mod change;
#[path = "delivery/choice.rs"]
mod choice;
#[path = "delivery/policy.rs"]
mod policy;
#[path = "delivery/reader.rs"]
mod reader;
#[path = "delivery/slow.rs"]
mod slow;
