//! What one round showed of plugins. Plain values: who measures them knows Rialto's inside, this crate does not.

use serde::{Deserialize, Serialize};

/// One round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PluginRound {
    /// Microseconds for each publish that a native plugin accepts as it is.
    pub native_hook_micros: f64,
    /// The same of the same source as a component.
    pub component_hook_micros: f64,
    /// Messages a second through the chat plugin, run natively.
    pub native_chat_messages_per_second: f64,
    /// The same as a component.
    pub component_chat_messages_per_second: f64,
}
