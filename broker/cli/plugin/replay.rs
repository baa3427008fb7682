//! `rialto plugin replay`: replays a recording in the sandbox and shows the first difference.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use rialto_plugin::host::Capability;
use rialto_plugin::recording::{Difference, Outcome, Recording};

use crate::cli::escaped;
use crate::config::{PluginConfig, Sandbox};
use crate::plugin::{Compiler, Host, Manifest, MemoryReservation, Replayed, replay};
use crate::topic_plugins::limits;

/// Replay a recording: the same events, and every response of the broker as it was recorded.
///
/// A broker writes recordings when a hook of a plugin with `record = N` traps or exceeds a limit. Exits with 0 when every
/// hook makes the same calls and has the same outcome, and with 1 at the first difference.
#[derive(Debug, Args)]
pub(in crate::cli) struct ReplayArgs {
    /// The recording, a .jsonl file.
    file: PathBuf,
    /// The component to replay it with; otherwise the one that was recorded.
    #[arg(long)]
    component: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the recording or the component cannot be used, and when something differs.
#[allow(clippy::print_stdout, reason = "the command prints the outcome")]
pub(super) fn run(args: &ReplayArgs) -> Result<()> {
    let recording = Recording::read(&args.file).with_context(|| args.file.display().to_string())?;
    let header = &recording.header;
    let path = args.component.clone().unwrap_or_else(|| PathBuf::from(&header.component));
    if path.as_os_str().is_empty() {
        bail!(
            "\"{}\" was recorded natively: replay it with `rialto_plugin::recording`, or name a component with --component",
            escaped::line(&header.plugin)
        );
    }
    let wasm = fs::read(&path)
        .with_context(|| format!("cannot read the component {}", escaped::line(&path.display().to_string())))?;
    let reservation = MemoryReservation::for_memory(PluginConfig::default().memory_bytes);
    let host = Host::new(Arc::new(Compiler::new(&Sandbox::default(), None)), reservation)?;
    // All host calls are answered from the recording, so every capability may be granted.
    let words = ["state", "timers", "sessions", "publish >", "subscribe >"];
    let grants: Vec<Capability> = words.iter().map(|word| Capability::parse(word)).collect::<Result<_, _>>()?;
    let loaded =
        host.load(&wasm, &header.plugin, &grants, 1).with_context(|| escaped::line(&path.display().to_string()))?;
    println!("{}", escaped::line(&introduced(&recording, &loaded.manifest)));
    match replay(&loaded.sandbox, &recording, limits(&PluginConfig::default()))? {
        Replayed::Same { events, ending } => {
            println!("no difference in {}{}", counted(events), escaped::lines(&ended(&ending)));
            Ok(())
        }
        Replayed::Different(difference) => bail!("{}", printable(difference)),
    }
}

fn introduced(recording: &Recording, manifest: &Manifest) -> String {
    let header = &recording.header;
    let span = if header.complete { "since it started" } else { "of which the first were not kept" };
    let changed = match header.hash == manifest.hash {
        true => "",
        false => ", another component than was recorded",
    };
    let Manifest { name, version, .. } = manifest;
    format!("{name} {version}{changed}; {} of \"{}\", {span}", counted(recording.steps.len()), header.plugin)
}

/// The recording is a file of anybody's, and the component's texts are its own.
fn printable(difference: Difference) -> Difference {
    let Difference { number, event, recorded, replayed } = difference;
    let [event, recorded, replayed] = [event, recorded, replayed].map(|text| escaped::indented(&text));
    Difference { number, event, recorded, replayed }
}

fn counted(events: usize) -> String {
    if events == 1 { "1 event".to_owned() } else { format!("{events} events") }
}

fn ended(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Trap(text) => format!(", which end in the same trap:\n  {}", text.replace('\n', "\n  ")),
        Outcome::Limit(text) => format!(", which end at the same limit: {text}"),
        Outcome::Deadline => ", which end at the deadline".to_owned(),
        _ => String::new(),
    }
}
