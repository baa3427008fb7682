//! Bounds the linear memory and the tables of a component's instance.

use wasmtime::ResourceLimiter;

use crate::plugin::PluginLimits;

/// Tables of a plugin hold at most so many entries: more than any compiler makes, far less than would hurt.
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Keeps the guest's memories and tables within bounds; a request over the bound fails inside the guest.
#[derive(Debug)]
pub(in crate::plugin) struct Memory {
    bytes_max: usize,
    /// Whether a request was refused: then a trap that follows is reported as this limit.
    pub(in crate::plugin) refused: bool,
}

impl Memory {
    pub(in crate::plugin) fn new(limits: &PluginLimits) -> Self {
        Self { bytes_max: limits.memory_bytes, refused: false }
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let fits = desired <= self.bytes_max;
        self.refused |= !fits;
        Ok(fits)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let fits = desired <= TABLE_ELEMENTS_MAX;
        self.refused |= !fits;
        Ok(fits)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        // One memory, so that the bound above is the bound of the instance.
        1
    }
}
