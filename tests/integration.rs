//! The integration tests, as one program, so that the broker is linked once; a module for each subject. A test that counts
//! what its whole process holds runs in one of its own (`support/alone.rs`).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

mod authentication;
mod authoring;
#[cfg(unix)]
mod bench;
mod book;
mod chat;
mod client;
#[cfg(unix)]
mod commands;
mod config;
#[cfg(unix)]
mod control;
#[cfg(target_os = "linux")]
mod crowds;
mod delivery;
mod embedding;
#[cfg(target_os = "linux")]
mod exhaustion;
#[cfg(unix)]
mod guide;
mod history;
mod http;
mod market;
mod patterns;
mod plugin_hooks;
mod plugins;
mod presence;
#[cfg(unix)]
mod process;
mod reload;
mod shares;
#[cfg(target_os = "linux")]
mod soak;
mod survival;
mod websocket;
