//! Reads the values of one table and reports type and range errors; it does not know what a value is for.

use std::{borrow::Cow, ops::Range, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    check::TABLES,
    exposure::looks_random,
    problem::Problem,
    setting::{Kind, Number, Table},
};

/// Most characters of a key or value that a problem repeats.
const ECHO_CHARS_MAX: usize = 40;

/// A value and its position in the file.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// The state of a check: the file, and the problems so far.
pub(super) struct Report<'a> {
    /// The whole file.
    pub(super) text: &'a str,
    /// The folder that relative paths start at.
    pub(super) folder: &'a Path,
    /// Whether the file has syntax errors: a key that is missing may only be unreadable.
    pub(super) torn: bool,
    /// Whether files that are named must exist.
    pub(super) reads_files: bool,
    /// Found so far, in any order.
    pub(super) problems: Vec<Problem>,
    /// What works, but will not in the next version.
    pub(super) warnings: Vec<Problem>,
}

/// One table whose keys are known.
pub(super) struct Section<'a> {
    known: &'static Table,
    table: &'a DeTable<'a>,
    span: Range<usize>,
}

/// A string of the file.
pub(super) struct Text<'a> {
    pub(super) value: &'a str,
    pub(super) span: Range<usize>,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Bytes,
    Milliseconds,
    Items,
}

impl<'r> Report<'r> {
    /// Nothing is wrong so far.
    pub(super) fn new(text: &'r str, folder: &'r Path) -> Self {
        Self { text, folder, torn: false, reads_files: true, problems: Vec::new(), warnings: Vec::new() }
    }

    pub(super) fn add(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    pub(super) fn warn(&mut self, problem: Problem) {
        self.warnings.push(problem);
    }

    /// The integer, if it is within its range; `default` is for the hint.
    pub(super) fn number(&mut self, key: &str, value: &Value, kind: &Number, default: u64) -> Option<u64> {
        let range = kind.min..=kind.max;
        let DeValue::Integer(integer) = value.get_ref() else {
            let amount = as_text(value).and_then(|text| amount(text.value, kind.unit)).filter(|n| range.contains(n));
            let example = grouped(amount.unwrap_or(default));
            let expected = format!("an integer{}", kind.unit.within());
            self.add(wrong_type(key, value, &expected).help(format!("write `{key} = {example}`")));
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|n| range.contains(n));
        if number.is_none() {
            let (min, max) = (grouped(kind.min), grouped(kind.max));
            let title = format!("`{key}` must be {min} to {max}{}", kind.unit.after());
            let help = format!("the default is {}", grouped(default));
            self.add(Problem::at(value.span(), title).label("out of range").help(help));
        }
        number
    }

    /// The boolean; `default` is for the hint.
    pub(super) fn flag(&mut self, key: &str, value: &Value, default: bool) -> Option<bool> {
        if let DeValue::Boolean(flag) = value.get_ref() {
            return Some(*flag);
        }
        self.add(wrong_type(key, value, "true or false").help(format!("write `{key} = {default}`")));
        None
    }

    /// The choice that the word names.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, value: &Value, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key, value, &format!("\"{}\"", choices[0].0))?;
        let choice = choices.iter().find(|(word, _)| *word == text.value).map(|(_, choice)| *choice);
        if choice.is_none() {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let title = format!("`{key}` is {}, not \"{}\"", words.join(" or "), echo(text.value));
            self.add(Problem::at(text.span, title));
        }
        choice
    }

    /// The string; `example` shows the right form.
    pub(super) fn text<'a>(&mut self, key: &str, value: &'a Value<'a>, example: &str) -> Option<Text<'a>> {
        let text = as_text(value);
        if text.is_none() {
            self.add(wrong_type(key, value, "a string").help(format!("write `{key} = {example}`")));
        }
        text
    }
}

impl<'a> Section<'a> {
    /// Opens a table, reports every unknown key and warns of every old one. `header` is its header in the file.
    pub(super) fn open(
        report: &mut Report,
        header: &str,
        known: &'static Table,
        value: &'a Value<'a>,
    ) -> Option<Section<'a>> {
        let DeValue::Table(table) = value.get_ref() else {
            let found = kind(value.get_ref());
            let title = format!("`{header}` must be a table, not {found}");
            report.add(Problem::at(value.span(), title).help(format!("write a line `{header}` and its keys below it")));
            return None;
        };
        for key in table.keys() {
            check_key(report, header, known, table, key);
        }
        Some(Section { known, table, span: value.span() })
    }

    /// The position of its header.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value of a key, also under a name that it had before.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value<'a>> {
        let old = |(old, new): &(&str, &str)| (*new == key).then(|| self.table.get(*old)).flatten();
        self.table.get(key).or_else(|| self.known.renamed.iter().find_map(old))
    }

    /// Sets `target`, which holds the default, if the key is there.
    pub(super) fn read<T>(&self, report: &mut Report, key: &str, kind: &impl Kind<T>, target: &mut T) {
        if let Some(value) = self.get(key) {
            kind.read(report, key, value, target);
        }
    }

    /// A string, if there is one; `example` shows the right form.
    pub(super) fn text(&self, report: &mut Report, key: &str, example: &str) -> Option<Text<'a>> {
        report.text(key, self.get(key)?, example)
    }
}

/// Reports a key that is unknown, and warns of one that has another name now or exists no more.
fn check_key(report: &mut Report, header: &str, known: &Table, table: &DeTable, key: &Spanned<Cow<'_, str>>) {
    let name = key.get_ref().as_ref();
    if known.keys.contains(&name) {
        return;
    }
    if let Some((_, new)) = known.renamed.iter().find(|(old, _)| *old == name) {
        if table.contains_key(*new) {
            let title = format!("`{name}` is the old name of `{new}`, which is there too");
            report.add(Problem::at(key.span(), title).help(format!("remove `{name}`")));
        } else {
            let title = format!("`{name}` in `{header}` is now named `{new}`");
            let help = format!("write `{new}`: the old name works in this version only");
            report.warn(Problem::at(key.span(), title).help(help));
        }
    } else if let Some((_, instead)) = known.retired.iter().find(|(old, _)| *old == name) {
        let title = format!("`{name}` in `{header}` has no effect any more");
        report.warn(Problem::at(key.span(), title).help(*instead));
    } else {
        report.add(unknown_key(header, known.keys, key));
    }
}

impl Text<'_> {
    /// The position in the file of the byte `at` of the string, or of the whole string if it has escapes.
    pub(super) fn inside(&self, text: &str, at: usize) -> Range<usize> {
        let written = text.get(self.span.start + 1..self.span.end.saturating_sub(1));
        if written != Some(self.value) {
            return self.span.clone();
        }
        let length = self.value.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
        let start = self.span.start + 1 + at;
        start..start + length
    }
}

impl Unit {
    fn after(self) -> &'static str {
        match self {
            Unit::Bytes => " bytes",
            Unit::Milliseconds => " milliseconds",
            Unit::Items => "",
        }
    }

    /// The word after a range of the reference.
    pub(super) fn short(self) -> &'static str {
        match self {
            Unit::Bytes => " bytes",
            Unit::Milliseconds => " ms",
            Unit::Items => "",
        }
    }

    fn within(self) -> &'static str {
        match self {
            Unit::Bytes => " (bytes)",
            Unit::Milliseconds => " (milliseconds)",
            Unit::Items => "",
        }
    }
}

/// A problem of an unknown key, with the most similar known one.
pub(super) fn unknown_key(header: &str, known: &[&str], key: &Spanned<Cow<'_, str>>) -> Problem {
    let name = key.get_ref().as_ref();
    let home = TABLES.iter().find(|table| table.keys.contains(&name));
    let help = match (nearest(name, known.iter().copied()), home) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, Some(table)) => format!("`{name}` belongs in `{}`", table.header),
        (None, None) if header.starts_with("[plugin.") => {
            format!("settings of the plugin itself go below `{}.config]`", header.trim_end_matches(']'))
        }
        (None, None) => format!("known here: {}", known.join(", ")),
    };
    Problem::at(key.span(), format!("unknown key `{}` in `{header}`", echo_name(name))).help(help)
}

/// A problem of a value of the wrong type.
pub(super) fn wrong_type(key: &str, value: &Value, expected: &str) -> Problem {
    let found = kind(value.get_ref());
    Problem::at(value.span(), format!("`{key}` must be {expected}, not {found}")).label(found)
}

pub(super) fn as_text<'a>(value: &'a Value<'a>) -> Option<Text<'a>> {
    match value.get_ref() {
        DeValue::String(text) => Some(Text { value: text, span: value.span() }),
        _ => None,
    }
}

/// The candidate that differs from `name` by a typo or a missing unit at its end.
pub(super) fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    if name.len() > 64 {
        return None;
    }
    let name = name.to_lowercase().replace('-', "_");
    let distance = |candidate: &str| {
        if candidate.strip_prefix(&name).is_some_and(|rest| rest.starts_with('_')) {
            return 0;
        }
        strsim::damerau_levenshtein(&name, candidate)
    };
    let (near, distance) = candidates.map(|candidate| (candidate, distance(candidate))).min_by_key(|near| near.1)?;
    (distance <= (near.len() / 3).max(1) && near.len() > distance).then_some(near)
}

/// A key or value of the file for a problem: escaped and truncated.
pub(super) fn echo(text: &str) -> String {
    let mut echo = String::new();
    for character in text.chars().take(ECHO_CHARS_MAX) {
        match character {
            '"' | '\'' => echo.push(character),
            _ => echo.extend(character.escape_debug()),
        }
    }
    if text.chars().nth(ECHO_CHARS_MAX).is_some() {
        echo.push('…');
    }
    echo
}

/// The name of a key or a section for a problem, as [`echo`], unless somebody has put a secret there.
pub(super) fn echo_name(name: &str) -> String {
    match looks_random(name) {
        true => "*".repeat(name.chars().count().min(ECHO_CHARS_MAX)),
        false => echo(name),
    }
}

/// A number with separators, as in TOML: `65_536`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('_');
        }
        out.push(digit);
    }
    out
}

/// The number that was probably meant by `10s` or `64 KiB`.
pub(super) fn amount(text: &str, unit: Unit) -> Option<u64> {
    let text = text.trim().replace('_', "");
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let factor = match (unit, suffix.trim().to_ascii_lowercase().as_str()) {
        (_, "") | (Unit::Milliseconds, "ms") | (Unit::Bytes, "b" | "bytes") => 1,
        (Unit::Milliseconds, "s" | "sec") => 1_000,
        (Unit::Milliseconds, "m" | "min") => 60_000,
        (Unit::Milliseconds, "h") => 3_600_000,
        (Unit::Bytes, "k" | "kb" | "kib") => 1 << 10,
        (Unit::Bytes, "m" | "mb" | "mib") => 1 << 20,
        (Unit::Bytes, "g" | "gb" | "gib") => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn kind(value: &DeValue) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(array) if array.first().is_some_and(|first| first.get_ref().is_table()) => "a list of tables",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_keys_are_suggested() {
        let keys = ["listen", "shards", "page", "shutdown_ms", "log"];
        let cases = [
            ("lisen", Some("listen")),
            ("Listen", Some("listen")),
            ("shutdown", Some("shutdown_ms")),
            ("shutdown-ms", Some("shutdown_ms")),
            ("logg", Some("log")),
            ("x", None),
            ("colour", None),
        ];
        for (name, expected) in cases {
            assert_eq!(nearest(name, keys.into_iter()), expected, "{name}");
        }
    }

    #[test]
    fn units_are_converted() {
        let cases = [
            ("10s", Unit::Milliseconds, Some(10_000)),
            ("250 ms", Unit::Milliseconds, Some(250)),
            ("64KiB", Unit::Bytes, Some(65_536)),
            ("1_000", Unit::Items, Some(1_000)),
            ("10s", Unit::Bytes, None),
            ("-5", Unit::Bytes, None),
            ("99999999999999999999", Unit::Bytes, None),
            ("ten", Unit::Items, None),
        ];
        for (text, unit, expected) in cases {
            assert_eq!(amount(text, unit), expected, "{text}");
        }
    }
}
