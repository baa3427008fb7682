//! The cold start of a plugin: compiled for the first time, and from the cache; from the file to `start` having returned.
//! `cargo bench --bench start`, with more components as arguments: `cargo bench --bench start -- FILE.wasm ...`.

#![allow(missing_docs, reason = "a bench is a program, not a library")]
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

#[path = "../tests/support/component.rs"]
#[allow(dead_code, reason = "the bench uses a part of it")]
mod component;
#[path = "../tests/support/place.rs"]
#[allow(dead_code, reason = "the bench uses a part of it")]
mod place;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rialto::Broker;
use rialto::config::{Config, PluginConfig};

/// Cached starts of each component.
const ROUNDS: usize = 50;

/// Functions of the made component, so that its code is as large as that of an interpreter.
const FUNCTIONS: usize = 4_000;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let chat = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/dist/chat.wasm");
    let large = folder.path().join("large.wasm");
    std::fs::write(&large, component::empty(&many_functions())).unwrap();
    let mut files = vec![("Rust: chat".to_owned(), chat), ("made: large".to_owned(), large)];
    let given = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    files.extend(given.map(|path| (path.clone(), PathBuf::from(path))));
    println!("A broker without a plugin starts in {:.2} ms; that is taken off below.", milliseconds(bare()));
    println!("{:34} {:>9} {:>12} {:>11} {:>9} {:>9}", "component", "KiB", "compile ms", "cached ms", "p95", "max");
    for (name, file) in files {
        measure(&name, &file, folder.path());
    }
}

fn measure(name: &str, file: &Path, folder: &Path) {
    let cache = folder.join(format!("cache of {}", name.replace('/', "-")));
    let start = || {
        let mut config = Config::default();
        config.server.shards = 1;
        config.sandbox.cache = Some(cache.clone());
        let path = file.to_owned();
        let plugin = PluginConfig { path, component_bytes: 256 << 20, hook_ms: 60_000, ..PluginConfig::default() };
        let plugin = PluginConfig { memory_bytes: 256 << 20, ..plugin };
        config.plugins.insert("it".to_owned(), plugin);
        let builder = Broker::builder().config(config).compiler(env!("CARGO_BIN_EXE_rialto"));
        let started = Instant::now();
        let broker = builder.start().unwrap();
        let took = started.elapsed();
        stop(&broker);
        took
    };
    let bare = bare();
    let first = start();
    let mut times: Vec<Duration> = (0..ROUNDS).map(|_| start().saturating_sub(bare)).collect();
    times.sort();
    let at = |part: f64| milliseconds(times[((times.len() - 1) as f64 * part) as usize]);
    let size = std::fs::metadata(file).unwrap().len() / 1024;
    let (median, p95, max) = (at(0.5), at(0.95), at(1.0));
    println!("{name:34} {size:>9} {:>12.0} {median:>11.2} {p95:>9.2} {max:>9.2}", milliseconds(first));
}

/// What a start costs without any plugin, in the median.
fn bare() -> Duration {
    let start = |_| {
        let mut config = Config::default();
        config.server.shards = 1;
        let started = Instant::now();
        let broker = Broker::builder().config(config).start().unwrap();
        let took = started.elapsed();
        stop(&broker);
        took
    };
    let mut times: Vec<Duration> = (0..ROUNDS).map(start).collect();
    times.sort();
    times[ROUNDS / 2]
}

fn stop(broker: &Broker) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(broker.shutdown(Duration::from_secs(1)));
}

fn many_functions() -> String {
    let body = "local.get 0 local.get 1 i32.mul local.set 0 ".repeat(600);
    let function = |number| format!("(func (export \"f{number}\") (param i32 i32) (result i32) {body} local.get 0)");
    (0..FUNCTIONS).map(function).collect()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
