//! The structure of the source and its documents: which module may import which, how long files are, how they begin, what
//! they are called, and whether everything that the documents name exists.
#![cfg(test)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod code;
mod decisions;
mod dependencies;
mod documents;
mod folders;
mod names;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use code::{Code, Use};
use documents::{Document, Tree};

/// The modules of `broker/`, lowest first: each may import those above its line. Modules on one line do not import each
/// other. `broker/ARCHITECTURE.md` prints this list.
const ORDER: &[&[&str]] = &[
    &["identity", "metrics", "clock", "collections", "endpoints", "file_version", "log_pace", "shares", "wire"],
    &["message", "supervision"],
    &["store"],
    &["config"],
    &["auth"],
    &["limits"],
    &["authorizer", "engine", "plugin", "hub"],
    &["presence"],
    &["request"],
    &["access"],
    &["topics"],
    &["broker"],
    &["session", "topic_plugins"],
    &["server"],
    &["builder"],
    &["cli"],
];

/// Concrete engines and stores, and the folders besides `builder.rs` that may name them: their own.
const CONCRETE: &[(&str, &[&str])] = &[("Engine::Local", &["engine"]), ("MemoryStore", &["store"])];

/// Files that may have unsafe code: the one that loads machine code, and the SDK's macro, which names a section for the
/// linker.
const UNSAFE: [&str; 2] = ["broker/plugin/load/artifact.rs", "sdk/plugin/src/export.rs"];

const LINES_MAX: usize = 600;
const LINES_USUAL: usize = 400;
const NAMES: [&str; 4] = ["utils", "common", "types", "helpers"];

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A source file, its path from the root of the repository.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn code(&self) -> Code {
        Code::of(&self.text)
    }

    /// The module of `broker/` it belongs to; none for the two crate roots.
    fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("broker/")?;
        let name = inside.split('/').next()?.trim_end_matches(".rs");
        match name {
            "lib" | "main" => None,
            other => Some(other),
        }
    }

    /// How many modules it lies below the crate root: what `super` counts from.
    fn depth(&self) -> usize {
        let parts = self.path.split('/').count() - 1;
        if self.path.ends_with("/mod.rs") { parts - 1 } else { parts }
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let root = &root();
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path, text });
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no source");
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// All Rust source of the repository.
fn all_sources() -> Vec<Source> {
    ["broker", "sdk", "plugins", "tests", "benches"].iter().flat_map(|folder| sources(folder)).collect()
}

fn level(module: &str) -> Option<usize> {
    ORDER.iter().position(|line| line.contains(&module))
}

/// What `lib.rs` re-exports at the crate root, with its module: `crate::Broker` is from `crate::broker`.
fn re_exported() -> BTreeMap<String, String> {
    let lib = std::fs::read_to_string(root().join("broker/lib.rs")).unwrap();
    let mut re_exported = BTreeMap::new();
    for line in lib.lines().filter_map(|line| line.strip_prefix("pub use ")?.strip_suffix(';')) {
        let Some((module, items)) = line.split_once("::") else { continue };
        for item in items.trim_matches(['{', '}']).split(',') {
            re_exported.insert(item.trim().to_owned(), module.to_owned());
        }
    }
    re_exported
}

/// Why one import is wrong, if it is.
fn judge(from: &str, to: &str) -> Option<String> {
    if from == to {
        return None;
    }
    match (level(from), level(to)) {
        (None, _) => Some(format!("module `{from}` is not in the order")),
        (_, None) => Some(format!("`{to}` is not in the order")),
        (Some(own), Some(other)) if other < own => None,
        (Some(own), Some(other)) if other == own => Some(format!("`{from}` and `{to}` must not know each other")),
        _ => Some(format!("`{from}` lies below `{to}` and must not know it")),
    }
}

fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn modules_import_downwards_only() {
    let re_exported = re_exported();
    let (mut problems, mut seen) = (Vec::new(), 0);
    for source in sources("broker") {
        let Some(module) = source.module() else { continue };
        for Use { line, name } in source.code().uses(source.depth()) {
            let target = re_exported.get(&name).unwrap_or(&name);
            // What the crate root re-exports of other crates is not a module of this one.
            if target == "rialto_protocol" {
                continue;
            }
            seen += 1;
            if let Some(rule) = judge(module, target) {
                problems.push(format!("{}:{line}: {rule}", source.path));
            }
        }
    }
    assert!(seen > 60, "only {seen} imports were found: the scan itself is broken");
    none(problems);
}

#[test]
fn no_folder_has_a_cycle() {
    let mut problems = Vec::new();
    let sources = sources("broker");
    let folders = folders::imports(&sources);
    assert!(folders.len() > 10, "only {} folders have imports: the scan itself is broken", folders.len());
    for (folder, imports) in &folders {
        for edge in folders::on_cycles(folder, imports, &sources) {
            let (place, (from, to)) = (&imports[edge], edge);
            problems.push(format!("{place}: in `broker/{folder}`, `{from}` imports `{to}`, which closes a cycle"));
        }
    }
    none(problems);
}

#[test]
fn every_module_of_the_order_exists() {
    let mut there: Vec<String> =
        sources("broker").iter().filter_map(|source| source.module().map(str::to_owned)).collect();
    there.dedup();
    let missing = ORDER.iter().flat_map(|line| line.iter()).filter(|module| !there.iter().any(|one| one == *module));
    none(missing.map(|module| format!("tests/structure/lib.rs: module `{module}` does not exist")).collect());
}

#[test]
fn only_the_builder_names_engines_and_stores() {
    let mut problems = Vec::new();
    for source in sources("broker") {
        let Some(module) = source.module().filter(|module| *module != "builder") else { continue };
        let code = source.code();
        for (name, folders) in CONCRETE {
            if folders.contains(&module) {
                continue;
            }
            let lines = code.lines_with(name);
            problems.extend(lines.map(|line| format!("{}:{line}: only builder.rs may name `{name}`", source.path)));
        }
    }
    none(problems);
}

#[test]
fn only_listed_files_leave_safe_rust() {
    // In two pieces, so that this line is not found.
    let word = concat!("un", "safe");
    let is_listed = |source: &Source| UNSAFE.contains(&source.path.as_str());
    let mut problems = Vec::new();
    for source in all_sources().iter().filter(|source| !is_listed(source)) {
        let code = source.code();
        problems.extend(code.lines_with(word).map(|line| format!("{}:{line}: unsafe code", source.path)));
    }
    none(problems);
}

#[test]
fn files_are_short() {
    let sources = all_sources();
    let long: Vec<(&str, usize)> =
        sources.iter().map(|source| (source.path.as_str(), source.text.lines().count())).collect();
    let over = |most: usize| long.iter().filter(move |(_, lines)| *lines > most);
    none(over(LINES_MAX).map(|(path, lines)| format!("{path}:{lines}: more than {LINES_MAX} lines")).collect());
    let unusual: Vec<String> = over(LINES_USUAL).map(|(path, lines)| format!("{path}:{lines}: a long file")).collect();
    assert!(unusual.len() * 20 <= sources.len(), "more than 1 file in 20 is long:\n{}", unusual.join("\n"));
}

#[test]
fn every_file_begins_with_a_doc_line() {
    let silent = all_sources().into_iter().filter(|source| !source.text.starts_with("//! "));
    none(silent.map(|source| format!("{}:1: does not begin with `//!`", source.path)).collect());
}

#[test]
fn files_are_named_after_their_content() {
    let unnamed = all_sources()
        .into_iter()
        .filter(|source| source.path.split('/').any(|part| NAMES.contains(&part.trim_end_matches(".rs"))));
    none(unnamed.map(|source| format!("{}:1: name the file after what is in it", source.path)).collect());
}

#[test]
fn wrong_imports_are_found() {
    assert_eq!(judge("server", "session"), None);
    assert!(judge("broker", "topic_plugins").unwrap().contains("lies below"));
    assert_eq!(judge("topic_plugins", "broker"), None);
    assert_eq!(judge("hub", "hub"), None);
    assert!(judge("session", "server").unwrap().contains("lies below"));
    assert!(judge("hub", "plugin").unwrap().contains("must not know each other"));
    assert!(judge("topic_plugins", "session").is_some());
    assert!(judge("extra", "topic").unwrap().contains("not in the order"));
    assert!(judge("cli", "extra").unwrap().contains("not in the order"));
}

#[test]
fn every_test_that_the_table_of_faults_names_exists() {
    let root = &root();
    let table = std::fs::read_to_string(root.join("tests/FAULTS.md")).unwrap();
    let mut named = 0;
    for (path, name) in table.split('`').filter_map(|word| word.split_once(".rs::")) {
        let path = &format!("{path}.rs");
        let is_elsewhere =
            ["sdk/", "broker/", "plugins/chat/", "plugins/market/"].iter().any(|from| path.starts_with(from));
        let path = if is_elsewhere { root.join(path) } else { root.join("tests").join(path) };
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(text.contains(&format!("fn {name}(")), "{} has no test {name}", path.display());
        named += 1;
    }
    assert!(named > 90, "{named}");
    for row in (1..=38).chain(49..=89).chain(91..=91) {
        assert_eq!(table.matches(&format!("\n| {row} | ")).count(), 1, "row {row}");
    }
}

/// Documents whose every path, link and function must exist, besides the chapters of the book.
const CHECKED: [&str; 4] = ["README.md", "CHANGELOG.md", "broker/ARCHITECTURE.md", "tests/checker/README.md"];

/// Folders whose every document is one of these, too.
const CHECKED_FOLDERS: [&str; 2] = [".github", decisions::FOLDER];

/// The paths of the documents right in a folder.
fn documents_in(folder: &str) -> Vec<String> {
    let names = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap()).filter(|name| name.ends_with(".md"));
    let mut paths: Vec<String> = names.map(|name| format!("{folder}/{name}")).collect();
    assert!(paths.len() > 1, "{folder} has no documents: the scan itself is broken");
    paths.sort();
    paths
}

fn document(path: &str) -> Document {
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    Document { path: path.to_owned(), text }
}

#[test]
fn documents_name_only_what_exists() {
    let tree = Tree::of(&root(), &all_sources());
    let mut problems = Vec::new();
    let chapters = documents::chapters(names::texts());
    assert!(chapters.len() > 20, "the book has only {} chapters: the scan itself is broken", chapters.len());
    problems.extend(documents::book_problems(&chapters));
    let folders = CHECKED_FOLDERS.iter().flat_map(|folder| documents_in(folder));
    let paths = CHECKED.map(str::to_owned).into_iter().chain(folders);
    for mut document in paths.map(|path| document(&path)).chain(chapters) {
        if document.path == "CHANGELOG.md" {
            // Older sections may name what no longer exists.
            document.text = documents::newest_section(&document.text);
        }
        problems.extend(tree.problems(&document, document.path == "broker/ARCHITECTURE.md"));
    }
    none(problems);
}

#[test]
fn the_layers_in_the_architecture_are_those_enforced_here() {
    let text = document("broker/ARCHITECTURE.md").text;
    let layers: Vec<String> = ORDER.iter().map(|line| line.join(" ")).collect();
    let printed = documents::block_behind(&text, "Who may import whom");
    assert_eq!(printed, layers, "broker/ARCHITECTURE.md must print:\n\n{}\n", layers.join("\n"));
}

/// The published versions of the plugin protocol, and the FNV-1a hash of the text of each.
const FROZEN: [(&str, u64); 1] = [("sdk/plugin/wit/v1/plugin.wit", 0x24bc_9a75_268e_25e6)];

#[test]
fn published_versions_of_the_plugin_protocol_do_not_change() {
    for (path, hash) in FROZEN {
        let text = std::fs::read(root().join(path)).unwrap();
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        let found = text.iter().fold(0xcbf2_9ce4_8422_2325, step);
        assert_eq!(found, hash, "{path} is frozen: what is new goes into the draft beside it");
    }
}

#[test]
fn documents_have_short_lines() {
    let written = |path: &String| path.ends_with(".md") && path != "tests/autobahn/RESULTS.md";
    let texts = names::texts();
    assert!(texts.iter().any(|(path, _)| path.starts_with(documents::BOOK)), "the book is not among the documents");
    let all = texts.into_iter().filter(|(path, _)| written(path)).map(|(path, text)| Document { path, text });
    none(all.chain([document("CHANGELOG.md")]).flat_map(|document| documents::long_lines(&document)).collect());
}
