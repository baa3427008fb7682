//! What Autobahn says of each case, and how that is kept in a file: one case a line, in the order of their numbers.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// The number of a case, for instance `5.12`, ordered as numbers are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Case(Vec<u32>);

/// Autobahn's words for one case: on what was said, on how it was closed, and the close code it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) behavior: String,
    pub(crate) behavior_close: String,
    pub(crate) close_code: Option<u16>,
}

/// The verdicts of all cases that ran.
pub(crate) type Verdicts = BTreeMap<Case, Verdict>;

impl Case {
    /// The number of the section it belongs to.
    pub(crate) fn section(&self) -> u32 {
        self.0[0]
    }
}

impl FromStr for Case {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = text.split('.').map(str::parse).collect::<Result<_, _>>();
        Ok(Self(numbers.with_context(|| format!("\"{text}\" is no number of a case"))?))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.close_code.map_or("no code".to_owned(), |code| code.to_string());
        write!(f, "{}, closed {} with {code}", self.behavior, self.behavior_close)
    }
}

/// Reads the index of Autobahn's reports: agent, then case.
pub(crate) fn of_index(json: &str, agent: &str) -> Result<Verdicts> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry {
        behavior: String,
        behavior_close: String,
        remote_close_code: Option<u16>,
    }
    let mut agents: BTreeMap<String, BTreeMap<String, Entry>> = serde_json::from_str(json)?;
    let entries = agents.remove(agent).with_context(|| format!("the reports have no agent \"{agent}\""))?;
    let verdicts = entries.into_iter().map(|(case, entry)| {
        let Entry { behavior, behavior_close, remote_close_code: close_code } = entry;
        Ok((case.parse()?, Verdict { behavior, behavior_close, close_code }))
    });
    verdicts.collect()
}

/// Reads what [`write`] wrote.
pub(crate) fn read(json: &str) -> Result<Verdicts> {
    let lines: BTreeMap<String, (String, String, Option<u16>)> = serde_json::from_str(json)?;
    let verdicts = lines.into_iter().map(|(case, (behavior, behavior_close, close_code))| {
        Ok((case.parse()?, Verdict { behavior, behavior_close, close_code }))
    });
    let verdicts: Verdicts = verdicts.collect::<Result<_>>()?;
    ensure!(!verdicts.is_empty(), "no case is expected at all");
    Ok(verdicts)
}

/// One case a line.
pub(crate) fn write(verdicts: &Verdicts) -> Result<String> {
    let mut lines = Vec::new();
    for (case, Verdict { behavior, behavior_close, close_code }) in verdicts {
        let verdict = serde_json::to_string(&(behavior, behavior_close, close_code))?;
        lines.push(format!("\"{case}\": {verdict}"));
    }
    Ok(format!("{{\n{}\n}}\n", lines.join(",\n")))
}
