//! What the soak is told on its command line.

use std::time::Duration;

use crate::options::{OptionsError, number};

/// What `--help` says.
pub const HELP: &str = "\
Lets sessions come and go in every way and tells whether the broker gives everything back.

  --seconds N  how long, 1 to 1000000 (60)
";

const SECONDS: u32 = 60;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Say how it is used.
    Help,
    /// Soak for so long.
    Soak(Duration),
}

impl Task {
    /// Understands the words behind the program's name.
    ///
    /// # Errors
    /// At the first word that makes no sense.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, OptionsError> {
        let mut words = words.into_iter();
        let mut seconds = SECONDS;
        while let Some(word) = words.next() {
            match word.as_str() {
                // Cargo says this to every bench.
                "--bench" => {}
                "--help" | "-h" => return Ok(Self::Help),
                "--seconds" => {
                    let value = words.next().ok_or(OptionsError::Bare(word))?;
                    seconds = number("--seconds", value, 1..=1_000_000, "it is 1 to 1000000")?;
                }
                _ => return Err(OptionsError::Unknown(word)),
            }
        }
        Ok(Self::Soak(Duration::from_secs(seconds.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_how_long() {
        let parse = |line: &str| Task::parse(line.split_whitespace().map(str::to_owned));
        assert_eq!(parse("--bench"), Ok(Task::Soak(Duration::from_secs(60))));
        assert_eq!(parse("--seconds 600 --bench"), Ok(Task::Soak(Duration::from_secs(600))));
        assert_eq!(parse("--help"), Ok(Task::Help));
        for (line, problem) in [("--hours 1", "no option"), ("--seconds", "needs a value"), ("--seconds 0", "1 to")] {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
