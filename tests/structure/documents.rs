//! What documents name: paths, links, types and functions that must be in the tree, and how long their lines are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Source;
use super::code;

/// The endings of files of ours: by them a word in backticks is known to be a path.
const ENDINGS: [&str; 13] =
    ["rs", "md", "toml", "js", "mjs", "css", "html", "wit", "json", "svg", "txt", "snap", "wasm"];

/// Folders at the root: what begins with one of them is a path, in commands too.
const FOLDERS: [&str; 7] = ["broker/", "sdk/", "plugins/", "tests/", "benches/", "config/", ".github/"];

const LINE_MAX: usize = 120;

/// The chapters of the book.
pub(crate) const BOOK: &str = "broker/book/src";

/// A document, and where it lies from the root of the repository.
pub(crate) struct Document {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A word that a document sets as code, or a place that it links to.
#[derive(Debug, PartialEq, Eq)]
struct Mention<'a> {
    line: usize,
    word: &'a str,
    /// The path in brackets right behind it, as in "`Type::function` (`path`)".
    within: Option<&'a str>,
}

/// What the tree has: files, and what its Rust source defines.
pub(crate) struct Tree {
    root: PathBuf,
    files: BTreeSet<String>,
    types: BTreeSet<String>,
    /// Functions, constants and variants, by `Type::name` or `module::name`, with the files that define them.
    members: BTreeMap<String, BTreeSet<String>>,
}

impl Tree {
    pub(crate) fn of(root: &Path, sources: &[Source]) -> Self {
        let mut tree =
            Self { root: root.to_owned(), files: BTreeSet::new(), types: BTreeSet::new(), members: BTreeMap::new() };
        tree.list(root);
        for source in sources {
            tree.read(source);
        }
        tree
    }

    fn list(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !matches!(name.as_str(), "target" | "node_modules" | ".git") {
                    self.list(&path);
                }
            } else {
                self.files.insert(path.strip_prefix(&self.root).unwrap().to_string_lossy().into_owned());
            }
        }
    }

    fn read(&mut self, source: &Source) {
        let module = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
        let module = module.rsplit('/').next().unwrap_or_default();
        for item in code::items(&source.text) {
            if item.is_type {
                self.types.insert(item.name.clone());
            }
            self.add(item.owner.as_deref().unwrap_or(module), &item.name, source);
            // A crate gives out what it wants at its root.
            if item.owner.is_none() {
                self.add(&crate_of(&source.path), &item.name, source);
            }
        }
        self.add(&crate_of(&source.path), module, source);
    }

    fn add(&mut self, owner: &str, name: &str, source: &Source) {
        self.members.entry(format!("{owner}::{name}")).or_default().insert(source.path.clone());
    }

    /// Whether a path of a document is there: from the root, from `broker/`, or from the document's own folder. A bare
    /// file name may be that of any file.
    fn has_path(&self, document: &str, path: &str) -> bool {
        let own = document.rsplit_once('/').map_or("", |(folder, _)| folder);
        alternatives(path).iter().all(|path| {
            let bases = ["", "broker", own].map(|base| self.root.join(base).join(path));
            let is_named = |file: &String| file.rsplit('/').next() == Some(path);
            bases.iter().any(|place| place.exists()) || (!path.contains('/') && self.files.iter().any(is_named))
        })
    }

    /// What is wrong with the mention of something, if anything is.
    fn judge(&self, document: &str, mention: &Mention<'_>, types_too: bool) -> Option<String> {
        let word = mention.word.trim_end_matches("()");
        if is_path(word) {
            return (!self.has_path(document, word)).then(|| format!("there is no `{word}`"));
        }
        if let Some((owner, name)) = member(word) {
            let Some(files) = self.members.get(&format!("{owner}::{name}")) else {
                return Some(format!("nothing defines `{word}`"));
            };
            let within = mention.within.filter(|path| is_path(path))?;
            let is_there =
                files.iter().any(|file| alternatives(within).iter().any(|path| file.ends_with(path.as_str())));
            return (!is_there).then(|| format!("`{word}` is not in `{within}`"));
        }
        (types_too && is_type_name(word) && !self.types.contains(word)).then(|| format!("there is no type `{word}`"))
    }

    /// What a document names that is not there. `types_too` also asks for types that it names alone.
    pub(crate) fn problems(&self, document: &Document, types_too: bool) -> Vec<String> {
        let path = &document.path;
        let said = |line: usize, what: String| format!("{path}:{line}: {what}");
        let mut problems: Vec<String> = mentions(&document.text)
            .iter()
            .filter_map(|mention| Some(said(mention.line, self.judge(path, mention, types_too)?)))
            .collect();
        for (line, target) in links(&document.text) {
            let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
            let own = self.root.join(path);
            let place = if file.is_empty() { own } else { own.with_file_name("").join(file) };
            if !place.exists() {
                problems.push(said(line, format!("the link to `{target}` leads nowhere")));
            } else if let Some(anchor) = anchor {
                let text = std::fs::read_to_string(&place).unwrap();
                if !headings(&text).iter().any(|heading| slug(heading) == anchor) {
                    problems.push(said(line, format!("`{file}` has no heading `#{anchor}`")));
                }
            }
        }
        problems
    }
}

/// The chapters of the book, its summary among them, by their paths.
pub(crate) fn chapters(texts: Vec<(String, String)>) -> Vec<Document> {
    let is_chapter = |(path, _): &(String, String)| path.starts_with(BOOK) && path.ends_with(".md");
    texts.into_iter().filter(is_chapter).map(|(path, text)| Document { path, text }).collect()
}

/// What is wrong with the book as mdBook sees it: a chapter that the summary does not list exactly once, and a link that
/// leads out of the book.
pub(crate) fn book_problems(chapters: &[Document]) -> Vec<String> {
    let mut problems = Vec::new();
    let summary = format!("{BOOK}/SUMMARY.md");
    let listed: Vec<&str> = chapters
        .iter()
        .filter(|it| it.path == summary)
        .flat_map(|it| links(&it.text))
        .map(|(_, target)| target)
        .collect();
    for Document { path, text } in chapters {
        let name = &path[BOOK.len() + 1..];
        let times = listed.iter().filter(|target| **target == name).count();
        if *path != summary && times != 1 {
            problems.push(format!("{path}: the summary lists it {times} times"));
        }
        let depth = name.matches('/').count();
        let leaves = links(text).into_iter().filter(|(_, target)| target.matches("../").count() > depth);
        problems.extend(leaves.map(|(line, target)| format!("{path}:{line}: `{target}` leads out of the book")));
    }
    problems
}

#[test]
fn what_mdbook_would_not_show_is_found() {
    let chapter = |name: &str, text: &str| Document { path: format!("{BOOK}/{name}"), text: text.to_owned() };
    let chapters = [
        chapter("SUMMARY.md", "- [One](one.md)\n- [Again](one.md)\n- [Two](a/two.md)\n"),
        chapter("one.md", "[up](../README.md)"),
        chapter("a/two.md", "[one](../one.md)"),
        chapter("three.md", ""),
    ];
    let problems = book_problems(&chapters);
    let expected = [
        "one.md: the summary lists it 2 times",
        "one.md:1: `../README.md` leads out of the book",
        "three.md: the summary lists it 0 times",
    ];
    assert_eq!(problems, expected.map(|problem| format!("{BOOK}/{problem}")));
}

/// The crate that a source file is of: `rialto_checker` for `tests/checker/src/lib.rs`.
fn crate_of(path: &str) -> String {
    let Some((folder, _)) = path.split_once("/src/") else { return "rialto".to_owned() };
    format!("rialto_{}", folder.rsplit('/').next().unwrap_or_default())
}

/// Lines over the limit. The rows of a table and lines of one long word cannot be broken.
pub(crate) fn long_lines(document: &Document) -> Vec<String> {
    let is_long = |line: &str| {
        let cannot_break = line.starts_with('|') || !line.trim_start_matches(['-', ' ', '>']).contains(' ');
        line.chars().count() > LINE_MAX && !cannot_break
    };
    let long = document.text.lines().enumerate().filter(|(_, line)| is_long(line));
    long.map(|(index, _)| format!("{}:{}: more than {LINE_MAX} characters", document.path, index + 1)).collect()
}

/// The lines of the first code block behind a heading.
pub(crate) fn block_behind<'a>(text: &'a str, heading: &str) -> Vec<&'a str> {
    let behind = text.lines().skip_while(|line| line.trim_start_matches(['#', ' ']) != heading).skip(1);
    let inside = behind.skip_while(|line| !line.starts_with("```")).skip(1);
    inside.take_while(|line| !line.starts_with("```")).collect()
}

/// The newest section of a changelog, in its place: everything else is empty lines.
pub(crate) fn newest_section(text: &str) -> String {
    let mut sections = 0;
    let mut out = String::new();
    for line in text.lines() {
        sections += usize::from(line.starts_with("## "));
        out.push_str(if sections == 1 { line } else { "" });
        out.push('\n');
    }
    out
}

/// Everything set as code; of the lines of a code block, the words that begin with a folder of ours.
fn mentions(text: &str) -> Vec<Mention<'_>> {
    let mut found = Vec::new();
    let mut is_block = false;
    for (index, content) in text.lines().enumerate() {
        let line = index + 1;
        if content.trim_start().starts_with("```") {
            is_block = !is_block;
        } else if is_block {
            let words = content.split(|c: char| !is_path_character(c)).filter(|word| starts_in_tree(word));
            found.extend(words.map(|word| Mention { line, word, within: None }));
        } else {
            let parts: Vec<&str> = content.split('`').collect();
            for at in (1..parts.len().saturating_sub(1)).step_by(2) {
                let is_bracket = parts[at + 1] == " (" || parts[at + 1] == " in ";
                let within = parts.get(at + 2).filter(|_| is_bracket).copied();
                found.push(Mention { line, word: parts[at], within });
            }
        }
    }
    found
}

/// Links to files and headings of ours: what stands in `](…)` and is no address of the web.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for part in line.split("](").skip(1) {
            let target = part.split(')').next().unwrap_or_default();
            if !target.contains("://") {
                found.push((index + 1, target));
            }
        }
    }
    found
}

fn headings(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim()).collect()
}

/// The anchor that GitHub makes of a heading.
fn slug(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn is_path_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/._-{},".contains(c)
}

fn starts_in_tree(word: &str) -> bool {
    FOLDERS.iter().any(|folder| word.starts_with(folder))
}

/// Whether a word in backticks names a file or folder of the repository; what begins with `/` is a path of HTTP.
fn is_path(word: &str) -> bool {
    // `rialto.v1.json` is a subprotocol.
    let has_dot = |stem: &str| stem.rsplit('/').next() == Some(stem) && stem.contains('.');
    let has_ending = word
        .rsplit_once('.')
        .is_some_and(|(stem, ending)| !stem.is_empty() && !has_dot(stem) && ENDINGS.contains(&ending));
    let is_folder = word.ends_with('/');
    word.chars().all(is_path_character) && !word.starts_with('/') && (has_ending || is_folder || starts_in_tree(word))
}

/// `a/{b,c}.rs` is `a/b.rs` and `a/c.rs`.
fn alternatives(path: &str) -> Vec<String> {
    let Some((before, (inside, after))) =
        path.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    else {
        return vec![path.to_owned()];
    };
    inside.split(',').flat_map(|one| alternatives(&format!("{before}{}{after}", one.trim()))).collect()
}

/// The last two names of a path of Rust, where the word is one.
fn member(word: &str) -> Option<(&str, &str)> {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let names: Vec<&str> = word.split("::").collect();
    let [.., owner, name] = names[..] else { return None };
    names.iter().all(|name| is_name(name)).then_some((owner, name))
}

fn is_type_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.contains(|c: char| c.is_ascii_lowercase())
        && word.chars().all(|c| c.is_ascii_alphanumeric())
}

#[test]
fn what_a_document_names_and_the_tree_does_not_have_is_found() {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let sources = [
        source("broker/hub/mod.rs", "pub(crate) struct Hub;\nimpl Hub {\n    pub(crate) fn deliver(&self) {}\n}\n"),
        source(
            "broker/hub/budget.rs",
            "pub(crate) enum Plan {\n    Live,\n    Gap(u64),\n}\npub(crate) fn decide() {}\n",
        ),
    ];
    let tree = Tree::of(&crate::root(), &sources);
    let problems = |text: &str| {
        let document = Document { path: "broker/ARCHITECTURE.md".to_owned(), text: text.to_owned() };
        tree.problems(&document, true)
    };
    let good = [
        "`Hub::deliver` (`hub/mod.rs`), `budget::decide()`, `Plan::Gap`, `Plan`, `hub/`, `broker/lib.rs`, `SUMMARY.md`",
        "`tests/{integration,websocket}.rs`, `rialto.toml`, `/ws`, `application/json`, `http/1.1`, `rialto.v1.msgpack`",
        "[the tests](../tests/FAULTS.md), [a page](https://rialto.example/none), `crate::hub::Hub::deliver`",
        "```\ncargo run; tests/run --seeds 3; nowhere/at/all.rs\n```",
    ];
    for text in good {
        assert!(problems(text).is_empty(), "{text}: {:?}", problems(text));
    }
    let bad = [
        ("`hub/none.rs`", "there is no `hub/none.rs`"),
        ("`tests/{structure,nothing}.rs`", "there is no `tests/{structure,nothing}.rs`"),
        ("`elsewhere/`", "there is no `elsewhere/`"),
        ("`Hub::invent`", "nothing defines `Hub::invent`"),
        ("`budget::guess()`", "nothing defines `budget::guess`"),
        ("`Plan::Never`", "nothing defines `Plan::Never`"),
        ("`Hub::deliver` (`hub/budget.rs`)", "`Hub::deliver` is not in `hub/budget.rs`"),
        ("`Attendance`", "there is no type `Attendance`"),
        ("[gone](NONE.md)", "the link to `NONE.md` leads nowhere"),
        ("[gone](../README.md#no-such-heading)", "`../README.md` has no heading `#no-such-heading`"),
        ("```\ntests/none --all\n```", "there is no `tests/none`"),
    ];
    for (text, expected) in bad {
        let found = problems(text);
        assert!(found.len() == 1 && found[0].ends_with(expected), "{text}: {found:?}");
    }
}

#[test]
fn lines_blocks_sections_and_anchors_are_read() {
    let text = format!("{0}\n| {0} |\n[a]({1})\n", "long ".repeat(30), "x".repeat(150));
    assert_eq!(long_lines(&Document { path: "A.md".to_owned(), text }), ["A.md:1: more than 120 characters"]);
    assert_eq!(block_behind("## Order\n\ntext\n\n```text\na b\nc\n```\n\n```\nd\n```\n", "Order"), ["a b", "c"]);
    assert_eq!(newest_section("# Log\n## New\na\n## Old\nb\n"), "\n## New\na\n\n\n");
    assert_eq!(slug("Who may import whom: `a`, b"), "who-may-import-whom-a-b");
}
