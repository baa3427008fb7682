//! `rialto reload`: makes a running broker apply its configuration file again, and says what has changed.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use super::control::{ControlArgs, message};
use super::{complain, escaped};

/// Exit code of a file with problems, the same as that of `rialto check`.
const PROBLEMS: u8 = 2;

/// Options of `rialto reload`.
#[derive(Debug, clap::Args)]
pub(super) struct ReloadArgs {
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: ControlArgs,
}

/// Waits for the outcome and prints it. Returns 2 if the file has problems, and 1 if nothing was changed for another reason or a
/// plugin does not run as it should.
pub(super) fn run(args: &ReloadArgs) -> ExitCode {
    reload(args).unwrap_or_else(|error| {
        complain(&escaped::error(&error));
        ExitCode::FAILURE
    })
}

fn reload(args: &ReloadArgs) -> Result<ExitCode> {
    let report = match args.control.request("reload", &json!({}))? {
        Ok(report) => report,
        Err(failure) => {
            complain(&message(&failure));
            let is_file = failure["detail"]["problems"].is_array();
            return Ok(if is_file { ExitCode::from(PROBLEMS) } else { ExitCode::FAILURE });
        }
    };
    let text = if args.json { escaped::json(&format!("{report:#}\n")) } else { describe(&report) };
    // A closed standard output is no error.
    let _ = io::stdout().write_all(text.as_bytes());
    if let Some(warnings) = report["warnings"].as_str() {
        let _ = writeln!(io::stderr(), "{}", escaped::indented(warnings));
    }
    let is_whole = report["failed"].as_array().is_none_or(Vec::is_empty);
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What has changed, in a few lines.
fn describe(report: &Value) -> String {
    let mut out = String::new();
    for (key, title) in [("applied", "applied"), ("restart", "needs a restart"), ("failed", "not loaded")] {
        let lines = report[key].as_array().into_iter().flatten();
        let line = |entry: &Value| match entry.as_str() {
            Some(text) => escaped::line(text),
            None => {
                let text = |key: &str| escaped::line(entry[key].as_str().unwrap_or_default());
                format!("{}: {}", text("plugin"), text("message"))
            }
        };
        let lines: Vec<String> = lines.map(line).collect();
        if !lines.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{title}:\n  {}", lines.join("\n  "));
        }
    }
    if out.is_empty() { "nothing has changed\n".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_described() {
        let report = json!({
            "applied": ["limits.sessions", "API key backend: changed"], "restart": ["server.listen"],
            "failed": [{ "plugin": "chat", "message": "cannot\u{1b} start" }],
        });
        let expected = [
            "applied:\n  limits.sessions\n  API key backend: changed\n",
            "needs a restart:\n  server.listen\n",
            "not loaded:\n  chat: cannot\\u{1b} start\n",
        ];
        assert_eq!(describe(&report), expected.concat());
        let nothing = json!({ "applied": [], "restart": [], "failed": [] });
        assert_eq!(describe(&nothing), "nothing has changed\n");
    }
}
