//! Delivery policies and the budget of all outboxes, through real sockets with small receive buffers: what is not sent is
//! told, and nobody else notices.
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
