//! Redacts everything of a file that may be secret before it is shown: what is not known to be harmless is hidden.

use std::net::SocketAddr;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::exposure::{Exposures, KEY_PREFIX, looks_random};
use super::section::Value;

/// Values that are never secret, and that a problem may be about.
const HARMLESS: &[&str] = &["nan", "+nan", "-nan", "inf", "+inf", "-inf", "true", "false", "{", "["];

/// The least length of what follows the prefix of a key of the HTTP API.
const KEY_CHARS_MIN: usize = 24;

/// The text with `*` for every byte that may be part of a secret: comments, and the values of all keys but known ones that
/// cannot hold any. Other bytes keep their offsets; spaces, line ends and quotes stay.
pub(super) fn secrets(text: &str, document: &DeTable) -> String {
    let mut redaction = Redaction { text, exposures: Exposures::new(), is_shown: vec![false; text.len()] };
    redaction.show_lines(document);
    let mut hidden = Vec::new();
    redaction.show_table(&mut Vec::new(), document, &mut hidden);
    passwords(text, unfinished_password, &mut hidden);
    api_keys(text, &mut hidden);
    for range in hidden {
        redaction.set(range, false);
    }
    redaction.finish()
}

/// A text about a file, without what is a secret wherever it stands: passwords in addresses and keys of the HTTP API.
pub(super) fn in_message(text: &str) -> String {
    let mut hidden = Vec::new();
    passwords(text, |_| None, &mut hidden);
    api_keys(text, &mut hidden);
    let mut redaction = Redaction { text, exposures: Exposures::none(), is_shown: vec![true; text.len()] };
    for range in hidden {
        redaction.set(range, false);
    }
    redaction.finish()
}

/// A text of which parts are shown.
struct Redaction<'t> {
    text: &'t str,
    exposures: Exposures,
    /// For each byte of the text.
    is_shown: Vec<bool>,
}

impl<'t> Redaction<'t> {
    fn set(&mut self, range: Range<usize>, is_shown: bool) {
        if let Some(bytes) = self.is_shown.get_mut(range) {
            bytes.fill(is_shown);
        }
    }

    fn finish(self) -> String {
        let mut out = String::with_capacity(self.text.len());
        for (at, character) in self.text.char_indices() {
            if self.is_shown[at] || matches!(character, '\n' | '\r' | '\t' | ' ' | '"' | '\'') {
                out.push(character);
            } else {
                out.extend(std::iter::repeat_n('*', character.len_utf8()));
            }
        }
        out
    }

    /// Line by line, because the document is incomplete after a syntax error: headers, keys, and values of known keys.
    fn show_lines(&mut self, document: &DeTable) {
        let (mut at, mut section) = (0, Vec::new());
        for line in self.text.split_inclusive('\n') {
            let indent = line.len() - line.trim_start().len();
            match header(line) {
                Some((parts, end)) if self.exposures.has_section(&parts) || has_table(document, &parts) => {
                    if !parts.iter().any(|part| looks_random(part)) {
                        self.set(at + indent..at + end, true);
                    }
                    section = parts;
                }
                _ => self.show_line(line, at, &section),
            }
            at += line.len();
        }
    }

    /// A line `key = value`, which may be damaged.
    fn show_line(&mut self, line: &'t str, at: usize, section: &[&'t str]) {
        let content = line.split('#').next().unwrap_or_default();
        let (key, value) = match content.split_once('=') {
            Some((key, _)) if is_key(key) => (key, key.len() + 1),
            _ => {
                // A known key in front of something else.
                let key = content.trim_start();
                let key = key.split(|c: char| !is_bare(c)).next().unwrap_or_default();
                let start = line.len() - line.trim_start().len();
                if key.is_empty() || self.exposures.of(&[section, &[key][..]].concat()).is_none() {
                    return;
                }
                (key, start + key.len())
            }
        };
        let parts: Vec<&str> = key.split('.').map(|part| part.trim().trim_matches(['"', '\''])).collect();
        let rest = &content[value.min(content.len())..];
        let written = rest.trim_start_matches([':', ' ', '\t']);
        let start = value + rest.len() - written.len();
        let written = &written[..first_value(written)];
        let exposure = self.exposures.of(&[section, &parts[..]].concat());
        // What ends with `=` may be base64.
        let is_key = exposure.is_some() || !written.trim_start_matches('=').is_empty();
        if is_key && !parts.iter().any(|part| looks_random(part)) {
            self.set(at..at + start, true);
        }
        if HARMLESS.contains(&written) || exposure.is_some_and(|exposure| exposure.shows_unread(written)) {
            self.set(at + start..at + start + written.len(), true);
        }
    }

    /// Value by value, which finds values that span lines. What must not be shown is added to `hidden`.
    fn show_table<'d>(&mut self, path: &mut Vec<&'d str>, table: &'d DeTable, hidden: &mut Vec<Range<usize>>) {
        for (key, value) in table.iter() {
            path.push(key.get_ref().as_ref());
            if looks_random(key.get_ref()) {
                hidden.push(key.span());
            } else if self.exposures.has(&path[..path.len() - 1]) {
                self.set(key.span(), true);
            }
            self.show_value(path, value, hidden);
            path.pop();
        }
    }

    fn show_value<'d>(&mut self, path: &mut Vec<&'d str>, value: &'d Value, hidden: &mut Vec<Range<usize>>) {
        let exposure = self.exposures.of(path);
        let is_shown = match value.get_ref() {
            DeValue::Table(_) | DeValue::Array(_) => {
                self.show_structure(path, value, hidden);
                match value.get_ref() {
                    DeValue::Table(table) => self.show_table(path, table, hidden),
                    DeValue::Array(array) => array.iter().for_each(|value| self.show_value(path, value, hidden)),
                    _ => {}
                }
                return;
            }
            DeValue::String(text) => exposure.is_some_and(|exposure| exposure.shows(text)) || is_address(path, text),
            DeValue::Boolean(_) => true,
            DeValue::Float(float) if HARMLESS.contains(&float.as_str()) => true,
            _ => exposure.is_some(),
        };
        match is_shown {
            true => self.set(value.span(), true),
            false => hidden.push(value.span()),
        }
    }

    /// The brackets, commas and the like of a value that is written in one place.
    fn show_structure(&mut self, path: &[&str], value: &Value, hidden: &mut Vec<Range<usize>>) {
        let span = value.span();
        let written = self.text.get(span.clone()).unwrap_or_default();
        let is_inline = match value.get_ref() {
            DeValue::Table(_) => written.starts_with('{'),
            _ => written.starts_with('[') && !written.starts_with("[["),
        };
        if is_inline && self.exposures.has(path) {
            for (at, _) in written.match_indices(['[', ']', '{', '}', ',', '=']) {
                self.set(span.start + at..span.start + at + 1, true);
            }
            comments(written, span.start, hidden);
        }
    }
}

/// The parts of the name of a section in a line like `[plugin.chat]`, whose last bracket may be missing, and where it ends.
fn header(line: &str) -> Option<(Vec<&str>, usize)> {
    let name = line.trim_start().strip_prefix('[')?;
    let name = name.strip_prefix('[').unwrap_or(name);
    let start = line.len() - name.len();
    let length = name.find([']', '#', '\n', '\r']).unwrap_or(name.len());
    let parts: Vec<&str> = name[..length].split('.').map(str::trim).collect();
    let is_name = parts.iter().all(|part| !part.is_empty() && part.chars().all(is_bare));
    let close = name[length..].bytes().take_while(|byte| *byte == b']').count();
    is_name.then_some((parts, start + length + close))
}

/// Whether the document has a section of this name.
fn has_table(document: &DeTable, parts: &[&str]) -> bool {
    let Some((first, rest)) = parts.split_first() else { return true };
    let inside = |value: &Value| match value.get_ref() {
        DeValue::Table(table) => has_table(table, rest),
        DeValue::Array(array) => {
            array.iter().any(|value| value.get_ref().as_table().is_some_and(|table| has_table(table, rest)))
        }
        _ => false,
    };
    document.get(*first).is_some_and(inside)
}

/// Whether an unknown key, perhaps a misspelt one, has an address, which is no secret.
fn is_address(path: &[&str], text: &str) -> bool {
    path.first() != Some(&"plugin") && text.parse::<SocketAddr>().is_ok()
}

/// Whether this is a key: names without quotes, or with them, joined by dots.
fn is_key(text: &str) -> bool {
    text.split('.').all(|part| {
        let part = part.trim();
        let quoted = |quote| part.len() >= 2 && part.starts_with(quote) && part.ends_with(quote);
        (!part.is_empty() && part.chars().all(is_bare)) || quoted('"') || quoted('\'')
    })
}

/// Whether a key with this character needs no quotes (TOML, "Keys").
fn is_bare(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_')
}

/// Comments within a value, outside of strings.
fn comments(value: &str, start: usize, hidden: &mut Vec<Range<usize>>) {
    let mut rest = value;
    while let Some(found) = rest.find(['"', '\'', '#']) {
        let at = start + value.len() - rest.len() + found;
        rest = &rest[found..];
        let length = match rest.as_bytes()[0] {
            b'#' => {
                let length = rest.find('\n').unwrap_or(rest.len());
                hidden.push(at..at + length);
                length
            }
            _ => string_length(rest),
        };
        rest = &rest[length..];
    }
}

/// The length of the value that a line begins with. What follows it may be anything.
fn first_value(line: &str) -> usize {
    match line.as_bytes().first() {
        Some(b'"' | b'\'') => string_length(line),
        Some(b'[') => line.find(']').map_or(line.len(), |end| end + 1),
        _ => line.find(char::is_whitespace).unwrap_or(line.len()),
    }
}

/// The length of the string that a text begins with, quotes included.
fn string_length(text: &str) -> usize {
    let quote = &text[..1];
    let close = if text.starts_with(&quote.repeat(3)) { quote.repeat(3) } else { quote.to_owned() };
    let mut at = close.len();
    while at < text.len() && !text[at..].starts_with(&close) {
        let is_escape = quote == "\"" && text[at..].starts_with('\\');
        at = text.ceil_char_boundary(at + if is_escape { 2 } else { 1 });
    }
    (at + close.len()).min(text.len())
}

/// The part between `://` and `@`, which comes before a path; or else what `other` says.
fn passwords(text: &str, other: fn(&str) -> Option<usize>, hidden: &mut Vec<Range<usize>>) {
    for (at, mark) in text.match_indices("://") {
        let start = at + mark.len();
        let authority = text[start..].split(['/', '"', '\'', '\n']).next().unwrap_or_default();
        if let Some(length) = authority.rfind('@').or_else(|| other(authority)) {
            hidden.push(start..start + length);
        }
    }
}

/// The length of a user and password that end somewhere else: what is behind the colon is no port.
fn unfinished_password(authority: &str) -> Option<usize> {
    let (_, port) = authority.trim_end().rsplit_once(':')?;
    (!port.ends_with(']') && !port.bytes().all(|byte| byte.is_ascii_digit())).then_some(authority.len())
}

/// Keys of the HTTP API anywhere.
fn api_keys(text: &str, hidden: &mut Vec<Range<usize>>) {
    for (at, prefix) in text.match_indices(KEY_PREFIX) {
        let start = at + prefix.len();
        let length = text[start..].find(|c: char| !is_bare(c)).unwrap_or(text.len() - start);
        if length >= KEY_CHARS_MIN {
            hidden.push(start..start + length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_out_secrets_in_place() {
        let cases = [
            ("[server]\nlog = \"info\"\n", "[server]\nlog = \"info\"\n"),
            ("log = \"info\"\n", "log = \"****\"\n"),
            ("api_key = \"hunter2\"\n", "api_key = \"*******\"\n"),
            ("api_key = hunter2\n", "api_key = *******\n"),
            ("[api]\nkeys = [{ sha256 = \"b\", x = \"c\" }]\n", "[api]\nkeys = [{ sha256 = \"*\", x = \"*\" }]\n"),
            ("[api]\nkeys = [{ sha256 = \"b\n", "[api]\nkeys = [{ sha256 = \"*\n"),
            ("[api]\nkeys = [\"hunter2\"]\n", "[api]\nkeys = [\"*******\"]\n"),
            (
                "[plugin.a]\npath = \"rialto_abcdefghijklmnopqrstuvwx\"",
                "[plugin.a]\npath = \"rialto_************************\"",
            ),
            ("[plugin.a]\npath = \"rialto_plugin.wasm\"", "[plugin.a]\npath = \"rialto_plugin.wasm\""),
            ("# admin-token = \"x\"\n", "* *********** * \"*\"\n"),
            ("[plugin.a.config]\nx = \"é\"\n[b]\nc = 1\n", "[plugin.a.config]\nx = \"**\"\n[b]\nc = *\n"),
            ("[plugin.a.config]\nx = nan\nhunter2\n", "[plugin.a.config]\nx = nan\n*******\n"),
            ("[plugin.a]\nconfig.x = \"s\"\n", "[plugin.a]\nconfig.x = \"*\"\n"),
            ("[plugin.a]\nconfig = { x = \"s\" }\n", "[plugin.a]\nconfig = { * * \"*\" *\n"),
            ("[plugin.a.config]\nx = '''\n[b]\nab=\n'''\n", "[plugin.a.config]\nx = '''\n***\n***\n'''\n"),
            (
                "[server]\nlisten = [ # hunter2\n\"a#b\", # x\n] # y\n",
                "[server]\nlisten = [ * *******\n\"a#b\", * *\n] * *\n",
            ),
            (
                "[server]\nallowed_origins = \"https://me:hunter2@a.b\"\n",
                "[server]\nallowed_origins = \"https://**********@a.b\"\n",
            ),
            ("[server]\nlisten: hunter2\ntoken: x\n", "[server]\nlisten: hunter2\n****** *\n"),
            ("[server\nlog = info\n[plugin.a\nconfig = x\n", "[server\nlog = info\n[plugin.a\nconfig = *\n"),
            ("server.log = \"a\"\nserver.lag = \"b\"\n", "server.log = \"a\"\nserver.lag = \"*\"\n"),
        ];
        for (text, expected) in cases {
            let (document, _) = DeTable::parse_recoverable(text);
            assert_eq!(secrets(text, document.get_ref()), expected);
        }
    }

    #[test]
    fn messages_have_no_passwords() {
        for (text, expected) in [
            ("no plugin at https://me:pw@host/x.wasm", "no plugin at https://*****@host/x.wasm"),
            ("unknown key `rialto_abcdefghijklmnopqrstuvwx`", "unknown key `rialto_************************`"),
            ("nothing of it", "nothing of it"),
        ] {
            assert_eq!(in_message(text), expected);
        }
    }
}
