//! `rialto plugin status`: shows the state of the plugins of a running broker.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use crate::cli::control::ControlArgs;
use crate::cli::escaped;

/// Options of `rialto plugin status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The plugin; without it all
    name: Option<String>,
    /// Print the broker's response as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: ControlArgs,
}

/// Runs the command.
///
/// # Errors
/// When no broker can be reached, or it has no such plugin.
pub(crate) fn run(args: &StatusArgs) -> Result<()> {
    let answer = args.control.ask("plugins", &json!({}))?;
    let all = answer["plugins"].as_array().cloned().unwrap_or_default();
    let is_wanted = |plugin: &Value| args.name.as_ref().is_none_or(|name| plugin["name"] == **name);
    let plugins: Vec<Value> = all.into_iter().filter(is_wanted).collect();
    if let (Some(name), true) = (&args.name, plugins.is_empty()) {
        anyhow::bail!("there is no plugin \"{name}\"");
    }
    let text = if args.json {
        escaped::json(&format!("{:#}\n", json!({ "plugins": plugins })))
    } else if plugins.is_empty() {
        "no plugins\n".to_owned()
    } else {
        plugins.iter().map(describe).collect::<Vec<_>>().join("\n")
    };
    // A closed standard output is no error.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// One plugin in a few lines.
pub(super) fn describe(plugin: &Value) -> String {
    let (text, number) = (
        |key: &str| escaped::line(plugin[key].as_str().unwrap_or_default()),
        |key: &str| plugin[key].as_u64().unwrap_or(0),
    );
    let mut out = String::new();
    let failure = &plugin["last_failure"];
    if plugin["state"] == "not_loaded" {
        let why = escaped::line(failure["text"].as_str().unwrap_or_default());
        let _ = writeln!(out, "{}: not loaded\n  {:<9} {why}", text("name"), "failed");
        return out;
    }
    let kind = if plugin["native"] == true { "native".to_owned() } else { format!("sha256 {:.16}", text("hash")) };
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}: {}, {} {}, {kind}", text("name"), text("state"), text("package"), text("version"));
    for (what, key) in [("needs", "needs"), ("granted", "grants"), ("serves", "serves")] {
        let words = plugin[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        let words: Vec<String> = words.map(escaped::line).collect();
        if !words.is_empty() {
            let _ = writeln!(out, "  {what:<9} {}", words.join(", "));
        }
    }
    let _ = writeln!(
        out,
        "  {:<9} {} running, {} timers, {} events wait, {} bytes of state",
        "instances",
        number("instances"),
        number("timers"),
        number("waiting"),
        number("state_bytes"),
    );
    let _ = writeln!(out, "  {:<9} {} called, {} failed", "hooks", number("hooks"), number("failures"));
    if let Some(why) = failure["text"].as_str() {
        let topic = failure["topic"].as_str().map(|topic| format!(" on {}", escaped::line(topic))).unwrap_or_default();
        let hook = escaped::line(failure["hook"].as_str().unwrap_or_default());
        let _ = writeln!(out, "  {:<9} {hook}{topic}: {}", "failed", escaped::line(why));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_described_without_control_characters() {
        let plugin = json!({
            "name": "chat", "package": "chat\u{1b}[31m", "version": "1", "hash": "0123456789abcdef0123", "state": "running",
            "needs": ["state"], "grants": [], "serves": ["call x", "call y"], "instances": 1, "timers": 2, "waiting": 3,
            "state_bytes": 4, "hooks": 5, "failures": 6, "native": false,
            "last_failure": {"hook": "on-call", "topic": "a", "text": "trap: no\nERROR forged", "time": 1},
        });
        let expected = [
            "chat: running, chat\\u{1b}[31m 1, sha256 0123456789abcdef\n",
            "  needs     state\n",
            "  serves    call x, call y\n",
            "  instances 1 running, 2 timers, 3 events wait, 4 bytes of state\n",
            "  hooks     5 called, 6 failed\n",
            "  failed    on-call on a: trap: no\\nERROR forged\n",
        ];
        assert_eq!(describe(&plugin), expected.concat());
    }
}
