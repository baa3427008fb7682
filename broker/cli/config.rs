//! `rialto config`: prints a configuration to start from, or what editors and the book need. It reads no file.

use std::io::Write as _;
use std::process::ExitCode;

use crate::config;

/// The shortest file that serves.
const MINIMAL: &str = include_str!("../../config/minimal.toml");

/// What `rialto config --help` adds.
pub(super) const EXAMPLES: &str = "\
Examples:
  rialto config --minimal > rialto.toml      the shortest file that serves
  rialto config > rialto.toml                every key with its meaning, range and default
  rialto config --schema > rialto.schema.json    for editors; name it in the file: #:schema rialto.schema.json";

/// Arguments of `rialto config`.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub(super) struct ConfigArgs {
    /// The shortest file that serves.
    #[arg(long)]
    minimal: bool,
    /// The JSON Schema of the file, with which editors complete and check it.
    #[arg(long)]
    schema: bool,
    /// The reference as Markdown.
    #[arg(long)]
    markdown: bool,
    /// The reference with the chat and the market of Rialto's repository: its config/rialto.toml.
    #[arg(long)]
    demo: bool,
}

/// Prints it on standard output.
pub(super) fn run(args: &ConfigArgs) -> ExitCode {
    let text = match args {
        ConfigArgs { minimal: true, .. } => MINIMAL.to_owned(),
        ConfigArgs { schema: true, .. } => config::schema(),
        ConfigArgs { markdown: true, .. } => config::markdown(),
        ConfigArgs { demo: true, .. } => config::demo(),
        _ => config::reference(),
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
