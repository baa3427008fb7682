//! The book: its configurations and frames are valid, and its commands exist. `tests/structure/` checks its links and paths.

use std::collections::BTreeSet;
use std::process::Command;

use bytes::Bytes;
use rialto::Codec;
use rialto::config::Config;
use rialto_protocol::{ReceivedFrame, Request};
use serde_json::Value;

use crate::support::{RIALTO, root};

const BOOK: &str = "broker/book/src";

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
    fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (index, line) in self.text.lines().enumerate() {
            let fence = line.trim_start().strip_prefix("```");
            match (open.take(), fence) {
                (None, None) => {}
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
        blocks
    }
}

/// All chapters, as the summary lists them; `tests/structure/` makes sure that it lists each.
fn chapters() -> Vec<Chapter> {
    let root = root().join(BOOK);
    let summary = std::fs::read_to_string(root.join("SUMMARY.md")).unwrap();
    let paths = summary.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(path, _)| path.to_owned());
    let read = |path: String| Chapter { text: std::fs::read_to_string(root.join(&path)).unwrap(), path };
    let found: Vec<Chapter> = paths.map(read).collect();
    assert!(found.len() > 20, "only {} chapters", found.len());
    found
}

/// All code blocks in one language, and whether each is of a chapter on the protocol.
fn blocks(language: &str) -> Vec<(Block, bool)> {
    let mut found = Vec::new();
    for chapter in chapters() {
        let is_protocol = chapter.path.starts_with("protocol");
        found.extend(chapter.blocks().into_iter().map(|block| (block, is_protocol)));
    }
    found.retain(|(block, _)| block.language == language);
    found
}

fn none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn every_code_block_has_a_language() {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for block in chapters().iter().flat_map(|chapter| chapter.blocks()) {
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
        let Err(problems) = Config::parse(&block.text, &root().join("config/book.toml")) else { continue };
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

/// What a command prints for `--help` or `-h`.
fn help(command: &[&str], option: &str) -> String {
    let output = Command::new(RIALTO).args(command).arg(option).output().unwrap();
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
