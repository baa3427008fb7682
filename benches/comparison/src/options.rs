//! The command line of the fan-out bench, and what the command lines of all benches have in common.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::peer::also::{self, Also};

/// What Cargo says to every bench.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct FromCargo {
    #[arg(long, hide = true)]
    bench: bool,
}

/// Compares Rialto with a floor and with other servers, or with an earlier build of itself.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "benches/run")]
pub struct Options {
    /// Be something else than the comparison
    #[command(subcommand)]
    pub role: Option<Role>,
    /// Measure everything N times
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// One short round with few subscribers, not to be judged
    #[arg(long)]
    pub quick: bool,
    /// Leave out servers whose name begins so; of Rialto's own table, rows get lost
    #[arg(long, value_name = "NAME")]
    pub without: Vec<String>,
    /// Only loads whose name contains it; `idle` is one too
    #[arg(long, value_name = "TEXT")]
    pub only: Vec<String>,
    /// Wait and repeat for up to S seconds in all where others keep the machine busy
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=86_400))]
    pub patience: u32,
    /// Print the tables as Markdown
    #[arg(long)]
    pub markdown: bool,
    /// A further server, more than once if wanted
    #[arg(long, value_name = "NAME=…", help = format!("A further server, more than once if wanted: {}", also::USAGE))]
    pub also: Vec<Also>,
    /// Measure this build and an earlier one in turn, and nothing else; fails if this one is slower
    #[arg(long, value_name = "RIALTO", conflicts_with_all = ["rounds", "without", "markdown", "also"])]
    pub before: Option<PathBuf>,
    /// How many pairs of runs that takes; an interval needs six
    #[arg(long, value_name = "N", default_value_t = 7, requires = "before", value_parser = clap::value_parser!(u32).range(1..=200))]
    pub pairs: u32,
    #[command(flatten)]
    pub(crate) cargo: FromCargo,
}

/// What the program of the bench can be besides the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Role {
    /// The floor that another process measures
    #[command(hide = true)]
    Floor {
        /// Which of the two
        kind: Floor,
        /// Where to listen
        address: SocketAddr,
    },
}

/// The two floors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Floor {
    /// All frames of a turn in one write per socket.
    Batched,
    /// One write per message and socket.
    Unbatched,
}

impl Floor {
    /// The one that batches or the other.
    pub fn new(batched: bool) -> Self {
        if batched { Self::Batched } else { Self::Unbatched }
    }

    /// As it stands on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Batched => "batched",
            Self::Unbatched => "unbatched",
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::parse_from(["benches/run"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(std::iter::once("benches/run").chain(line.split_whitespace()))
    }

    #[test]
    fn understands_its_options() {
        let standard = parse("--bench").expect("Cargo says it");
        assert_eq!((standard.rounds, standard.pairs, standard.role), (3, 7, None));
        let options = parse("--rounds 5 --quick --without nchan --only idle --markdown --patience 60 --bench");
        let expected = Options {
            rounds: 5,
            quick: true,
            without: vec!["nchan".to_owned()],
            only: vec!["idle".to_owned()],
            markdown: true,
            patience: 60,
            ..standard
        };
        assert_eq!(options.expect("it is right"), expected);
        let before = parse("--before target/release/rialto --pairs 9 --only saturated").expect("it is right");
        assert_eq!((before.before, before.pairs), (Some("target/release/rialto".into()), 9));
    }

    #[test]
    fn the_floor_is_started_by_its_word() {
        let address = "127.0.0.1:4711".parse().expect("an address");
        for kind in [Floor::Batched, Floor::Unbatched] {
            let options = parse(&format!("floor {} 127.0.0.1:4711", kind.word())).expect("it is right");
            assert_eq!(options.role, Some(Role::Floor { kind, address }));
        }
    }

    #[test]
    fn unknown_arguments_are_reported() {
        for (line, problem) in [
            ("--fast", "unexpected argument '--fast'"),
            ("--rounds", "a value is required"),
            ("--rounds 0", "1..=100"),
            ("floor wet 127.0.0.1:1", "batched, unbatched"),
            ("floor batched here", "invalid socket address"),
            ("--also x", "no `=`"),
            ("--pairs 9", "--before"),
            ("--before x --also a=plain:exec:x", "{port}"),
        ] {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
