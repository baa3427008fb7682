//! A plugin that accepts every message unchanged. Benches run it natively and as a component, to measure the sandbox.

use rialto_plugin::prelude::*;

/// Accepts everything: all hooks have their default implementation.
#[derive(Debug, Default)]
pub struct Agree;

impl Plugin for Agree {}

rialto_plugin::export!(Agree, needs: []);
