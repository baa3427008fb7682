//! The command line: one file per command. It only parses arguments and prints; the work is done by the library.

mod api_key;
mod bench;
mod call;
mod check;
#[cfg(feature = "plugins")]
mod compile_component;
mod config;
mod connection;
mod control;
mod escaped;
mod explain;
mod history;
mod lines;
mod output;
mod plugin;
mod presence;
mod publish;
mod reload;
mod serve;
mod sub;
mod token;
mod user;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A pub/sub broker whose topics carry their own logic. Without a command it starts the broker.
#[derive(Debug, Parser)]
#[command(name = "rialto", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// The configuration file of the broker.
    #[arg(long, value_name = "FILE", default_value = "config/rialto.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Subscribes to topics and patterns, and prints a JSON object for each message.
    ///
    /// Reconnects when the connection is lost, and recovers missed messages that the broker has kept. Messages that are
    /// lost are reported by a line of type "gap".
    #[command(after_long_help = sub::EXAMPLES)]
    Sub(sub::SubArgs),
    /// Publishes a value, or every line of standard input.
    ///
    /// Prints the position of each. Every message has an idempotency key, so that none is published twice when the
    /// connection is lost before the reply.
    #[command(after_long_help = publish::EXAMPLES)]
    Pub(publish::PubArgs),
    /// Calls the plugin that owns a topic.
    Call(call::CallArgs),
    /// Shows the presence of a topic: its members.
    Presence(presence::PresenceArgs),
    /// Shows the history of a topic: a JSON object for each message.
    History(history::HistoryArgs),
    /// Generates a key for the HTTP API.
    ApiKey(api_key::ApiKeyArgs),
    /// Checks a configuration and reports every problem in it.
    Check(check::CheckArgs),
    /// Says what somebody may do with a topic, by which rule, and why.
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::ExplainArgs),
    /// Makes, checks and inspects tokens of sessions.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Makes users with a password.
    #[command(subcommand)]
    User(user::UserCommand),
    /// Applies the configuration file of a running broker again.
    ///
    /// Waits for the outcome and prints what has changed and what needs a restart. If the file has a problem, or a plugin
    /// that is required does not start, nothing is changed.
    Reload(reload::ReloadArgs),
    /// Prints a configuration to start from: every key with its meaning, range and default.
    #[command(after_help = config::EXAMPLES)]
    Config(config::ConfigArgs),
    /// Benchmarks a running server.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Builds, inspects, reloads and replays plugins.
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Run by the broker to compile a plugin.
    #[cfg(feature = "plugins")]
    #[command(hide = true, name = crate::plugin::COMMAND)]
    CompileComponent(compile_component::CompileComponentArgs),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        None => serve::run(&arguments.config),
        Some(Command::ApiKey(arguments)) => api_key::run(&arguments),
        Some(Command::Bench(command)) => bench::run(command),
        #[cfg(feature = "plugins")]
        Some(Command::CompileComponent(args)) => compile_component::run(&args),
        Some(Command::Check(check)) => check::run(check),
        Some(Command::Explain(args)) => explain::run(&args),
        Some(Command::Token(command)) => token::run(&command),
        Some(Command::User(command)) => user::run(&command),
        Some(Command::Config(args)) => config::run(&args),
        Some(Command::Reload(args)) => reload::run(&args),
        Some(Command::Sub(args)) => sub::run(&args),
        Some(Command::Pub(args)) => publish::run(&args),
        Some(Command::Call(args)) => call::run(&args),
        Some(Command::Presence(args)) => presence::run(&args),
        Some(Command::History(args)) => history::run(&args),
        Some(Command::Plugin(command)) => match plugin::run(command) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&escaped::error(&error));
                ExitCode::FAILURE
            }
        },
    }
}

/// Prints what a command has to say, or its error.
fn print(text: anyhow::Result<String>) -> ExitCode {
    match text {
        Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            complain(&escaped::error(&error));
            ExitCode::FAILURE
        }
    }
}

/// Writes an error to standard error. What comes from another program must not begin a line of its own: see `escaped`.
fn complain(text: &str) {
    // Where standard error is closed, the exit code still tells.
    let _ = writeln!(std::io::stderr(), "error: {}", escaped::lines(text));
}
