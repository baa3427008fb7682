//! Plugins that fail in every way there is: each failure costs its caller one named error and nobody else anything.
#![cfg(feature = "plugins")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

#[cfg(feature = "cli")]
#[path = "plugins/compile.rs"]
mod compile;
#[path = "support/component.rs"]
mod component;
#[path = "plugins/deadline.rs"]
mod deadline;
#[path = "support/dice.rs"]
#[allow(dead_code, reason = "this uses a part of it")]
mod dice;
#[path = "plugins/effect.rs"]
mod effect;
#[path = "plugins/failure.rs"]
mod failure;
#[path = "plugins/generated.rs"]
mod generated;
#[path = "plugins/hosted.rs"]
mod hosted;
#[path = "plugins/letters.rs"]
mod letters;
#[path = "plugins/load.rs"]
mod load;
#[path = "plugins/recording.rs"]
mod recording;
