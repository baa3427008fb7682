//! How plugins are compiled: in a process with limits that a hostile component cannot leave, once, and never from a file
//! that someone has touched.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rialto::Broker;
use rialto::config::Config;
use serde_json::json;
use tempfile::TempDir;

use crate::plugins::hosted::start_with;
use crate::support::RIALTO;
use crate::support::component::{empty, module, source};

fn rialto() -> &'static Path {
    Path::new(RIALTO)
}

/// Starts with the compiler in a process of its own.
fn start_in_child(wasm: &[u8], change: impl FnOnce(&mut Config)) -> Result<Broker, String> {
    let change = |config: &mut Config, plugin: &mut rialto::config::PluginConfig| {
        plugin.component_bytes = 256 << 20;
        change(config);
    };
    start_with(wasm, change, Some(rialto()))
}

/// A core module that fits, with so many more functions of so many multiplications.
fn large(functions: usize, instructions: usize) -> Vec<u8> {
    let mut more = String::new();
    let body = "local.get 0 local.get 1 i32.mul local.set 0 ".repeat(instructions);
    for number in 0..functions {
        write!(more, "(func (export \"f{number}\") (param i32 i32) (result i32) {body} local.get 0)").unwrap();
    }
    let source = source("empty");
    let end = source.rfind(')').unwrap();
    module(&format!("{}{more})", &source[..end]))
}

/// The processes of the compiler that this process has started and that still are.
fn children() -> usize {
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let is_ours = |path: &PathBuf| {
        let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
        // The name is in brackets; the state and then the parent follow.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        let arguments = fs::read(path.join("cmdline")).unwrap_or_default();
        parent == Some(&own) && String::from_utf8_lossy(&arguments).contains("compile-component")
    };
    processes.filter(is_ours).count()
}

#[test]
fn a_component_that_fits_comes_back_from_the_child_and_runs() {
    let broker = start_in_child(&empty(""), |_| {}).unwrap();
    assert_eq!(broker.plugins()[0].name, "hostile");
    assert!(start_in_child(&module(&source("empty")), |_| {}).is_ok(), "a core module too");
}

#[test]
fn what_the_child_finds_wrong_is_told_as_if_it_were_here() {
    let without = source("empty").replace("hooks@1.0.0#on-call", "hooks@1.0.0#on-fall");
    let mut untyped = empty("(func (result i32) (i32.const 77777))");
    let constant = untyped.windows(5).position(|bytes| bytes == [0x41, 0xd1, 0xdf, 0x04, 0x0b]).unwrap();
    // An i64 where an i32 has to be: no assembler lets that pass.
    untyped[constant] = 0x42;
    for (wasm, words) in [(module(&without), "on-call"), (untyped, "cannot be compiled")] {
        let there = start_in_child(&wasm, |_| {}).expect_err("it does not fit");
        let here = start_with(&wasm, |_, _| {}, None).expect_err("it does not fit");
        let reason = |text: &str| text.split_once("): ").unwrap().1.to_owned();
        assert_eq!(reason(&there), reason(&here));
        assert!(there.contains(words), "{there}");
    }
}

#[test]
fn a_compiler_that_cannot_be_run_is_named() {
    let text = start_with(&empty(""), |_, _| {}, Some(Path::new("/nowhere/rialto"))).unwrap_err();
    assert!(text.contains("cannot run the compiler (/nowhere/rialto)"), "{text}");
    let text = start_with(&empty(""), |_, _| {}, Some(Path::new("/bin/false"))).unwrap_err();
    assert!(text.contains("the compiler crashed (exit status: 1)"), "{text}");
}

#[test]
fn a_component_over_the_size_limit_is_refused_before_it_is_compiled() {
    let started = Instant::now();
    let text = start_with(&vec![0; 50 << 20], |_, _| {}, Some(rialto())).unwrap_err();
    assert!(text.contains("component_bytes") && text.contains("8388608"), "{text}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_component_that_takes_too_long_to_compile_is_given_up_and_its_compiler_ended() {
    let wasm = large(2_000, 600);
    let started = Instant::now();
    let text = start_in_child(&wasm, |config| config.sandbox.compile_ms = 1_000).unwrap_err();
    assert!(text.contains("compile_ms") && text.contains("1000 ms"), "{text}");
    // Reading and looking at the file come before the compiler's time.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let text = start_with(
        &wasm,
        |config, plugin| (config.sandbox.compile_ms, plugin.component_bytes) = (1_000, 1 << 28),
        None,
    );
    assert!(text.unwrap_err().contains("compile_ms"));
}

#[test]
fn a_component_that_takes_too_much_memory_to_compile_is_given_up() {
    let text = start_in_child(&large(4, 300_000), |config| config.sandbox.compile_bytes = 536_870_912).unwrap_err();
    assert!(text.contains("compile_bytes") && text.contains("536870912"), "{text}");
}

#[test]
fn deep_nesting_costs_an_error_and_no_crash() {
    for (open, close) in [("(block ", ")"), ("(if (i32.const 1) (then ", "))"), ("(loop ", ")")] {
        let wat = format!("(func {}{})", open.repeat(2_000), close.repeat(2_000));
        assert!(start_in_child(&empty(&wat), |_| {}).is_ok(), "{open}");
    }
    // Deeper than text can say: blocks in blocks, closed in the end.
    let mut body = vec![0];
    for byte in [0x02, 0x40].iter().cycle().take(2 * 1_000_000).chain(std::iter::repeat_n(&0x0b, 1_000_001)) {
        body.push(*byte);
    }
    let mut wasm = module(r#"(module (func (export "rialto:plugin/hooks@1.0.0#start")) (func))"#);
    let code = wasm.windows(4).rposition(|bytes| bytes == [0x02, 0x02, 0x00, 0x0b]).unwrap();
    wasm.truncate(code - 2);
    wasm.push(10);
    let section = [&[2, 2, 0, 0x0b][..], &leb(body.len()), &body].concat();
    wasm.extend(leb(section.len()));
    wasm.extend(section);
    let text = start_in_child(&wasm, |_| {}).expect_err("it does not fit the world either");
    assert!(text.starts_with("plugin \"hostile\""), "{text}");
}

/// A number as WebAssembly writes it.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        bytes.push(if number == 0 { byte } else { byte | 0x80 });
        if number == 0 {
            return bytes;
        }
    }
}

/// A cache with the one component of these tests in it.
struct Kept {
    folder: TempDir,
    wasm: Vec<u8>,
}

impl Kept {
    fn new() -> Self {
        let kept = Self { folder: tempfile::tempdir().unwrap(), wasm: empty("") };
        kept.start(rialto()).unwrap();
        kept
    }

    fn start(&self, compiler: &Path) -> Result<Broker, String> {
        let cache = self.folder.path().to_owned();
        start_with(&self.wasm, |config, _| config.sandbox.cache = Some(cache), Some(compiler))
    }

    /// Starts without any compiler: only what is kept can be used.
    fn start_kept(&self) -> Result<Broker, String> {
        self.start(Path::new("/nowhere/rialto"))
    }

    fn artefacts(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|ending| ending == "artefact")).collect()
    }

    /// Whether what is kept after this change is refused and removed, and the next start mends it.
    fn refuses(&self, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let path = self.artefacts().pop().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let refused = self.start_kept().is_err_and(|text| text.contains("cannot run the compiler"));
        refused && self.artefacts().is_empty() && self.start(rialto()).is_ok() && self.start_kept().is_ok()
    }
}

#[test]
fn what_was_compiled_once_is_kept_and_the_next_start_needs_no_compiler() {
    let kept = Kept::new();
    assert_eq!(kept.artefacts().len(), 1);
    assert_eq!(kept.start_kept().unwrap().plugins()[0].name, "hostile");
    let other = Kept { wasm: empty("(func)"), folder: kept.folder };
    assert!(other.start_kept().is_err(), "another component has another name there");
}

#[test]
fn a_plugin_that_is_kept_still_has_to_fit_and_to_be_granted_what_it_needs() {
    let kept = Kept::new();
    let cache = kept.folder.path().to_owned();
    let settings = json!({"start": "-"});
    let broker = start_with(
        &kept.wasm,
        |config, plugin| (config.sandbox.cache, plugin.config) = (Some(cache), settings),
        Some(Path::new("/nowhere/rialto")),
    );
    assert!(broker.is_ok());
    assert!(start_with(b"\0asm", |_, _| {}, None).is_err());
}

#[test]
fn a_kept_component_that_is_cut_off_empty_or_of_another_version_is_compiled_again() {
    let kept = Kept::new();
    assert!(kept.refuses(Vec::clear));
    assert!(kept.refuses(|bytes| bytes.truncate(bytes.len() / 2)));
    assert!(kept.refuses(|bytes| bytes.truncate(bytes.len() - 1)));
    assert!(kept.refuses(|bytes| bytes.push(0)));
    // A version of the form that is not ours.
    assert!(kept.refuses(|bytes| bytes[6] += 1));
    // The code of another component, in the place of this one, with the seal of its own.
    let other = Kept { wasm: empty("(func)"), folder: tempfile::tempdir().unwrap() };
    fs::copy(kept.folder.path().join("key"), other.folder.path().join("key")).unwrap();
    other.start(rialto()).unwrap();
    let sealed = fs::read(other.artefacts().pop().unwrap()).unwrap();
    assert!(kept.refuses(|bytes| *bytes = sealed));
}

#[test]
fn a_cache_that_others_can_write_to_is_not_used_and_the_broker_starts_all_the_same() {
    use std::os::unix::fs::PermissionsExt as _;
    let kept = Kept::new();
    fs::set_permissions(kept.folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(kept.start_kept().is_err(), "it would have to compile");
    assert!(kept.start(rialto()).is_ok());
}

#[test]
fn no_compiler_is_left_behind() {
    start_in_child(&empty("(func)"), |_| {}).unwrap();
    let wasm = large(2_000, 600);
    let _ = start_in_child(&wasm, |config| config.sandbox.compile_ms = 1_000);
    // Other tests of this program compile at the same time, each for a while.
    let started = Instant::now();
    while children() > 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "{} compilers are left", children());
        std::thread::yield_now();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Row 91: whatever bits of what is kept change, it is never run.
    #[test]
    fn a_kept_component_with_flipped_bits_is_never_used(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8u8), 1..4),
    ) {
        let kept = Kept::new();
        let refused = kept.refuses(|bytes| {
            let original = bytes.clone();
            for (place, bit) in flips {
                bytes[place.index(original.len())] ^= 1 << bit;
            }
            if *bytes == original {
                bytes[0] ^= 1;
            }
        });
        prop_assert!(refused);
    }

    /// Row 82: whatever is done to a component, it is refused with a reason or does no harm.
    #[test]
    fn a_component_that_was_damaged_is_refused_or_harmless(
        at in any::<prop::sample::Index>(),
        from in any::<prop::sample::Index>(),
        length in 0..64usize,
        random in prop::collection::vec(any::<u8>(), 0..16),
        kind in 0..4u8,
    ) {
        let mut wasm = empty("");
        let at = at.index(wasm.len());
        let end = (at + length).min(wasm.len());
        let from = from.index(wasm.len());
        match kind {
            0 => drop(wasm.drain(at..end)),
            1 => drop(wasm.splice(at..end, random)),
            2 => {
                let piece = wasm[from..(from + length).min(wasm.len())].to_vec();
                drop(wasm.splice(at..at, piece));
            }
            _ => wasm[at..end].reverse(),
        }
        if let Err(text) = start_with(&wasm, |_, _| {}, None) {
            prop_assert!(text.starts_with("plugin \"hostile\" ("), "{text}");
            prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        }
    }
}
