//! Collections: small ones, of which many values hold one, and a large one that all share.

pub(crate) mod fair_queue;
pub(crate) mod parted_map;
pub(crate) mod small_map;
pub(crate) mod small_queue;
