//! Compiles components in isolation: in a child process with limits or, where the embedding program names no compiler
//! binary, on a separate thread. A component that is in the cache is not compiled.

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
use super::engine_settings::MemoryReservation;
use super::error::printable_lines;
use super::precompile;
use crate::config::Sandbox;
use crate::plugin::LoadError;

/// The hidden command of the `rialto` binary that compiles the component on its standard input. It reports an invalid
/// component on standard error and exits with [`REFUSED`].
pub(crate) const COMMAND: &str = "compile-component";

/// The exit code of a child that found the component invalid.
pub(crate) const REFUSED: u8 = 3;

/// The most bytes of a child's standard error that are read.
const ERRORS_BYTES_MAX: u64 = 65_536;

/// The stack of a compiling thread.
const STACK_BYTES: usize = 16 << 20;

/// Signals that end a child (signal(7)).
const ABORTED: i32 = 6;
const PROCESSOR_TIME_OVER: i32 = 24;

/// Compiles components within limits of time and memory.
pub(crate) struct Compiler {
    /// The `rialto` binary; without it a thread compiles, where only time is limited.
    program: Option<PathBuf>,
    /// The time limit for one component.
    time: Duration,
    /// The address space limit of the child.
    bytes: u64,
    /// Compiled components from earlier runs.
    cache: Option<Cache>,
}

impl Compiler {
    /// A compiler with the operator's settings. It also works without a cache.
    pub(crate) fn new(sandbox: &Sandbox, program: Option<PathBuf>) -> Self {
        let folder = sandbox.cache.as_ref().filter(|folder| !folder.as_os_str().is_empty());
        let cache = folder.and_then(|folder| match Cache::open(folder) {
            Ok(cache) => Some(cache),
            Err(error) => {
                tracing::warn!(%error, "the cache of compiled plugins cannot be used: plugins are compiled at every start");
                None
            }
        });
        Self { program, time: Duration::from_millis(sandbox.compile_ms), bytes: sandbox.compile_bytes, cache }
    }

    /// The component of these bytes for an engine whose memories reserve so much: from the cache if their hash is there, else compiled by a child on `threads` threads.
    ///
    /// # Errors
    /// Why the component is invalid, or which limit it exceeded.
    pub(in crate::plugin) fn component(
        &self,
        (engine, reservation): (&Engine, MemoryReservation),
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
            Some(program) => self.compile_in_child(program.into(), wasm, reservation, threads)?,
            None => self.compile_on_thread(wasm, reservation)?,
        };
        tracing::debug!(bytes = wasm.len(), ms = started.elapsed().as_millis() as u64, "compiled a plugin");
        let mut artifact = Artifact::compiled(&code);
        let component = artifact.component(engine).map_err(|error| LoadError::compile(&format!("{error:#}")))?;
        if let Some(cache) = &self.cache {
            cache.put(&name, &mut artifact);
        }
        Ok(component)
    }

    fn compile_in_child(
        &self,
        program: OsString,
        wasm: &[u8],
        reservation: MemoryReservation,
        threads: usize,
    ) -> Result<Vec<u8>, LoadError> {
        let cannot =
            |error: io::Error| LoadError::System(format!("cannot run the compiler ({}): {error}", program.display()));
        let mut command = Command::new(&program);
        command.arg(COMMAND).arg(self.bytes.to_string()).arg(self.time.as_secs().max(1).to_string());
        command.arg(reservation.bytes().to_string());
        // The child inherits these three pipes only: the broker's sockets and files are close-on-exec.
        command.env_clear().current_dir("/");
        // By default the allocator reserves a gigabyte of address space at the start.
        command.env("MIMALLOC_ARENA_RESERVE", "32MiB");
        // wasmtime compiles on the threads of rayon.
        command.env("RAYON_NUM_THREADS", threads.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(cannot)?;
        let outcome = run_child(&mut child, wasm, self.time, self.bytes);
        // Its pipes are closed: it has exited, or will not do so by itself.
        let _ = child.kill();
        let status = child.wait().map_err(cannot)?;
        match outcome {
            Ok(CompilerOutput { code, .. }) if status.success() => Ok(code),
            Ok(CompilerOutput { text, .. }) => Err(self.explain(status, &text)),
            Err(TooLate) => Err(self.too_late()),
        }
    }

    fn compile_on_thread(&self, wasm: &[u8], reservation: MemoryReservation) -> Result<Vec<u8>, LoadError> {
        let wasm: Arc<[u8]> = wasm.into();
        let (sender, compiled) = channel();
        // A compilation that is too late is abandoned: nobody waits for its thread.
        let work = move || sender.send(precompile::precompile(&wasm, reservation));
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

    /// Why a child returned no result.
    fn explain(&self, status: ExitStatus, text: &str) -> LoadError {
        let message = printable_lines(text);
        let out_of_memory = text.contains("memory allocation of") || text.contains("Cannot allocate memory");
        match (status.code(), status.signal()) {
            (Some(code), _) if code == i32::from(REFUSED) => LoadError::Refused(message),
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
            _ if message.is_empty() => LoadError::Compile(format!("the compiler crashed ({status})")),
            _ => LoadError::Compile(format!("the compiler crashed ({status}): {message}")),
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

/// The standard output and standard error of a child.
struct CompilerOutput {
    code: Vec<u8>,
    text: String,
}

/// The child exceeded its time.
struct TooLate;

/// Writes the component to a child and reads its output until it closes its pipes or its time is over. A child that is
/// too late is killed, which ends the threads that serve its pipes.
fn run_child(child: &mut Child, wasm: &[u8], time: Duration, bytes_max: u64) -> Result<CompilerOutput, TooLate> {
    let (mut input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let feed = move || {
            // A child that stops reading has found an error, which it reports.
            let _ = input.as_mut().map(|input| input.write_all(wasm));
        };
        let (sender, ended) = channel();
        let collect = |pipe: Option<Box<dyn Read + Send>>, bytes_max: u64| {
            let sender = sender.clone();
            move || {
                let mut bytes = Vec::new();
                let _ = pipe.map(|pipe| pipe.take(bytes_max).read_to_end(&mut bytes));
                drop(sender);
                bytes
            }
        };
        scope.spawn(feed);
        let code = scope.spawn(collect(output.map(|pipe| Box::new(pipe) as _), bytes_max));
        let text = scope.spawn(collect(errors.map(|pipe| Box::new(pipe) as _), ERRORS_BYTES_MAX));
        drop(sender);
        // Nothing is ever sent: the channel closes when both pipes are read to their end.
        let late = matches!(ended.recv_timeout(time), Err::<(), _>(RecvTimeoutError::Timeout));
        if late {
            let _ = child.kill();
        }
        let code = code.join().unwrap_or_default();
        let text = String::from_utf8_lossy(&text.join().unwrap_or_default()).into_owned();
        if late { Err(TooLate) } else { Ok(CompilerOutput { code, text }) }
    })
}
