//! The binary under siege: what hostile peers cost it in memory, time and files, that it is there for others meanwhile,
//! and that all of it comes back. A program of its own, because whole processes are measured.
#![cfg(all(target_os = "linux", feature = "cli", feature = "plugins"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

#[path = "support/process.rs"]
mod process;

#[path = "siege/files.rs"]
mod files;
#[path = "siege/herd.rs"]
mod herd;
#[path = "siege/many.rs"]
mod many;
#[path = "siege/memory.rs"]
mod memory;
