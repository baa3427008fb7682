//! Rust source without comments, texts and tests, and the paths from the crate root in it. It is no parser: it knows just
//! enough not to be fooled by what a person writes.

/// A name right below the crate root that the code uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) line: usize,
    pub(crate) name: String,
}

/// Code with its line breaks, everything else that is not code taken out.
pub(crate) struct Code(String);

impl Code {
    pub(crate) fn of(source: &str) -> Self {
        let bare = bare(source);
        let end = bare.find("#[cfg(test)]").unwrap_or(bare.len());
        Self(bare[..end].to_owned())
    }

    /// The lines that hold a name.
    pub(crate) fn lines_with(&self, name: &str) -> impl Iterator<Item = usize> {
        let found = self.0.lines().enumerate().filter(move |(_, line)| line.contains(name));
        found.map(|(index, _)| index + 1)
    }

    /// The lines with their numbers.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.0.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// What the code uses of the crate root: by `crate::`, or by so many `super::` as lead there from `depth` below it.
    pub(crate) fn uses(&self, depth: usize) -> Vec<Use> {
        let mut uses = Vec::new();
        let up = "super::".repeat(depth);
        for start in ["crate::", up.as_str()] {
            for (at, _) in self.0.match_indices(start) {
                let before = self.0[..at].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$' || c == ':') {
                    continue;
                }
                let rest = &self.0[at + start.len()..];
                for (offset, name) in heads(rest) {
                    let line = 1 + self.0[..at + start.len() + offset].matches('\n').count();
                    uses.push(Use { line, name });
                }
            }
        }
        uses.retain(|one| one.name != "super" && one.name != "self");
        uses
    }

    /// Every path that begins with `crate`, `self` or `super`, each path of a group in braces by itself, with its line.
    pub(crate) fn paths(&self) -> Vec<(usize, Vec<String>)> {
        let mut found = Vec::new();
        for start in ["crate::", "self::", "super::"] {
            for (at, _) in self.0.match_indices(start) {
                let before = self.0[..at].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$' || c == ':') {
                    continue;
                }
                let line = 1 + self.0[..at].matches('\n').count();
                let mut paths = Vec::new();
                tree(&self.0[at..], &[], &mut paths);
                found.extend(paths.into_iter().map(|path| (line, path)));
            }
        }
        found
    }

    /// The paths of all `pub use` statements.
    pub(crate) fn re_exports(&self) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        for (at, _) in self.0.match_indices(" use ") {
            let line = self.0[..at].rsplit('\n').next().unwrap_or_default().trim_start();
            if line == "pub" || (line.starts_with("pub(") && line.ends_with(')')) {
                tree(&self.0[at + " use ".len()..], &[], &mut found);
            }
        }
        found
    }
}

/// Adds the paths of a tree as in `use a::{b, c::{self, D}}` to `found`, and returns how many bytes it is long.
fn tree(rest: &str, before: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = before.to_vec();
    let mut at = 0;
    loop {
        at += rest[at..].len() - rest[at..].trim_start().len();
        if rest[at..].starts_with('{') {
            at += 1;
            while !rest[at..].trim_start().starts_with('}') && at < rest.len() {
                at += tree(&rest[at..], &path, found);
                at += rest[at..].find([',', '}']).map_or(rest.len() - at, |to| to);
                at += usize::from(rest[at..].starts_with(','));
            }
            return at + rest[at..].find('}').map_or(0, |to| to + 1);
        }
        let name: String = rest[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        at += name.len();
        let is_the_path_itself = name == "self" && !path.is_empty();
        if !name.is_empty() && !is_the_path_itself {
            path.push(name);
        }
        if !rest[at..].starts_with("::") {
            found.push(path);
            return at;
        }
        at += 2;
    }
}

/// The first name of a path, or of each path of a group in braces.
fn heads(rest: &str) -> Vec<(usize, String)> {
    let name = |at: usize| {
        let name: String = rest[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        (!name.is_empty()).then_some((at, name))
    };
    if !rest.starts_with('{') {
        return name(0).into_iter().collect();
    }
    let mut found = Vec::new();
    let (mut depth, mut begins) = (0, false);
    for (at, c) in rest.char_indices() {
        match c {
            '{' => {
                depth += 1;
                begins = depth == 1;
            }
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' => begins = depth == 1,
            c if c.is_whitespace() => {}
            _ if begins => {
                found.extend(name(at));
                begins = false;
            }
            _ => {}
        }
    }
    found
}

/// Takes comments and the content of texts out; line breaks stay, so that lines keep their numbers.
fn bare(source: &str) -> String {
    let mut out = String::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("r#\"") {
            rest.find("\"#").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            text_length(rest)
        } else if let Some(length) = character_length(rest) {
            length
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.extend(rest[..length].chars().filter(|c| *c == '\n'));
        rest = &rest[length..];
    }
    out
}

fn text_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character in quotes; a lifetime is none.
fn character_length(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    let end = if first == '\\' { inside[2..].find('\'')? + 2 } else { first.len_utf8() };
    inside[end..].starts_with('\'').then_some(end + 2)
}

#[test]
fn uses_are_found_wherever_they_stand() {
    let source = r##"//! crate::nothing
use crate::topic::{Topic, Pattern};
use crate::{hub::{Hub, Link}, message::Message, Broker};
use super::super::engine::Engine;
use super::near;
/* crate::comment */
const A: &str = "crate::text // "; const Q: char = '"'; const B: u8 = crate::clock::X;
const R: &str = r#"crate::raw"#;
pub(crate) fn f<'a>(x: &'a crate::store::Y) { $crate::macros!() }
#[cfg(test)]
mod tests { use crate::server::Z; }
"##;
    let code = Code::of(source);
    let mut found: Vec<(usize, String)> = code.uses(2).into_iter().map(|Use { line, name }| (line, name)).collect();
    found.sort();
    let expected = [(2, "topic"), (3, "Broker"), (3, "hub"), (3, "message"), (4, "engine"), (7, "clock"), (9, "store")];
    assert_eq!(found, expected.map(|(line, name)| (line, name.to_owned())));
    assert_eq!(code.lines_with("Engine").collect::<Vec<_>>(), [4]);
}

/// Something that code defines.
pub(crate) struct Item {
    /// The type whose function, constant, variant or field it is; none at the level of the module.
    pub(crate) owner: Option<String>,
    pub(crate) name: String,
    pub(crate) is_type: bool,
}

/// What a source defines: types, functions, constants, and what belongs to types. Blocks are told by rustfmt's indents.
pub(crate) fn items(source: &str) -> Vec<Item> {
    let code = bare(source);
    let mut found = Vec::new();
    // The type whose block is open, how far that is indented, and whether it is an `enum`.
    let mut open: Option<(String, usize, bool)> = None;
    for line in code.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if open.as_ref().is_some_and(|(_, level, _)| indent <= *level && text.starts_with('}')) {
            open = None;
            continue;
        }
        let text = without_modifiers(text);
        let (word, rest) = text.split_once([' ', '<']).unwrap_or((text, ""));
        let owner = open.as_ref().map(|(name, ..)| name.clone());
        match word {
            "struct" | "enum" | "trait" | "type" | "union" => {
                let name = name_at(rest);
                if text.ends_with('{') {
                    open = Some((name.clone(), indent, word == "enum"));
                }
                found.push(Item { owner: None, name, is_type: true });
            }
            "impl" if text.ends_with('{') => open = Some((implementer(text), indent, false)),
            "fn" | "const" | "static" => found.push(Item { owner, name: name_at(rest), is_type: false }),
            _ => {
                let is_variant = text.starts_with(|c: char| c.is_ascii_uppercase());
                if open.as_ref().is_some_and(|(_, level, is_enum)| *is_enum && indent == level + 4) && is_variant {
                    found.push(Item { owner, name: name_at(text), is_type: true });
                }
            }
        }
    }
    found
}

/// A line without `pub(…)`, `async`, `unsafe` and `const` before what it defines.
fn without_modifiers(line: &str) -> &str {
    let mut text = line;
    loop {
        let rest = if let Some(rest) = text.strip_prefix("pub(") {
            rest.split_once(") ").map(|(_, rest)| rest)
        } else {
            let is_function = text.contains(" fn ");
            let words = ["pub ", "async ", concat!("un", "safe "), "const "];
            let words = if is_function { &words[..] } else { &words[..1] };
            words.iter().find_map(|word| text.strip_prefix(word))
        };
        let Some(rest) = rest else { return text };
        text = rest;
    }
}

fn name_at(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The type of `impl<T> Trait<X> for path::Type<T> where … {`.
fn implementer(line: &str) -> String {
    let head = line.trim_start_matches("impl").trim_end_matches('{');
    let head = if head.starts_with('<') { behind_brackets(head) } else { head };
    let head = head.split_once(" for ").map_or(head, |(_, of)| of);
    let path = head.trim().trim_start_matches('&').split(['<', ' ']).next().unwrap_or_default();
    path.rsplit("::").next().unwrap_or_default().to_owned()
}

/// What follows the pair of angle brackets that a text begins with.
fn behind_brackets(text: &str) -> &str {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        depth += i32::from(c == '<');
        depth -= i32::from(c == '>' && !text[..at].ends_with('-'));
        if depth == 0 {
            return &text[at + 1..];
        }
    }
    ""
}

#[test]
fn items_are_found_with_the_type_they_belong_to() {
    let source = "pub(crate) struct One;\npub enum Two {\n    Left,\n    Right { x: u8 },\n}\n\
                  impl<F: Fn() -> u8> std::fmt::Debug for two::Two<F> {\n    fn fmt(&self) {\n        struct In;\n    }\n}\n\
                  impl One {\n    const MAX: usize = 1;\n    pub(crate) async fn go() {}\n}\n\
                  pub trait Log {\n    fn begin(&self);\n}\nconst fn free() {}\n";
    let found: Vec<String> = items(source)
        .into_iter()
        .map(|Item { owner, name, is_type }| {
            format!("{}{name}{}", owner.map_or(String::new(), |o| o + "::"), if is_type { "!" } else { "" })
        })
        .collect();
    let expected = [
        "One!",
        "Two!",
        "Two::Left!",
        "Two::Right!",
        "Two::fmt",
        "In!",
        "One::MAX",
        "One::go",
        "Log!",
        "Log::begin",
        "free",
    ];
    assert_eq!(found, expected);
}
