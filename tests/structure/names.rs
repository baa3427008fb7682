//! Names that the tree no longer uses, of types, files and paths: a change that brings one back fails here.

use std::path::PathBuf;

use super::{Source, none, sources};
use crate::code::Code;

/// Old names of types in `broker/` and `sdk/`.
const TYPES: &[&str] = &[
    "Answering",
    "Asking",
    "Bell",
    "Brought",
    "Deputy",
    "Desk",
    "Directory",
    "Gather",
    "Ground",
    "Guest",
    "Heard",
    "Kept",
    "Lobby",
    "Owner",
    "Owners",
    "Passed",
    "People",
    "Places",
    "Posting",
    "Remembered",
    "Roll",
    "Ruled",
    "Settling",
    "Speech",
    "Standing",
    "Told",
    "Usher",
    "Visit",
    "Wanted",
];

/// Old names of files and folders, by the folder in which they may not come back.
const STEMS: &[(&str, &[&str])] = &[
    (
        "broker",
        &[
            "alarms",
            "anatomy",
            "artefact",
            "attendance",
            "books",
            "deputy",
            "desk",
            "dialogue",
            "directory",
            "farewell",
            "gate",
            "gathering",
            "guarded",
            "guest",
            "heads",
            "heard",
            "keyed",
            "lane",
            "lobby",
            "memo",
            "operator",
            "owners",
            "pace",
            "past",
            "pile",
            "reminder",
            "roll",
            "runner",
            "running",
            "selection",
            "staying",
            "subnet",
            "ticker",
            "together",
            "traffic",
            "unkept",
            "usher",
            "world",
        ],
    ),
    ("sdk", &["answer", "ask", "heard", "keyed", "link", "lobby", "outgoing", "pace", "past", "progress", "standing"]),
    ("tests", &["doors", "herd", "hooks", "siege", "sockets"]),
    ("benches", &["herd", "siege"]),
];

/// Folders whose files may name a path.
const FOLDERS: [&str; 7] = ["broker", "plugins", "sdk", "tests", "benches", "config", ".github"];

/// Folders of other programs, and what builds leave behind.
const FOREIGN: [&str; 4] = ["node_modules", "target", "dist", "snapshots"];

/// The types that a file defines under an old name. Types of other crates keep theirs.
fn old_types(source: &Source) -> Vec<String> {
    let is_kind = |word: &str| ["struct", "enum", "trait", "type", "union"].contains(&word);
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let code = Code::of(&source.text);
    let mut problems = Vec::new();
    for (line, text) in code.lines() {
        let words: Vec<&str> = text.split(|c| !is_word(c)).filter(|word| !word.is_empty()).collect();
        let defined = words.windows(2).filter(|pair| is_kind(pair[0]) && TYPES.contains(&pair[1]));
        problems.extend(defined.map(|pair| format!("{}:{line}: `{}` is an old name", source.path, pair[1])));
    }
    problems
}

/// Whether a part of a path is an old name of the folder that the path begins with.
fn is_old_path(path: &str) -> bool {
    let Some((folder, rest)) = path.split_once('/') else { return false };
    let Some((_, stems)) = STEMS.iter().find(|(of, _)| *of == folder) else { return false };
    rest.split('/').any(|part| stems.contains(&part.split('.').next().unwrap_or(part)))
}

/// The paths that a text names, with their lines.
fn paths_in(text: &str) -> Vec<(usize, &str)> {
    let is_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let words = line.split(|c| !is_path(c)).filter(|word| word.contains('/'));
        found.extend(words.map(|word| (index + 1, word.trim_end_matches('.'))));
    }
    found
}

/// All files that may name a path of the repository, and their texts.
pub(crate) fn texts() -> Vec<(String, String)> {
    let root = &crate::root();
    let mut found = vec![("README.md".to_owned(), std::fs::read_to_string(root.join("README.md")).unwrap())];
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                folders.extend((!FOREIGN.contains(&name)).then(|| path.clone()));
            } else if ["rs", "md", "toml", "js"].contains(&name.rsplit('.').next().unwrap_or_default())
                && name != "CHANGELOG.md"
            {
                // Some files of tests are no UTF-8 on purpose.
                let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
                found.push((path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), text));
            }
        }
    }
    found
}

#[test]
fn no_type_has_its_old_name() {
    none(sources("broker").iter().flat_map(old_types).collect());
}

#[test]
fn no_file_has_its_old_name_and_none_is_named() {
    let mut problems = Vec::new();
    for (path, text) in texts() {
        if is_old_path(&path) {
            problems.push(format!("{path}:1: the file has its old name"));
        }
        let named = paths_in(&text).into_iter().filter(|(_, word)| is_old_path(word));
        problems.extend(named.map(|(line, word)| format!("{path}:{line}: `{word}` is an old path")));
    }
    none(problems);
}

#[test]
fn old_names_are_found_when_they_come_back() {
    let source = |text: &str| Source { path: "broker/x.rs".to_owned(), text: text.to_owned() };
    assert_eq!(old_types(&source("struct Told;\npub(crate) enum Usher<T> {}\n")).len(), 2);
    assert!(old_types(&source("//! struct Guest\nstruct GuestBook; // enum Guest\nuse a::Guest;\n")).is_empty());
    let old = concat!("brok", "er/owners/mod.rs");
    assert!(
        is_old_path(old)
            && is_old_path(concat!("test", "s/siege.rs"))
            && is_old_path(concat!("brok", "er/hub/lane.rs"))
            && is_old_path(concat!("sd", "k/js/link.js"))
            && is_old_path(concat!("sd", "k/js/test/outgoing.test.js"))
            && is_old_path(concat!("sd", "k/protocol/src/frame/heard.rs"))
    );
    assert!(!is_old_path("tests/plugin_hooks.rs") && !is_old_path("sdk/roll.rs") && !is_old_path("broker"));
    let named = format!("see `{old}` and other/owners");
    assert_eq!(paths_in(&named).into_iter().filter(|(_, word)| is_old_path(word)).collect::<Vec<_>>(), [(1, old)]);
}
