//! The command line of the soak.

use clap::{Parser, value_parser};

use crate::options::FromCargo;

/// Lets sessions come and go in every way and tells whether the broker gives everything back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Parser)]
#[command(name = "cargo bench --bench soak --")]
pub struct Options {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub seconds: u32,
    #[command(flatten)]
    cargo: FromCargo,
}
