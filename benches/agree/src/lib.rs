//! A plugin that accepts every message as it is. Benches run it natively and as a component, to see what the sandbox costs.

use rialto_plugin::prelude::*;

/// Accepts everything: all hooks are the ones that a plugin has by default.
#[derive(Debug, Default)]
pub struct Agree;

impl Plugin for Agree {}

rialto_plugin::export!(Agree, needs: []);
