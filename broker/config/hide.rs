//! Redacts values that may be secret before a file is shown; better too many than too few.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::section::Value;

/// The value of a key whose name contains one of these is not shown.
const SECRET_WORDS: &[&str] =
    &["secret", "token", "passw", "passphrase", "credential", "private", "api_key", "apikey", "sha256"];

/// Values that are never secret, and that a problem may be about.
const HARMLESS: &[&str] = &["nan", "+nan", "-nan", "inf", "+inf", "-inf", "true", "false", "{", "["];

/// How keys of the HTTP API begin, and their least length.
const KEY_PREFIX: &str = "rialto_";
const KEY_CHARS_MIN: usize = 24;

/// The text with `*` for every byte of a plugin's own settings, of values with the name of a secret, and of passwords in
/// addresses. Other bytes keep their offsets.
pub(super) fn secrets(text: &str, document: &DeTable) -> String {
    let mut hidden = Vec::new();
    hide_lines(text, &mut hidden);
    hide_values(document, false, &mut hidden);
    hide_passwords(text, &mut hidden);
    hide_keys(text, &mut hidden);
    hidden.sort_by_key(|range| range.start);
    let mut out = String::with_capacity(text.len());
    for range in hidden {
        // An earlier range may have covered it.
        let start = range.start.max(out.len());
        let Some(secret) = text.get(start..range.end) else {
            continue;
        };
        out.push_str(&text[out.len()..start]);
        for character in secret.chars() {
            match character {
                '\n' | '\r' | ' ' | '"' | '\'' => out.push(character),
                _ => out.extend(std::iter::repeat_n('*', character.len_utf8())),
            }
        }
    }
    out.push_str(&text[out.len()..]);
    out
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    SECRET_WORDS.iter().any(|word| name.contains(word)) || name == "key" || name.ends_with("_key")
}

/// Line by line, because the document is incomplete after a syntax error.
fn hide_lines(text: &str, hidden: &mut Vec<Range<usize>>) {
    let (mut at, mut in_settings) = (0, false);
    for line in text.split_inclusive('\n') {
        let bare = line.trim_start().trim_start_matches(['#', ' ', '\t']);
        let indent = line.len() - bare.len();
        if bare.starts_with('[') && !line.trim_start().starts_with('#') {
            in_settings = bare.starts_with("[plugin.") && bare.contains(".config");
        } else {
            // In base64 the `=` is at the end or doubled.
            let key = bare.split_once('=').filter(|(_, value)| !value.starts_with('=') && !value.trim().is_empty());
            let start = match key {
                Some((key, _)) if in_settings || key.split('.').any(is_telling) => indent + key.len() + 1,
                None if in_settings => indent,
                _ => line.len(),
            };
            if !HARMLESS.contains(&line[start..].trim()) {
                hidden.push(at + start..at + line.len());
            }
        }
        at += line.len();
    }
}

/// Whether a part of a dotted key, perhaps quoted, is the name of a secret.
fn is_telling(part: &str) -> bool {
    let part = part.trim().trim_matches(['"', '\'']);
    part == "config" || is_secret_name(part)
}

/// Value by value, which finds values that span lines.
fn hide_values(table: &DeTable, in_settings: bool, hidden: &mut Vec<Range<usize>>) {
    for (key, value) in table.iter() {
        let name = key.get_ref().as_ref();
        hide_value(value, in_settings || name == "config" || is_secret_name(name), hidden);
    }
}

fn hide_value(value: &Value, in_settings: bool, hidden: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(table) => hide_values(table, in_settings, hidden),
        DeValue::Array(array) => array.iter().for_each(|value| hide_value(value, in_settings, hidden)),
        DeValue::String(_) if in_settings => hidden.push(value.span()),
        _ => {}
    }
}

/// The part between `://` and `@`.
fn hide_passwords(text: &str, hidden: &mut Vec<Range<usize>>) {
    for (at, mark) in text.match_indices("://") {
        let start = at + mark.len();
        let end = text[start..].find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'')).unwrap_or(0);
        if let Some(length) = text[start..start + end].rfind('@') {
            hidden.push(start..start + length);
        }
    }
}

/// Keys of the HTTP API anywhere, and hashes of keys.
fn hide_keys(text: &str, hidden: &mut Vec<Range<usize>>) {
    for (at, prefix) in text.match_indices(KEY_PREFIX) {
        let start = at + prefix.len();
        let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let length = text[start..].find(|c: char| !is_key(c)).unwrap_or(text.len() - start);
        if length >= KEY_CHARS_MIN {
            hidden.push(start..start + length);
        }
    }
    for (at, name) in text.match_indices("sha256") {
        let line = text[at + name.len()..].lines().next().unwrap_or_default();
        let Some((before, value)) = line.split_once(['"', '\'']) else { continue };
        let start = at + name.len() + before.len() + 1;
        hidden.push(start..start + value.find(['"', '\'']).unwrap_or(value.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_out_secrets_in_place() {
        let cases = [
            ("log = \"info\"\n", "log = \"info\"\n"),
            ("api_key = \"hunter2\"\n", "api_key = \"*******\"\n"),
            ("api_key = hunter2\n", "api_key = *******\n"),
            ("keys = [{ sha256 = \"b\", x = \"c\" }]\n", "keys = [{ sha256 = \"*\", x = \"c\" }]\n"),
            ("keys = [{ sha256 = \"b\n", "keys = [{ sha256 = \"*\n"),
            ("x = \"rialto_abcdefghijklmnopqrstuvwx\"", "x = \"rialto_************************\""),
            ("x = \"rialto_plugin.wasm\"", "x = \"rialto_plugin.wasm\""),
            ("# admin-token = \"x\"\n", "# admin-token = \"*\"\n"),
            ("[plugin.a.config]\nx = \"é\"\n[b]\nc = 1\n", "[plugin.a.config]\nx = \"**\"\n[b]\nc = 1\n"),
            ("[plugin.a.config]\nx = nan\nhunter2\n", "[plugin.a.config]\nx = nan\n*******\n"),
            ("[plugin.a]\nconfig.x = \"s\"\n", "[plugin.a]\nconfig.x = \"*\"\n"),
            ("[plugin.a]\nconfig = { x = \"s\" }\n", "[plugin.a]\nconfig = * * * \"*\" *\n"),
            ("[plugin.a.config]\nx = '''\n[b]\nab=\n'''\n", "[plugin.a.config]\nx = '''\n***\n***\n'''\n"),
            ("allowed_origins = \"https://me:pw@a.b\"\n", "allowed_origins = \"https://*****@a.b\"\n"),
        ];
        for (text, expected) in cases {
            let (document, _) = DeTable::parse_recoverable(text);
            assert_eq!(secrets(text, document.get_ref()), expected);
        }
    }
}
