//! The book: its configurations and frames are valid, its commands exist, its chapters are those of the summary, and its
//! links lead somewhere.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use rialto::Codec;
use rialto::config::Config;
use rialto_protocol::{ReceivedFrame, Request};
use serde_json::Value;

const BOOK: &str = "broker/book/src";
const SUMMARY: &str = "SUMMARY.md";

/// What a code block may be. Those in Rust are doctests of the broker.
const LANGUAGES: [&str; 6] = ["console", "js", "json", "rust", "text", "toml"];

/// The types of frames that clients send. A `presence` with a count is one that the broker sends.
const REQUESTS: [&str; 8] = ["connect", "subscribe", "unsubscribe", "publish", "call", "history", "presence", "ping"];

/// A chapter, and its path from the folder of the book.
struct Chapter {
    path: String,
    text: String,
}

/// A code block of a chapter.
struct Block {
    place: String,
    language: String,
    text: String,
}

impl Chapter {
    /// The lines that are prose, with their numbers, and the code blocks.
    fn split(&self) -> (Vec<(usize, &str)>, Vec<Block>) {
        let (mut prose, mut blocks) = (Vec::new(), Vec::new());
        let mut open: Option<Block> = None;
        for (index, line) in self.text.lines().enumerate() {
            let fence = line.trim_start().strip_prefix("```");
            match (open.take(), fence) {
                (None, None) => prose.push((index + 1, line)),
                (None, Some(language)) => {
                    let place = format!("{BOOK}/{}:{}", self.path, index + 1);
                    open = Some(Block { place, language: language.to_owned(), text: String::new() });
                }
                (Some(block), Some(_)) => blocks.push(block),
                (Some(mut block), None) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                    open = Some(block);
                }
            }
        }
        assert!(open.is_none(), "{}: a code block is not closed", self.path);
        (prose, blocks)
    }

    /// The links to chapters, with their lines: what is in `](…)` and not an address of the web.
    fn links(&self) -> Vec<(usize, &str)> {
        let mut found = Vec::new();
        for (number, line) in self.split().0 {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            found.extend(targets.map(|(target, _)| (number, target)).filter(|(_, target)| !target.contains("://")));
        }
        found
    }

    /// The anchors of its headings, as mdBook makes them.
    fn anchors(&self) -> Vec<String> {
        let prose = self.split().0;
        let headings = prose.into_iter().filter_map(|(_, line)| line.strip_prefix('#'));
        headings.map(|heading| anchor(heading.trim_start_matches('#').trim())).collect()
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// All chapters and the summary, by their paths.
fn chapters() -> Vec<Chapter> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(BOOK);
    let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push(Chapter { path: path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(), text });
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(found.len() > 20, "only {} chapters", found.len());
    found
}

/// All code blocks in one language, and whether each is of a chapter on the protocol.
fn blocks(language: &str) -> Vec<(Block, bool)> {
    let mut found = Vec::new();
    for chapter in chapters() {
        let is_protocol = chapter.path.starts_with("protocol");
        found.extend(chapter.split().1.into_iter().map(|block| (block, is_protocol)));
    }
    found.retain(|(block, _)| block.language == language);
    found
}

/// The path that a link of a chapter leads to, from the folder of the book; none if it leaves the book.
fn resolve(chapter: &str, file: &str) -> Option<String> {
    let mut parts: Vec<&str> = chapter.split('/').collect();
    // The chapter's own name.
    parts.pop();
    for part in file.split('/') {
        match part {
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn every_code_block_has_a_language() {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for block in chapters().iter().flat_map(|chapter| chapter.split().1) {
        let language = block.language.split(',').next().unwrap_or_default();
        match LANGUAGES.iter().find(|known| **known == language) {
            Some(known) => {
                seen.insert(*known);
            }
            None => problems.push(format!("{}: {:?} is not one of {LANGUAGES:?}", block.place, block.language)),
        }
    }
    none(&problems);
    assert_eq!(seen, BTreeSet::from(LANGUAGES), "the book has blocks in each of them");
}

#[test]
fn configurations_are_valid() {
    let blocks = blocks("toml");
    assert!(blocks.len() > 8, "only {} configurations", blocks.len());
    for (block, _) in blocks {
        let Err(problems) = Config::parse(&block.text, Path::new("config/book.toml")) else { continue };
        // Nobody's certificate is in the repository.
        let is_certificate = |title: &str| title.starts_with("no certificate at /") || title.starts_with("no key at /");
        let is_fine = problems.iter().all(|problem| is_certificate(problem.title()));
        assert!(is_fine, "{}:\n{}", block.place, problems.render(false));
    }
}

#[test]
fn frames_are_valid() {
    let (mut requests, mut pushes) = (0, 0);
    for (block, is_protocol) in blocks("json") {
        let place = &block.place;
        let values = serde_json::Deserializer::from_str(&block.text).into_iter::<Value>();
        let values: Result<Vec<Value>, _> = values.collect();
        let values = values.unwrap_or_else(|error| panic!("{place}: {error}"));
        assert!(!values.is_empty(), "{place}: no value");
        for value in values.iter().filter(|_| is_protocol) {
            let kind = value["type"].as_str().unwrap_or_else(|| panic!("{place}: a frame without a type: {value}"));
            let frame = Bytes::from(value.to_string());
            if REQUESTS.contains(&kind) && value.get("count").is_none() {
                let decoded = Request::decode(Codec::Json, &frame);
                assert!(decoded.is_ok(), "{place}: {value}: {decoded:?}");
                requests += 1;
            } else {
                let decoded = ReceivedFrame::decode(Codec::Json, &frame);
                let is_known = !matches!(decoded, Err(_) | Ok(ReceivedFrame::Unknown { .. }));
                assert!(is_known || kind.starts_with("x-"), "{place}: {value}: {decoded:?}");
                pushes += 1;
            }
        }
    }
    assert!(requests >= 4 && pushes >= 4, "{requests} requests, {pushes} pushes");
}

#[test]
fn the_summary_lists_every_chapter_once() {
    let chapters = chapters();
    let summary = chapters.iter().find(|chapter| chapter.path == SUMMARY).expect("there is a summary");
    let mut listed: Vec<&str> = summary.links().into_iter().map(|(_, target)| target).collect();
    listed.sort_unstable();
    let there: Vec<&str> =
        chapters.iter().map(|chapter| chapter.path.as_str()).filter(|path| *path != SUMMARY).collect();
    assert_eq!(listed, there);
}

#[test]
fn links_lead_to_chapters_and_headings() {
    let chapters = chapters();
    let (mut problems, mut files, mut anchors) = (Vec::new(), 0, 0);
    for chapter in &chapters {
        for (line, target) in chapter.links() {
            let place = format!("{BOOK}/{}:{line}", chapter.path);
            let (file, heading) = target.split_once('#').map_or((target, None), |(file, of)| (file, Some(of)));
            let path = if file.is_empty() { Some(chapter.path.clone()) } else { resolve(&chapter.path, file) };
            let found = chapters.iter().find(|other| Some(&other.path) == path.as_ref());
            files += 1;
            match (found, heading) {
                (None, _) => problems.push(format!("{place}: `{target}` is not a chapter")),
                (Some(found), Some(heading)) => {
                    anchors += 1;
                    if !found.anchors().iter().any(|anchor| anchor == heading) {
                        problems.push(format!("{place}: `{}` has no heading `#{heading}`", found.path));
                    }
                }
                (Some(_), None) => {}
            }
        }
    }
    none(&problems);
    assert!(files > 40 && anchors > 8, "{files} links, {anchors} to headings");
}

/// What a command prints for `--help` or `-h`.
fn help(command: &[&str], option: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rialto")).args(command).arg(option).output().unwrap();
    assert!(output.status.success(), "rialto {command:?} {option}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands below a command.
fn commands(command: &[&str]) -> Vec<String> {
    let help = help(command, "-h");
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // Texts that go on are indented further.
    let names = listed.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn is_option(word: &str) -> bool {
    word.starts_with("--")
}

/// What is wrong with the words behind `rialto`, if anything is.
fn judge(words: &[&str]) -> Option<String> {
    let mut command: Vec<&str> = Vec::new();
    let mut below = commands(&command);
    let mut words = words.iter().copied().peekable();
    while let Some(word) = words.next_if(|word| below.iter().any(|name| name == word)) {
        command.push(word);
        below = commands(&command);
    }
    let next = words.peek().copied();
    // Without a command it starts the broker; `rialto plugin` alone does nothing.
    let is_complete = if command.is_empty() { next.is_none_or(is_option) } else { below.is_empty() };
    if !is_complete {
        return Some(format!("`rialto {}` has no command `{}`", command.join(" "), next.unwrap_or_default()));
    }
    let help = help(&command, "--help");
    let known: Vec<&str> = help.split_whitespace().map(|word| word.trim_matches([',', '[', ']'])).collect();
    let unknown = words.find(|word| is_option(word) && !known.contains(word))?;
    Some(format!("`rialto {}` has no option `{unknown}`", command.join(" ")))
}

#[test]
fn commands_and_their_options_exist() {
    assert!(commands(&[]).iter().any(|name| name == "pub"), "the scan of the help is broken");
    assert!(judge(&["publish", "news"]).is_some_and(|problem| problem.contains("no command `publish`")));
    assert!(judge(&["plugin", "destroy"]).is_some_and(|problem| problem.contains("no command `destroy`")));
    assert!(judge(&["sub", "news", "--first", "3"]).is_some_and(|problem| problem.contains("no option `--first`")));
    let (mut problems, mut checked) = (Vec::new(), 0);
    for (block, _) in blocks("console") {
        let typed = block.text.lines().filter_map(|line| line.strip_prefix("$ "));
        for line in typed.flat_map(|line| line.split(['|', '&', ';'])) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let Some(("rialto", words)) = words.split_first().map(|(first, words)| (*first, words)) {
                checked += 1;
                problems.extend(judge(words).map(|problem| format!("{}: {problem}", block.place)));
            }
        }
    }
    none(&problems);
    assert!(checked > 20, "only {checked} commands");
}
