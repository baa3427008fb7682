//! What a newcomer's first build compiles: how many crates, which of them in several versions, and how much of wasmtime.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{none, root};

/// The most crates that the binary is built of. Each one more makes the first build longer: say in the commit what it is
/// worth when you raise this.
const CRATES_MAX: usize = 240;

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

/// Those that the binary has with fewer features than the tests. They are small, or built again for what they use.
const BUILT_AGAIN: [&str; 2] = ["rialto", "zerocopy"];

/// The features of wasmtime: no second compiler, no profiling, no cache, no async, no text format.
const WASMTIME: [&str; 7] =
    ["std", "runtime", "component-model", "cranelift", "parallel-compilation", "backtrace", "demangle"];

/// What cargo prints of the crates of a build, a line for each.
fn tree(arguments: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--prefix", "none"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The crates of the default build and their versions, by cargo.
fn crates(arguments: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let text = tree(&[&["--package", "rialto", "--format", "{p}"], arguments].concat());
    let mut crates: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines() {
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

/// What `cargo run` has built serves the tests and the benches, too: wasmtime takes minutes.
#[test]
fn the_tests_build_dependencies_with_the_features_of_the_binary() {
    let built = |arguments: &[&str]| -> BTreeSet<String> {
        let text = tree(&[&["--format", "{p} {f}"], arguments].concat());
        text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
    };
    let tests = built(&["--workspace", "--edges", "normal,build,dev"]);
    for (what, once) in [
        ("the binary", built(&["--package", "rialto", "--edges", "normal,build"])),
        ("a bench", built(&["--package", "rialto", "--edges", "normal,build,dev"])),
        ("the integration tests", built(&["--package", "rialto-tests", "--edges", "normal,build,dev"])),
    ] {
        let again: BTreeSet<&str> = once.difference(&tests).filter_map(|line| line.split(' ').next()).collect();
        let again: Vec<&str> = again.into_iter().filter(|name| !BUILT_AGAIN.contains(name)).collect();
        assert!(
            again.is_empty(),
            "{what} has {again:?} with other features than `--workspace`, so they are built twice"
        );
    }
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

/// What `tests/setup/deny.toml` allows: licences of all crates, and more of them for some.
struct Rules {
    allowed: Vec<String>,
    exceptions: BTreeMap<String, Vec<String>>,
}

impl Rules {
    fn read() -> Self {
        let text = std::fs::read_to_string(root().join("tests/setup/deny.toml")).unwrap();
        let rules = DeTable::parse(&text).unwrap().into_inner();
        let list = |value: &Spanned<DeValue<'_>>| -> Vec<String> {
            let items = value.get_ref().as_array().unwrap().iter();
            items.map(|text| text.get_ref().as_str().unwrap().to_owned()).collect()
        };
        let licences = rules["licenses"].get_ref();
        let exceptions = licences["exceptions"].get_ref().as_array().unwrap().iter();
        let exceptions = exceptions.map(|one| {
            let one = one.get_ref();
            (one["name"].get_ref().as_str().unwrap().to_owned(), list(&one["allow"]))
        });
        Self { allowed: list(&licences["allow"]), exceptions: exceptions.collect() }
    }

    fn of(&self, name: &str) -> Vec<String> {
        self.allowed.iter().chain(self.exceptions.get(name).into_iter().flatten()).cloned().collect()
    }
}

/// Whether an SPDX expression can be fulfilled with these licences: one of several, or all that are joined by AND.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace(['(', ')'], " ").replace('/', " OR ");
    let one = |licence: &str| allowed.iter().any(|allowed| allowed == licence.trim());
    expression.split(" AND ").all(|part| part.split(" OR ").any(one))
}

/// What cargo knows of all packages of a lock file.
fn packages(manifest: &str) -> Vec<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--locked", "--format-version", "1", "--manifest-path"])
        .arg(root().join(manifest))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

#[test]
fn dependencies_come_from_the_registry_under_known_licences() {
    let mut packages = packages("Cargo.toml");
    assert!(packages.len() > CRATES_MAX, "{} packages", packages.len());
    packages.extend(
        ["autobahn", "fuzz", "mdbook"].iter().flat_map(|name| self::packages(&format!("tests/{name}/Cargo.toml"))),
    );
    let (rules, mut problems) = (Rules::read(), Vec::new());
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        let source = package["source"].as_str();
        if source.is_some_and(|source| !source.starts_with("registry+")) {
            problems.push(format!("{name} comes from {}", source.unwrap_or_default()));
        }
        let licence = package["license"].as_str().unwrap_or("none");
        if !is_allowed(licence, &rules.of(name)) {
            problems.push(format!("{name} has the licence {licence}"));
        }
    }
    let unused =
        rules.exceptions.keys().filter(|name| !packages.iter().any(|package| package["name"] == name.as_str()));
    problems.extend(unused.map(|name| format!("{name} has an exception and is nowhere")));
    none(problems);
}

#[test]
fn licence_expressions_are_understood() {
    for (expression, expected) in [
        ("MIT OR Apache-2.0", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("MIT AND GPL-3.0", false),
        ("none", false),
    ] {
        assert_eq!(is_allowed(expression, &Rules::read().allowed), expected, "{expression}");
    }
}
