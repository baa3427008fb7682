//! The command line of the bench with hostile connections.

use std::path::PathBuf;

use clap::{Parser, value_parser};

use crate::options::FromCargo;

/// Measures what a healthy client waits for while hostile sockets lean on the broker, and when those are gone.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "cargo bench --bench door --")]
pub struct Options {
    /// Length of each phase
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(1..=3_600))]
    pub seconds: u32,
    /// An idle and a hostile phase, N times
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Hostile sockets that are kept open
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = value_parser!(u32).range(6..=15_000))]
    pub sockets: u32,
    /// Wait and repeat rounds for up to S seconds in all where others keep the machine busy
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = value_parser!(u32).range(..=86_400))]
    pub patience: u32,
    /// Another rialto binary than the one just built
    #[arg(long, value_name = "PATH")]
    pub server: Option<PathBuf>,
    #[command(flatten)]
    cargo: FromCargo,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(std::iter::once("door").chain(line.split_whitespace()))
    }

    #[test]
    fn understands_its_options() {
        let standard = parse("--bench").expect("Cargo says it");
        assert_eq!((standard.seconds, standard.rounds, standard.sockets), (10, 3, 2_000));
        let options = parse("--seconds 2 --rounds 1 --sockets 60 --patience 9 --server /tmp/rialto --bench");
        let server = Some("/tmp/rialto".into());
        let expected = Options { seconds: 2, rounds: 1, sockets: 60, patience: 9, server, ..standard };
        assert_eq!(options.expect("it is right"), expected);
    }

    #[test]
    fn values_out_of_range_are_reported() {
        for (line, problem) in
            [("--fast", "unexpected"), ("--sockets", "a value is required"), ("--rounds 0", "1..=100")]
        {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
