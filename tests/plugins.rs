//! Plugins that fail in every way there is: each failure costs its caller one named error and nobody else anything.

mod compile;
mod deadline;
mod effect;
mod failure;
mod generated;
pub(crate) mod hosted;
mod letters;
mod load;
mod memory;
mod recording;
mod removal;
mod versions;
