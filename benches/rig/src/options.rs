//! The command line of the fan-out bench.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use crate::peer::also::{self, Also, AlsoError};

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Say how it is used.
    Help,
    /// Be the floor that another process measures.
    Floor {
        /// Which of the two.
        batched: bool,
        /// Where to listen.
        address: SocketAddr,
    },
    /// Compare.
    Compare(Options),
}

/// How to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How often everything is measured.
    pub rounds: u32,
    /// Whether only to see that everything works.
    pub quick: bool,
    /// Further peers.
    pub also: Vec<Also>,
    /// Peers not to compare with, by the beginning of their name.
    pub without: Vec<String>,
    /// Only loads with one of these texts in their name; all if there is none.
    pub only: Vec<String>,
    /// Whether to print Markdown.
    pub markdown: bool,
    /// Seconds that may be waited, in all, for a machine that does nothing else.
    pub patience_seconds: u32,
}

/// Why the command line was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// There is no such option.
    #[error("no option `{0}`; --help names them")]
    Unknown(String),
    /// An option stands at the end that needs something behind it.
    #[error("`{0}` needs a value behind it")]
    Bare(String),
    /// A value is not what the option takes.
    #[error("`{option} {value}`: {expected}")]
    Value {
        /// The option.
        option: &'static str,
        /// What stood behind it.
        value: String,
        /// What should.
        expected: &'static str,
    },
    /// A peer was not understood.
    #[error(transparent)]
    Also(#[from] AlsoError),
}

impl Default for Options {
    fn default() -> Self {
        let (also, without, only) = (Vec::new(), Vec::new(), Vec::new());
        Self { rounds: 3, quick: false, also, without, only, markdown: false, patience_seconds: 0 }
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
                "--floor" => return floor(&value()?, &value()?),
                "--rounds" => options.rounds = number("--rounds", value()?, 1..=100, "it is 1 to 100")?,
                "--patience" => {
                    options.patience_seconds = number("--patience", value()?, 0..=86_400, "it is 0 to 86400 seconds")?;
                }
                "--quick" => options.quick = true,
                "--also" => options.also.push(value()?.parse()?),
                "--without" => options.without.push(value()?),
                "--only" => options.only.push(value()?),
                "--markdown" => options.markdown = true,
                _ => return Err(OptionsError::Unknown(word)),
            }
        }
        Ok(Self::Compare(options))
    }
}

/// What `--help` says.
pub fn help() -> String {
    format!(
        "Compares Rialto with a floor and with other servers.\n\n\
         \x20 --rounds N      measure everything N times (3)\n\
         \x20 --quick         one short round with few subscribers, not to be judged\n\
         \x20 --without NAME  leave out servers whose name begins so (of Rialto's own table, rows get lost)\n\
         \x20 --only TEXT     only loads whose name contains it; `idle` is one too\n\
         \x20 --patience S    wait and repeat for up to S seconds in all where others keep the machine busy (0)\n\
         \x20 --markdown      print the tables as Markdown\n\
         \x20 --also …        a further server, more than once if wanted:\n\
         \x20                 {}\n",
        also::USAGE
    )
}

fn floor(kind: &str, address: &str) -> Result<Task, OptionsError> {
    let wrong = |value: &str, expected| OptionsError::Value { option: "--floor", value: value.to_owned(), expected };
    let batched = match kind {
        "batched" => true,
        "unbatched" => false,
        _ => return Err(wrong(kind, "it is `batched` or `unbatched`")),
    };
    let address = address.parse().map_err(|_| wrong(address, "it is IP:PORT"))?;
    Ok(Task::Floor { batched, address })
}

pub(crate) fn number(
    option: &'static str,
    value: String,
    range: RangeInclusive<u32>,
    expected: &'static str,
) -> Result<u32, OptionsError> {
    match value.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(OptionsError::Value { option, value, expected }),
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
        let standard = Options::default();
        assert_eq!(parse("--bench"), Ok(Task::Compare(standard.clone())));
        let task = parse("--rounds 5 --quick --without nchan --only idle --markdown --patience 60 --bench");
        let options = Options {
            rounds: 5,
            quick: true,
            without: vec!["nchan".to_owned()],
            only: vec!["idle".to_owned()],
            markdown: true,
            patience_seconds: 60,
            ..standard
        };
        assert_eq!(task, Ok(Task::Compare(options)));
        let address = "127.0.0.1:4711".parse().expect("an address");
        assert_eq!(parse("--floor batched 127.0.0.1:4711"), Ok(Task::Floor { batched: true, address }));
        assert_eq!(parse("--help"), Ok(Task::Help));
    }

    #[test]
    fn unknown_arguments_are_reported() {
        for (line, problem) in [
            ("--fast", "no option `--fast`"),
            ("--rounds", "needs a value"),
            ("--rounds 0", "1 to 100"),
            ("--floor wet 127.0.0.1:1", "`batched` or `unbatched`"),
            ("--floor batched here", "IP:PORT"),
            ("--also x", "no `=`"),
        ] {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
