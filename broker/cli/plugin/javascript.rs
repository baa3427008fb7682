//! Plugins in JavaScript: built by componentize-js, which embeds a JavaScript engine, and tested by node.

use std::fs;

use anyhow::{Context, Result};

use super::project::{Project, run};

/// The hint when node or npm is missing.
const NODE: &str = "is Node.js 20 or later installed?";

/// The folder of the installed tool.
const TOOL: &str = "node_modules/@bytecodealliance/componentize-js";

/// All features that need imports are disabled: a plugin has the imports of the protocol only.
const SCRIPT: &str = "
import { componentize } from '@bytecodealliance/componentize-js';
import { readFile, writeFile } from 'node:fs/promises';
const [source, witPath, out] = process.argv.slice(1);
const disableFeatures = ['random', 'stdio', 'clocks', 'http', 'fetch-event'];
const { component } = await componentize(await readFile(source, 'utf8'), {
  sourceName: source.split('/').pop(), witPath, worldName: 'plugin', disableFeatures,
});
await writeFile(out, component);
";

/// Builds the component.
///
/// # Errors
/// When a tool is missing, or the source does not build.
pub(super) fn build(project: &Project) -> Result<Vec<u8>> {
    install(project)?;
    let out = tempfile_in(project)?;
    let mut command = project.command("node");
    command.args(["--input-type=module", "--eval", SCRIPT]);
    command.arg(&project.source).arg(project.wit()).arg(&out);
    let built = run(&mut command, &format!("building {} with componentize-js", project.source), NODE);
    let component = built.and_then(|()| fs::read(&out).context("componentize-js wrote no component"));
    let _ = fs::remove_file(&out);
    component
}

/// Runs the tests.
///
/// # Errors
/// When one fails.
pub(super) fn test(project: &Project) -> Result<()> {
    run(project.command("npm").args(["test", "--silent"]), "testing with node", NODE)
}

fn install(project: &Project) -> Result<()> {
    if project.folder.join(TOOL).is_dir() {
        return Ok(());
    }
    let mut command = project.command("npm");
    command.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]);
    run(&mut command, "installing componentize-js from npm (once)", NODE)
}

fn tempfile_in(project: &Project) -> Result<std::path::PathBuf> {
    let folder = project.folder.join("target");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder.join(format!("{}.{}.building", project.name, std::process::id())))
}
