//! The command line of the reconnect storm bench.

use crate::options::{OptionsError, number};

/// What `--help` says.
pub const HELP: &str = "\
Kills the broker of many subscribed clients while publishers go on, starts it again and measures until all are back.

  --members N     clients, 1 to 15000 (5000)
  --admissions N  sessions that the broker begins in a second, 1 to 1000000 (10000, its default)
  --seconds N     before the kill and after all are back, 1 to 600 (3)
  --seed N        what decides pauses and messages (1)
";

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Say how it is used.
    Help,
    /// Kill and measure.
    Kill(Options),
}

/// How to do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Clients.
    pub members: u32,
    /// The broker's limit.
    pub admissions_per_s: u32,
    /// Before the kill and after all are back.
    pub seconds: u32,
    /// What decides what is random.
    pub seed: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { members: 5_000, admissions_per_s: 10_000, seconds: 3, seed: 1 }
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
                "--members" => options.members = number("--members", value()?, 1..=15_000, "it is 1 to 15000")?,
                "--admissions" => {
                    options.admissions_per_s = number("--admissions", value()?, 1..=1_000_000, "it is 1 to 1000000")?;
                }
                "--seconds" => options.seconds = number("--seconds", value()?, 1..=600, "it is 1 to 600")?,
                "--seed" => options.seed = number("--seed", value()?, 0..=u32::MAX, "it is a number")?,
                _ => return Err(OptionsError::Unknown(word)),
            }
        }
        Ok(Self::Kill(options))
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
        assert_eq!(parse("--bench"), Ok(Task::Kill(Options::default())));
        let options = Options { members: 9, admissions_per_s: 8, seconds: 7, seed: 6 };
        assert_eq!(parse("--members 9 --admissions 8 --seconds 7 --seed 6"), Ok(Task::Kill(options)));
        assert_eq!(parse("--help"), Ok(Task::Help));
        assert!(parse("--members 0").is_err() && parse("--fast").is_err());
    }
}
