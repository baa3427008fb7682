//! The integration tests, as one program, so that the broker is linked once; a module for each subject. A test that counts
//! what its whole process holds runs in one of its own (`support/alone.rs`).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

#[cfg(all(feature = "plugins", feature = "cli"))]
mod authoring;
#[cfg(all(unix, feature = "cli"))]
mod bench;
#[cfg(all(feature = "cli", feature = "plugins"))]
mod book;
#[cfg(feature = "plugins")]
mod chat;
mod client;
#[cfg(all(unix, feature = "cli"))]
mod commands;
mod config;
#[cfg(all(unix, feature = "cli", feature = "plugins"))]
mod control;
mod delivery;
#[cfg(all(target_os = "linux", feature = "cli", feature = "plugins"))]
mod exhaustion;
#[cfg(all(feature = "plugins", feature = "cli", unix))]
mod guide;
mod history;
mod http;
#[cfg(feature = "plugins")]
mod market;
mod patterns;
#[cfg(feature = "plugins")]
mod plugin_hooks;
#[cfg(feature = "plugins")]
mod plugins;
mod presence;
#[cfg(all(unix, feature = "cli", feature = "plugins"))]
mod process;
#[cfg(feature = "plugins")]
mod reload;
#[cfg(all(target_os = "linux", feature = "plugins"))]
mod soak;
mod survival;
mod websocket;
