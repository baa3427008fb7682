//! Resource exhaustion: what hostile peers cost the binary in memory, time and files, that it keeps serving other clients,
//! and that all resources are released. A program of its own, because whole processes are measured.
#![cfg(all(target_os = "linux", feature = "cli", feature = "plugins"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

#[path = "support/process.rs"]
mod process;

#[path = "exhaustion/files.rs"]
mod files;
#[path = "exhaustion/many.rs"]
mod many;
#[path = "exhaustion/memory.rs"]
mod memory;
#[path = "exhaustion/reconnect_storm.rs"]
mod reconnect_storm;
