//! The latency of a healthy client beside hostile connections, and after these are closed: `cargo bench --bench door`. It
//! only prints; all else is in `benches/comparison`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its figures")]

use std::error::Error;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rialto::config::Limits;
use rialto_comparison::cores::Cores;
use rialto_comparison::door::hostile::Deadlines;
use rialto_comparison::door::options::Options;
use rialto_comparison::door::{self, Door, listing, outcome};
use rialto_comparison::launch::Running;
use rialto_comparison::places::Places;
use rialto_comparison::today::today;
use rialto_load::machine::Machine;
use rialto_load::process;
use rialto_load::scenario::Dialect;

const RIALTO: &str = env!("CARGO_BIN_EXE_rialto");
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/peers");
/// From so many cores on, the hostile connections have one core for themselves.
const CORES_FOR_ALL: usize = 4;
const HOSTILE_CORE: usize = 3;

fn main() -> ExitCode {
    measure(&Options::parse()).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn measure(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let sockets = options.sockets as usize;
    let count = std::thread::available_parallelism()?.get();
    let cores = Cores::share(count, &Places::new(PathBuf::from(PEERS)));
    let core = if count >= CORES_FOR_ALL { cores.load.map(|_| HOSTILE_CORE) } else { cores.load };
    // Before the broker starts, which inherits it.
    door::make_room(sockets)?;
    if let Some(core) = cores.load {
        process::pin_self(core)?;
    }
    let program = options.server.as_deref().unwrap_or(Path::new(RIALTO));
    let launch = |address, folder: &Path| door::launch(program, address, folder);
    let server = Running::start(Dialect::Rialto, &cores.server, launch)?;
    let target = server.target();
    let pid = target.pid.ok_or("a server that was started has a process")?;
    let deadlines = deadlines();
    let phase = Duration::from_secs(options.seconds.into());
    let patience = Duration::from_secs(options.patience.into());
    let door = Door { target, pid, phase, rounds: options.rounds, sockets, deadlines, core, patience };
    let is_terminal = std::io::stderr().is_terminal();
    let rounds = door.measure(&mut |what| {
        if is_terminal {
            eprint!("\r\x1b[K{what}");
        }
    })?;
    if is_terminal {
        eprint!("\r\x1b[K");
    }
    let mut head = vec![
        format!("Made {} on {}", today(), Machine::this()),
        format!("with {} ({} rounds, phases of {} s)", program.display(), options.rounds, options.seconds),
    ];
    head.extend(cores.notes);
    print!("{}", listing::text(&head, &rounds, &deadlines, sockets));
    let reasons = outcome::reasons_to_fail(&rounds, &deadlines, sockets);
    for reason in &reasons {
        eprintln!("FAILED: {reason}");
    }
    Ok(if reasons.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The defaults of a broker.
fn deadlines() -> Deadlines {
    let limits = Limits::default();
    Deadlines {
        header: Duration::from_millis(limits.header_ms),
        frame: Duration::from_millis(limits.frame_ms),
        write: Duration::from_millis(limits.write_ms),
    }
}
