//! Plugins in Python: built by componentize-py, which embeds CPython, and tested by unittest.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::project::{Project, run};

/// The hint when Python is missing.
const PYTHON: &str = "is Python 3.10 or later installed, with venv?";

/// The tool, in a version that is known to work.
const TOOL: &str = "componentize-py==0.25.1";

/// Builds the component.
///
/// # Errors
/// When a tool is missing, or the source does not build.
pub(super) fn build(project: &Project) -> Result<Vec<u8>> {
    let tool = install(project)?;
    let (folder, module) = project.source.split_once(':').context("no module")?;
    let out = project.folder.join("target").join(format!("{}.{}.building", project.name, std::process::id()));
    fs::create_dir_all(project.folder.join("target")).context("cannot make target")?;
    let mut command = project.command(tool);
    command.arg("-d").arg(project.wit()).args([
        "-w",
        "plugin",
        "componentize",
        module,
        "-p",
        folder,
        "--stub-wasi",
        "-o",
    ]);
    command.arg(&out);
    let built = run(&mut command, &format!("building {folder}/{module}.py with componentize-py"), PYTHON);
    let component = built.and_then(|()| fs::read(&out).context("componentize-py wrote no component"));
    let _ = fs::remove_file(&out);
    component
}

/// Runs the tests.
///
/// # Errors
/// When one fails.
pub(super) fn test(project: &Project) -> Result<()> {
    let tool = install(project)?;
    let bindings = project.folder.join(".bindings");
    if !bindings.is_dir() {
        let mut command = project.command(&tool);
        command.arg("-d").arg(project.wit()).args(["-w", "plugin", "bindings"]).arg(&bindings);
        run(&mut command, "making bindings with componentize-py (once)", PYTHON)?;
    }
    let folder = project.source.split(':').next().unwrap_or_default();
    let paths = std::env::join_paths([bindings, project.folder.join(folder)]).context("a path with a colon")?;
    let mut command = project.command(tool.with_file_name("python"));
    command.args(["-m", "unittest", "discover", "-s", "tests", "-t", "."]).env("PYTHONPATH", paths);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    run(&mut command, "testing with unittest", PYTHON)
}

/// The tool in the project's own environment.
fn install(project: &Project) -> Result<PathBuf> {
    let bin = project.folder.join(".venv").join(if cfg!(windows) { "Scripts" } else { "bin" });
    let tool = bin.join("componentize-py");
    if !tool.with_extension(std::env::consts::EXE_EXTENSION).is_file() {
        let mut command = project.command("python3");
        run(command.args(["-m", "venv", ".venv"]), "making a Python environment in .venv (once)", PYTHON)?;
        let mut command = project.command(bin.join("python"));
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", TOOL]);
        run(&mut command, "installing componentize-py from PyPI (once)", PYTHON)?;
    }
    Ok(tool)
}
