//! Bytes at rest: what outlives a plugin's instance. A batch is committed whole or not at all.

mod memory;

pub(crate) use memory::{Batch, MemoryStore};
