//! `rialto plugin inspect`: shows the manifest, capabilities and imports of a component without running it.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use rialto_plugin::host::{Capabilities, Capability};

use crate::cli::escaped;
use crate::config::Config;
use crate::plugin::Inspection;

/// Show the manifest, capabilities, imports and size of a component. It is not run.
#[derive(Debug, Args)]
pub(in crate::cli) struct InspectArgs {
    /// The component, or core module.
    file: PathBuf,
    /// Show which of the requested capabilities this configuration grants …
    #[arg(long, requires = "name")]
    config: Option<PathBuf>,
    /// … to the plugin of this name.
    #[arg(long, requires = "config")]
    name: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When this broker could not load the file, after printing what is known of it.
#[allow(clippy::print_stdout, reason = "the command prints its findings")]
pub(super) fn run(args: &InspectArgs) -> Result<()> {
    let wasm = fs::read(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let inspection = Inspection::of(&wasm).with_context(|| args.file.display().to_string())?;
    let granted = granted(args)?;
    println!("{}", shown(&inspection, granted.as_deref()));
    match inspection.fault {
        Some(fault) => bail!("{}: {fault}", args.file.display()),
        None => Ok(()),
    }
}

fn granted(args: &InspectArgs) -> Result<Option<Vec<Capability>>> {
    let (Some(file), Some(name)) = (&args.config, &args.name) else { return Ok(None) };
    let config = Config::load(file).map_err(|problems| anyhow::anyhow!("{}", problems.render(false)))?;
    let Some(plugin) = config.plugins.get(name) else {
        bail!("{} has no [plugin.{name}]", file.display());
    };
    let grants = plugin.grants.iter().map(|word| Capability::parse(word));
    Ok(Some(grants.collect::<Result<_, _>>()?))
}

fn shown(inspection: &Inspection, granted: Option<&[Capability]>) -> String {
    let Inspection { manifest, is_module, imports, exports, .. } = inspection;
    let mut text = escaped::line(&format!("{} {}", manifest.name, manifest.version)) + "\n";
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<9}{}", escaped::line(value));
    };
    line("kind", if *is_module { "core module (a component is made of it when it is loaded)" } else { "component" });
    line("sha256", &manifest.hash);
    let (code, data) = (grouped(inspection.code_bytes as u64), grouped(inspection.data_bytes as u64));
    line("size", &format!("{} bytes: {code} of code, {data} of data", grouped(manifest.bytes as u64)));
    line("memory", &format!("{} bytes at first", grouped(inspection.memory_bytes)));
    let needs: Vec<String> = manifest.needs.iter().map(|need| with_grant(need, granted)).collect();
    list(&mut line, "needs", &needs);
    list(&mut line, "imports", imports);
    list(&mut line, "exports", exports);
    text.truncate(text.trim_end().len());
    text
}

fn list(line: &mut impl FnMut(&str, &str), name: &str, values: &[String]) {
    match values {
        [] => line(name, "nothing"),
        [first, others @ ..] => {
            line(name, first);
            others.iter().for_each(|value| line("", value));
        }
    }
}

fn with_grant(need: &str, granted: Option<&[Capability]>) -> String {
    let Some(granted) = granted else { return need.to_owned() };
    let is_granted = Capability::parse(need).is_ok_and(|need| Capabilities::of(&[need], granted).is_ok());
    format!("{need} ({})", if is_granted { "granted" } else { "NOT granted" })
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
