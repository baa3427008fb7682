//! The hidden command with which the broker compiles a component in another process: it sets its resource limits, reads the
//! component from standard input and writes machine code to standard output. It opens no file.

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, nice, set_parent_process_death_signal, setrlimit};

use crate::plugin::{MemoryReservation, REFUSED, precompile};

/// The `nice` value: a low priority, so that compiling does not slow down the broker.
const NICE: i32 = 10;

/// Largest component, the upper end of `component_bytes`.
const COMPONENT_BYTES_MAX: u64 = 268_435_456;

/// Arguments of the hidden command.
#[derive(Debug, clap::Args)]
pub(crate) struct CompileComponentArgs {
    /// Most bytes of address space.
    bytes: u64,
    /// Most seconds of processor time, on every core.
    seconds: u64,
    /// Bytes of address space that each memory is to reserve.
    reservation: u64,
}

/// Exits with 0 and the code on standard output, or with another exit code and the reason on standard error.
pub(crate) fn run(args: &CompileComponentArgs) -> ExitCode {
    if let Err(error) = limit(args) {
        return refuse(&format!("the compiler cannot limit itself: {error}"));
    }
    let mut wasm = Vec::new();
    if let Err(error) = io::stdin().lock().take(COMPONENT_BYTES_MAX).read_to_end(&mut wasm) {
        return refuse(&format!("the compiler cannot read the component: {error}"));
    }
    match precompile(&wasm, MemoryReservation::for_memory(args.reservation)) {
        Ok(code) => match write(&code) {
            Ok(()) => ExitCode::SUCCESS,
            // The broker has ended.
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => refuse(&error.to_string()),
    }
}

fn limit(args: &CompileComponentArgs) -> io::Result<()> {
    // A broker that ends does not leave a compiler behind, however it ends.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let set = |resource: Resource, most: u64| {
        // The broker itself may be limited to less.
        let most = getrlimit(resource).maximum.map_or(most, |allowed| allowed.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
    };
    set(Resource::Core, 0)?;
    set(Resource::Cpu, args.seconds.saturating_mul(cores).saturating_add(1))?;
    set(Resource::As, args.bytes)?;
    // A process that may not lower its priority compiles all the same.
    let _ = nice(NICE);
    Ok(())
}

fn write(code: &[u8]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(code)?;
    output.flush()
}

fn refuse(text: &str) -> ExitCode {
    // The exit code reports the refusal, too.
    let _ = io::stderr().lock().write_all(text.as_bytes());
    ExitCode::from(REFUSED)
}
