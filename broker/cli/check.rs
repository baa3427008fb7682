//! `rialto check FILE`: reports whether a configuration is valid, and summarizes it. It starts nothing.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use super::escaped;
use crate::Delivery;
use crate::config::Config;
use crate::topic::Pattern;

/// Exit code of a file with problems, also when it cannot be read.
const PROBLEMS: u8 = 2;

/// Most topic rules and plugins that the summary lists.
const LISTED_MAX: usize = 20;

/// Arguments of `rialto check`.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The configuration to check
    #[arg(default_value = "config/rialto.toml")]
    file: PathBuf,
}

/// Shows every problem on standard error and returns 2, or a summary on standard output and returns 0.
pub(crate) fn run(args: CheckArgs) -> ExitCode {
    // The exit code does not depend on whether the output can be written.
    match Config::load_with_warnings(&args.file) {
        Ok((config, warnings)) => {
            if let Some(warnings) = warnings {
                let _ = writeln!(io::stderr(), "{}", warnings.render(wants_color()));
            }
            let file = escaped::line(&args.file.display().to_string());
            let _ = write!(io::stdout(), "{file} is fine\n{}", summary(&config));
            ExitCode::SUCCESS
        }
        Err(problems) => {
            let _ = writeln!(io::stderr(), "{}", problems.render(wants_color()));
            ExitCode::from(PROBLEMS)
        }
    }
}

/// Colour only for a terminal that supports it, unless `NO_COLOR` is set (<https://no-color.org>).
pub(super) fn wants_color() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    io::stderr().is_terminal() && !refused && !dumb
}

/// A summary of the configuration, in two columns.
fn summary(config: &Config) -> String {
    let server = &config.server;
    let mut rows = vec![
        ("listen", if server.listen.is_empty() { "only with TLS".to_owned() } else { join(server.listen.iter()) }),
        ("shards", if server.shards == 0 { "one per core".to_owned() } else { server.shards.to_string() }),
        ("web pages", if server.page { "yes" } else { "no" }.to_owned()),
        ("origins", join(["its own".to_owned()].iter().chain(&server.allowed_origins))),
    ];
    if let Some(tls) = &config.tls {
        rows.insert(1, ("tls", join(tls.listen.iter())));
        rows.insert(2, ("tls", format!("certificate {}, key {}", tls.certificate.display(), tls.key.display())));
    }
    for key in config.api.iter().flat_map(|api| &api.keys).take(LISTED_MAX) {
        let topics = key.topics.iter().map(Pattern::as_str);
        let operations = key.allow.iter().map(|operation| operation.name());
        rows.push(("api keys", format!("{}: {} of {}", key.name, join(operations), join(topics))));
    }
    rows.extend(more("api keys", config.api.as_ref().map_or(0, |api| api.keys.len())));
    for rule in config.topics.iter().take(LISTED_MAX) {
        let owner = rule.plugin.as_ref().map(|name| format!(" -> plugin {name}")).unwrap_or_default();
        let reveals = if rule.reveal_publisher { ", shows who published" } else { "" };
        let delivery = match &rule.delivery {
            Delivery::Queue => String::new(),
            other => format!(", delivers {other}"),
        };
        rows.push(("topics", format!("{}{owner}{reveals}{delivery}", rule.pattern)));
    }
    rows.extend(more("topics", config.topics.len()));
    for (name, plugin) in config.plugins.iter().take(LISTED_MAX) {
        rows.push(("plugins", format!("{name}: {}", plugin.path.display())));
    }
    rows.extend(more("plugins", config.plugins.len()));
    let mut text = String::new();
    let mut previous = "";
    for (what, value) in rows {
        let shown = if what == previous { "" } else { what };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {shown:<10} {}", escaped::line(&value));
        previous = what;
    }
    text
}

/// The row for entries that are not listed.
fn more(what: &'static str, count: usize) -> Option<(&'static str, String)> {
    let hidden = count.checked_sub(LISTED_MAX).filter(|hidden| *hidden > 0)?;
    Some((what, format!("... and {hidden} more")))
}

fn join(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summarizes_the_defaults() {
        let expected = [
            "  listen     127.0.0.1:8080\n",
            "  shards     one per core\n",
            "  web pages  yes\n",
            "  origins    its own\n",
            "  topics     >\n",
        ];
        assert_eq!(summary(&Config::default()), expected.concat());
    }
}
