//! What a newcomer's first build compiles: how many crates, which of them in several versions, and how much of wasmtime.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use super::root;

/// The most crates that the binary is built of. Each one more makes the first build longer: say in the commit what it is
/// worth when you raise this.
const CRATES_MAX: usize = 228;

/// Crates in more than one version, because others ask for them. Each takes a build of its own.
const SEVERAL: [&str; 12] = [
    "block-buffer",
    "cpufeatures",
    "crypto-common",
    "digest",
    "getrandom",
    "hashbrown",
    "rand",
    "rand_core",
    "sha2",
    "syn",
    "thiserror",
    "thiserror-impl",
];

/// The features of wasmtime: no second compiler, no profiling, no cache, no async, no text format.
const WASMTIME: [&str; 7] =
    ["std", "runtime", "component-model", "cranelift", "parallel-compilation", "backtrace", "demangle"];

/// The crates of the default build and their versions, by cargo.
fn crates(arguments: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--package", "rialto", "--prefix", "none", "--format", "{p}"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut crates: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let mut words = line.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
        crates.entry(name.to_owned()).or_default().insert(version.to_owned());
    }
    crates
}

#[test]
fn the_first_build_stays_short() {
    let crates = crates(&["--edges", "normal,build"]);
    let count: usize = crates.values().map(BTreeSet::len).sum();
    assert!(count <= CRATES_MAX, "{count} crates, at most {CRATES_MAX}");
    assert!(count + 10 > CRATES_MAX, "{count} crates: lower CRATES_MAX, so that it stays so");
    let several: Vec<&str> =
        crates.iter().filter(|(_, versions)| versions.len() > 1).map(|(name, _)| &**name).collect();
    assert_eq!(several, SEVERAL, "crates in several versions");
}

#[test]
fn authors_tools_are_not_in_the_default_build() {
    // The macro of wasmtime has them for itself, so only direct dependencies say anything.
    let (without, with) =
        (["--depth", "1", "--edges", "normal"], ["--depth", "1", "--edges", "normal", "-F", "authoring"]);
    let (default, authoring) = (crates(&without), crates(&with));
    for tool in ["wit-component", "wit-parser"] {
        assert_eq!((default.contains_key(tool), authoring.contains_key(tool)), (false, true), "{tool}");
    }
}

#[test]
fn wasmtime_has_only_what_is_needed() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let line = manifest.lines().find(|line| line.starts_with("wasmtime = ")).unwrap();
    let (_, list) = line.split_once("features = [").unwrap();
    let features: Vec<&str> =
        list.split(']').next().unwrap().split(", ").map(|feature| feature.trim_matches('"')).collect();
    assert_eq!(features, WASMTIME);
    assert!(line.contains("default-features = false"), "{line}");
}
