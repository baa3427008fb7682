//! The command line of the reconnect storm bench.

use clap::{Parser, value_parser};

use crate::options::FromCargo;

/// Kills the broker of many subscribed clients while publishers go on, starts it again and measures until all are back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Parser)]
#[command(name = "cargo bench --bench reconnect_storm --")]
pub struct Options {
    /// Clients
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = value_parser!(u32).range(1..=15_000))]
    pub members: u32,
    /// Sessions that the broker begins in a second
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub admissions: u32,
    /// Seconds before the kill and after all are back
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    /// What decides pauses and messages
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u32,
    #[command(flatten)]
    cargo: FromCargo,
}
