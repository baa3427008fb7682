//! The command line of the bench with hostile connections.

use std::path::PathBuf;

use crate::options::{OptionsError, number};

/// What `--help` says.
pub const HELP: &str = "\
Measures what a healthy client waits for while hostile sockets lean on the broker, and when those are gone.

  --seconds N    length of each phase, 1 to 3600 (10)
  --rounds N     an idle and a hostile phase, N times, 1 to 100 (3)
  --sockets N    hostile sockets that are kept open, 6 to 15000 (2000)
  --patience S   wait and repeat rounds for up to S seconds in all where others keep the machine busy (0)
  --server PATH  another rialto binary than the one just built
";

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Say how it is used.
    Help,
    /// Measure.
    Measure(Options),
}

/// How to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Length of each phase.
    pub seconds: u32,
    /// How often both phases are measured.
    pub rounds: u32,
    /// Hostile sockets that are kept open.
    pub sockets: u32,
    /// Seconds that may be waited, in all, for a machine that does nothing else.
    pub patience_seconds: u32,
    /// Another binary.
    pub server: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { seconds: 10, rounds: 3, sockets: 2_000, patience_seconds: 0, server: None }
    }
}

impl Task {
    /// Understands the words behind the program's name.
    ///
    /// # Errors
    /// At the first word that makes no sense.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, OptionsError> {
        let mut words = words.into_iter();
        let mut options = Options::default();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| OptionsError::Bare(word.clone()));
            match word.as_str() {
                // Cargo says this to every bench.
                "--bench" => {}
                "--help" | "-h" => return Ok(Self::Help),
                "--seconds" => options.seconds = number("--seconds", value()?, 1..=3_600, "it is 1 to 3600")?,
                "--rounds" => options.rounds = number("--rounds", value()?, 1..=100, "it is 1 to 100")?,
                "--sockets" => options.sockets = number("--sockets", value()?, 6..=15_000, "it is 6 to 15000")?,
                "--patience" => {
                    options.patience_seconds = number("--patience", value()?, 0..=86_400, "it is 0 to 86400 seconds")?;
                }
                "--server" => options.server = Some(value()?.into()),
                _ => return Err(OptionsError::Unknown(word)),
            }
        }
        Ok(Self::Measure(options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Task, OptionsError> {
        Task::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn understands_its_options() {
        assert_eq!(parse("--bench"), Ok(Task::Measure(Options::default())));
        let options =
            Options { seconds: 2, rounds: 1, sockets: 60, patience_seconds: 9, server: Some("/tmp/rialto".into()) };
        let line = "--seconds 2 --rounds 1 --sockets 60 --patience 9 --server /tmp/rialto --bench";
        assert_eq!(parse(line), Ok(Task::Measure(options)));
        assert_eq!(parse("--help"), Ok(Task::Help));
    }

    #[test]
    fn unknown_arguments_are_reported() {
        for (line, problem) in
            [("--fast", "no option `--fast`"), ("--sockets", "needs a value"), ("--rounds 0", "1 to 100")]
        {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
