//! Compiles components where that can hurt nobody: in a child process with limits, or on a thread of its own where the
//! program around the broker gives no child; and not at all when the cache has the result.

use std::ffi::OsString;
use std::io::{self, Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::Engine;
use wasmtime::component::Component;

use super::artifact::Artifact;
use super::cache::Cache;
use super::error::printable_lines;
use super::precompile;
use crate::config::Sandbox;
use crate::plugin::LoadError;

/// The hidden command of the `rialto` binary that compiles what it reads. What is wrong with a component it says on
/// standard error, and ends with [`REFUSED`].
pub(crate) const COMMAND: &str = "compile-component";

/// The exit code of a child that found the component wrong.
pub(crate) const REFUSED: u8 = 3;

/// Most bytes of what a child says that are looked at.
const SAID_BYTES_MAX: u64 = 65_536;

/// The stack of a thread that compiles.
const STACK_BYTES: usize = 16 << 20;

/// Signals by which a child ends (signal(7)).
const ABORTED: i32 = 6;
const PROCESSOR_TIME_OVER: i32 = 24;

/// Who compiles, within which limits.
pub(crate) struct Compiler {
    /// The `rialto` binary; none compiles on a thread, where only the time has a limit.
    program: Option<PathBuf>,
    /// Time for one component.
    time: Duration,
    /// Address space of the child.
    bytes: u64,
    /// Where results are kept.
    cache: Option<Cache>,
}

impl Compiler {
    /// A compiler as the operator wants it. Without a cache it works, too.
    pub(crate) fn new(sandbox: &Sandbox, program: Option<PathBuf>) -> Self {
        let folder = sandbox.cache.as_ref().filter(|folder| !folder.as_os_str().is_empty());
        let cache = folder.and_then(|folder| match Cache::open(folder) {
            Ok(cache) => Some(cache),
            Err(error) => {
                tracing::warn!(%error, "plugins are compiled at every start: their cache cannot be used");
                None
            }
        });
        Self { program, time: Duration::from_millis(sandbox.compile_ms), bytes: sandbox.compile_bytes, cache }
    }

    /// The component of these bytes, whose hash is given: from the cache if it is there. A child compiles it on so many
    /// threads.
    ///
    /// # Errors
    /// What is wrong with the component, or which limit it exceeded.
    pub(in crate::plugin) fn component(
        &self,
        engine: &Engine,
        wasm: &[u8],
        hash: &str,
        threads: usize,
    ) -> Result<Component, LoadError> {
        let name = Cache::name(engine, hash);
        if let Some(component) = self.cache.as_ref().and_then(|cache| cached(cache, engine, &name)) {
            return Ok(component);
        }
        let started = Instant::now();
        let code = match &self.program {
            Some(program) => self.compile_in_child(program.into(), wasm, threads)?,
            None => self.compile_on_thread(wasm)?,
        };
        tracing::debug!(bytes = wasm.len(), ms = started.elapsed().as_millis() as u64, "compiled a plugin");
        let mut artifact = Artifact::compiled(&code);
        let component = artifact.component(engine).map_err(|error| LoadError::compile(&format!("{error:#}")))?;
        if let Some(cache) = &self.cache {
            cache.put(&name, &mut artifact);
        }
        Ok(component)
    }

    fn compile_in_child(&self, program: OsString, wasm: &[u8], threads: usize) -> Result<Vec<u8>, LoadError> {
        let cannot =
            |error: io::Error| LoadError::System(format!("cannot run the compiler ({}): {error}", program.display()));
        let mut command = Command::new(&program);
        command.arg(COMMAND).arg(self.bytes.to_string()).arg(self.time.as_secs().max(1).to_string());
        // Nothing of the broker but these three pipes: its sockets and files close themselves when a program starts.
        command.env_clear().current_dir("/");
        // Otherwise it sets a gigabyte of addresses aside before it has done anything.
        command.env("MIMALLOC_ARENA_RESERVE", "32MiB");
        // wasmtime compiles on the threads of rayon.
        command.env("RAYON_NUM_THREADS", threads.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(cannot)?;
        let outcome = converse(&mut child, wasm, self.time, self.bytes);
        // It has closed its pipes, so it has ended or never will by itself.
        let _ = child.kill();
        let status = child.wait().map_err(cannot)?;
        match outcome {
            Ok(CompilerOutput { code, .. }) if status.success() => Ok(code),
            Ok(CompilerOutput { text, .. }) => Err(self.explain(status, &text)),
            Err(TooLate) => Err(self.too_late()),
        }
    }

    fn compile_on_thread(&self, wasm: &[u8]) -> Result<Vec<u8>, LoadError> {
        let wasm: Arc<[u8]> = wasm.into();
        let (sender, compiled) = channel();
        // It sends its result or nothing; nothing else of it is needed, so that it is not waited for when it is late.
        let work = move || sender.send(precompile::precompile(&wasm));
        thread::Builder::new()
            .name("rialto-compile".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(work)
            .map_err(|error| LoadError::System(format!("no thread for the compiler: {error}")))?;
        match compiled.recv_timeout(self.time) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(self.too_late()),
            Err(RecvTimeoutError::Disconnected) => Err(LoadError::Compile("the compiler panicked".to_owned())),
        }
    }

    fn too_late(&self) -> LoadError {
        LoadError::Compile(format!("compile_ms: it took longer than {} ms", self.time.as_millis()))
    }

    /// Why a child did not give a result.
    fn explain(&self, status: ExitStatus, text: &str) -> LoadError {
        let said = printable_lines(text);
        let out_of_memory = text.contains("memory allocation of") || text.contains("Cannot allocate memory");
        match (status.code(), status.signal()) {
            (Some(code), _) if code == i32::from(REFUSED) => LoadError::Refused(said),
            _ if out_of_memory => {
                LoadError::Compile(format!("compile_bytes: it needs more than {} bytes of address space", self.bytes))
            }
            (_, Some(PROCESSOR_TIME_OVER)) => LoadError::Compile(format!(
                "compile_ms: it took more processor time than {} ms on every core",
                self.time.as_millis()
            )),
            (_, Some(ABORTED)) if text.contains("stack") => {
                LoadError::Compile("it is nested too deeply for the compiler".to_owned())
            }
            _ if said.is_empty() => LoadError::Compile(format!("the compiler crashed ({status})")),
            _ => LoadError::Compile(format!("the compiler crashed ({status}): {said}")),
        }
    }
}

fn cached(cache: &Cache, engine: &Engine, name: &str) -> Option<Component> {
    let artifact = cache.get(name)?;
    match artifact.component(engine) {
        Ok(component) => {
            cache.touch(name);
            Some(component)
        }
        Err(error) => {
            cache.give_up(name, &error);
            None
        }
    }
}

/// What a child gave and said.
struct CompilerOutput {
    code: Vec<u8>,
    text: String,
}

/// The child did not end in time.
struct TooLate;

/// Gives a child the component and takes what it answers until it closes its pipes or the time is over. A child that is
/// late is killed, which ends the threads that feed and hear it.
fn converse(child: &mut Child, wasm: &[u8], time: Duration, bytes_max: u64) -> Result<CompilerOutput, TooLate> {
    let (mut input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let feed = move || {
            // Who does not want to hear more has found something wrong, and says what.
            let _ = input.as_mut().map(|input| input.write_all(wasm));
        };
        let (sender, ended) = channel();
        let hear = |pipe: Option<Box<dyn Read + Send>>, bytes_max: u64| {
            let sender = sender.clone();
            move || {
                let mut heard = Vec::new();
                let _ = pipe.map(|pipe| pipe.take(bytes_max).read_to_end(&mut heard));
                drop(sender);
                heard
            }
        };
        scope.spawn(feed);
        let code = scope.spawn(hear(output.map(|pipe| Box::new(pipe) as _), bytes_max));
        let text = scope.spawn(hear(errors.map(|pipe| Box::new(pipe) as _), SAID_BYTES_MAX));
        drop(sender);
        // Nothing is ever sent: it ends when both have been heard.
        let late = matches!(ended.recv_timeout(time), Err::<(), _>(RecvTimeoutError::Timeout));
        if late {
            let _ = child.kill();
        }
        let code = code.join().unwrap_or_default();
        let text = String::from_utf8_lossy(&text.join().unwrap_or_default()).into_owned();
        if late { Err(TooLate) } else { Ok(CompilerOutput { code, text }) }
    })
}
