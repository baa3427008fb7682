//! Small collections that many values hold one of: they take little memory while they are empty or short.

pub(crate) mod fair_queue;
pub(crate) mod small_map;
pub(crate) mod small_queue;
