//! Parses TOML and explains syntax errors for operators. It knows no sections and keys.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::{
    problem::Problem,
    section::{Unit, Value, amount, echo_name, grouped},
};

/// After this many problems a duplicate is reported without its first occurrence, which takes a search.
const SEARCHES_MAX: usize = 50;

/// Most passes: each removes one kind of error; deeper ones are reported once the rest is corrected.
const PASSES_MAX: usize = 8;

/// A file and its syntax errors.
pub(super) struct Syntax {
    /// The text with everything blanked out that the parser cannot recover from; other bytes keep their offsets.
    readable: String,
    pub(super) problems: Vec<Problem>,
    /// Whether keys may be missing from the document or be in the wrong table.
    pub(super) torn: bool,
    /// Where each line starts.
    lines: Vec<usize>,
    /// The lines about which no further problem is reported, by index in `lines`.
    torn_lines: Vec<bool>,
}

/// One error of the parser.
struct Fault {
    message: String,
    span: Range<usize>,
}

impl Syntax {
    /// Parses until nothing is left that the parser cannot recover from: it stops after a key without a value, reads
    /// the next header as a part of an unclosed one, and the rest of the file as a part of an unclosed bracket.
    pub(super) fn read(text: &str) -> Syntax {
        let lines: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let torn_lines = vec![false; lines.len()];
        let mut syntax = Syntax { readable: text.to_owned(), problems: Vec::new(), torn: false, lines, torn_lines };
        for _ in 0..PASSES_MAX {
            if !syntax.pass(text) {
                break;
            }
        }
        syntax
    }

    /// The part of the file that is valid TOML.
    pub(super) fn document(&self) -> DeTable<'_> {
        DeTable::parse_recoverable(&self.readable).0.into_inner()
    }

    /// Whether a problem there may be a consequence of a syntax error.
    pub(super) fn is_torn(&self, at: usize) -> bool {
        self.torn_lines[self.line(at)]
    }

    /// Reports one kind of error and blanks it out, or else all that is left. Returns whether another pass is needed.
    fn pass(&mut self, text: &str) -> bool {
        let readable = self.readable.clone();
        let (document, errors) = DeTable::parse_recoverable(&readable);
        let document = document.get_ref();
        let mut faults: Vec<Fault> = errors.iter().map(|error| Fault::new(error, text)).collect();
        let unclosed = faults.iter().find_map(|fault| fault.opening(document));
        if let Some(opening) = unclosed {
            self.problems.push(never_closed(text, opening.start));
            self.blank_out(self.line(opening.start)..self.lines.len());
            return true;
        }
        faults.sort_by_key(|fault| fault.span.start);
        let mut misleading: Vec<usize> =
            faults.iter().filter(|fault| self.misleads(text, fault)).map(|fault| self.line(fault.span.start)).collect();
        misleading.dedup();
        // Several on one line are one mistake.
        faults.dedup_by_key(|fault| self.line(fault.span.start));
        if !misleading.is_empty() {
            faults.retain(|fault| misleading.binary_search(&self.line(fault.span.start)).is_ok());
            for fault in &faults {
                let lines = self.reach(text, self.line(fault.span.start));
                self.problems.push(explain(text, document, fault));
                self.blank_out(lines);
            }
            return true;
        }
        for fault in &faults {
            let line = self.line(fault.span.start);
            self.torn_lines[line] = true;
            if fault.message == "duplicate key" {
                let search = self.problems.len() < SEARCHES_MAX;
                self.problems.push(duplicate(text, document, fault, search));
            } else {
                self.torn = true;
                self.problems.push(explain(text, document, fault));
            }
        }
        false
    }

    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at) - 1
    }

    fn is_header(&self, text: &str, line: usize) -> bool {
        text[self.lines[line]..].trim_start_matches([' ', '\t']).starts_with('[')
    }

    /// Whether the parser stops after this error, or continues in the wrong table.
    fn misleads(&self, text: &str, fault: &Fault) -> bool {
        let line = self.line(fault.span.start);
        let gives_up = ["key with no value", "missing value for key", "recursion limit"];
        !self.torn_lines[line]
            && (gives_up.iter().any(|start| fault.message.starts_with(start))
                || fault.message != "duplicate key" && self.is_header(text, line))
    }

    /// The lines that an error makes unreadable: its own, and below a broken header its whole section.
    fn reach(&self, text: &str, line: usize) -> Range<usize> {
        if !self.is_header(text, line) {
            return line..line + 1;
        }
        let next = (line + 1..self.lines.len()).find(|line| self.is_header(text, *line));
        line..next.unwrap_or(self.lines.len())
    }

    fn blank_out(&mut self, lines: Range<usize>) {
        self.torn = true;
        self.torn_lines[lines.clone()].fill(true);
        let end = self.lines.get(lines.end).copied().unwrap_or(self.readable.len());
        let span = self.lines[lines.start]..end;
        let blank: String =
            self.readable[span.clone()].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
        self.readable.replace_range(span, &blank);
    }
}

impl Fault {
    fn new(error: &toml::de::Error, text: &str) -> Fault {
        let span = error.span().unwrap_or(0..0);
        let end = text.floor_char_boundary(span.end.min(text.len()));
        Fault { message: error.message().to_owned(), span: text.floor_char_boundary(span.start.min(end))..end }
    }

    /// The value that runs to the end of the file because it was never closed.
    fn opening(&self, document: &DeTable) -> Option<Range<usize>> {
        let unclosed = ["unclosed array, ", "unclosed inline table, ", "invalid multi-line "];
        if !unclosed.iter().any(|start| self.message.starts_with(start)) || !self.span.is_empty() {
            return None;
        }
        ending_at(document, self.span.start)
    }
}

fn never_closed(text: &str, opening: usize) -> Problem {
    let (length, title, close) = match text.as_bytes().get(opening) {
        Some(b'[') => (1, "this array is never closed", "]"),
        Some(b'{') => (1, "this inline table is never closed", "}"),
        Some(b'\'') => (3, "this string is never closed", "\'\'\'"),
        _ => (3, "this string is never closed", "\"\"\""),
    };
    Problem::at(opening..opening + length, title)
        .label("the rest of the file was read as a part of it")
        .help(format!("end it with `{close}`"))
}

/// The outermost value that ends there.
fn ending_at(table: &DeTable, end: usize) -> Option<Range<usize>> {
    let inside = |value: &Value| match value.get_ref() {
        _ if value.span().end == end && !value.span().is_empty() => Some(value.span()),
        DeValue::Table(table) => ending_at(table, end),
        DeValue::Array(array) => array.iter().find_map(|value| match value.get_ref() {
            DeValue::Table(table) => ending_at(table, end),
            _ => None,
        }),
        _ => None,
    };
    table.values().find_map(inside)
}

fn duplicate(text: &str, document: &DeTable, fault: &Fault, search: bool) -> Problem {
    let name = echo_name(&text[fault.span.clone()]);
    let line_start = text[..fault.span.start].rfind('\n').map_or(0, |at| at + 1);
    let header = |line: &str| {
        let line = line.trim_start();
        line.starts_with('[')
            .then(|| line.find(']').map(|end| line[..end].trim_start_matches('[').to_owned()))
            .flatten()
    };
    let Some(section) = header(&text[line_start..]) else {
        let problem = Problem::at(fault.span.clone(), format!("`{name}` is set twice")).help("keep one of them");
        return match search.then(|| key_before(document, &text[fault.span.clone()], line_start)).flatten() {
            Some(first) => problem.also(first, "first set here"),
            None => problem,
        };
    };
    let title = format!("section `{}` appears twice", echo_name(&section));
    let end = text[line_start..].find(['\n', '#']).map_or(text.len(), |at| line_start + at);
    let span = line_start..line_start + text[line_start..end].trim_end().len();
    let problem = Problem::at(span, title).help("put all of its keys below one header");
    let mut at = 0;
    for line in text[..line_start].split_inclusive('\n').take_while(|_| search) {
        if header(line).is_some_and(|earlier| earlier == section) {
            return problem.also(at..at + line.trim_end().len(), "first here");
        }
        at += line.len();
    }
    problem
}

/// The nearest key of that name before a place.
fn key_before(table: &DeTable, name: &str, before: usize) -> Option<Range<usize>> {
    let below = |value: &Value| match value.get_ref() {
        DeValue::Table(table) => key_before(table, name, before),
        DeValue::Array(array) => {
            let tables = array.iter().filter_map(|value| value.get_ref().as_table());
            tables.filter_map(|table| key_before(table, name, before)).max_by_key(|span| span.start)
        }
        _ => None,
    };
    let here = table.keys().filter(|key| key.get_ref() == name).map(|key| key.span());
    here.filter(|span| span.end <= before).chain(table.values().filter_map(below)).max_by_key(|span| span.start)
}

fn explain(text: &str, document: &DeTable, fault: &Fault) -> Problem {
    let span = fault.span.clone();
    let written = text[span.clone()].trim();
    let (what, expected) = fault.message.split_once(", expected ").unwrap_or((&fault.message, "nothing"));
    match what {
        "string values must be quoted" if written.is_empty() => {
            Problem::at(span, "a value is missing").help("write `key = value`")
        }
        "string values must be quoted" => Problem::at(span, what).help(unquoted_help(written)),
        "invalid float" | "invalid integer" if unquoted_end(text, &span).is_some() => {
            let end = unquoted_end(text, &span).unwrap_or(span.end);
            let start = text[..span.start].rfind(['=', '[', ',', ' ', '\n']).map_or(0, |at| at + 1);
            Problem::at(start..end, "string values must be quoted").help("put double quotes around it")
        }
        "invalid basic string" | "invalid literal string" if span.is_empty() => {
            let opening = ending_at(document, span.start).unwrap_or(span);
            Problem::at(opening, "this string has no closing quote").help("end it on the same line")
        }
        "invalid boolean" => Problem::at(span, "this is neither true nor false").help("write true or false"),
        "invalid unquoted key" if written == ":" => {
            Problem::at(span, "a key and its value are joined by `=`").help("write `key = value`")
        }
        "unexpected key or value" => Problem::at(span, "unexpected text at the end of the line"),
        "key with no value" => Problem::at(span, "a key without a value").help("write `key = value`"),
        "unclosed table" => Problem::at(span, "the name of this section is not closed").label("expected `]`"),
        "unclosed array table" => {
            Problem::at(span, "the name of this section is not closed").label("expected another `]`")
        }
        _ if written.chars().any(|character| character.is_control() && character != '\n') => {
            let code = written.chars().find(|character| character.is_control()).map_or(0, u32::from);
            let help = format!("in a string in double quotes, write \\u{code:04X}");
            Problem::at(span, format!("a control character (U+{code:04X}) may not stand here")).help(help)
        }
        _ if expected == "nothing" => Problem::at(span, what),
        _ => Problem::at(span, what).label(format!("expected {expected}")),
    }
}

/// Where a value like `127.0.0.1:80` ends, of which only the start looked like a number.
fn unquoted_end(text: &str, span: &Range<usize>) -> Option<usize> {
    let rest = &text[span.start..];
    let token = &rest[..rest.find([',', ']', '}', '#', ' ', '\n', '\r']).unwrap_or(rest.len())];
    token.contains(['.', ':', '/']).then_some(span.start + token.len())
}

/// A hint for an unquoted value. Does not repeat it, because it may be a secret.
fn unquoted_help(written: &str) -> String {
    let number = amount(written, Unit::Milliseconds).or_else(|| amount(written, Unit::Bytes));
    match (written.to_ascii_lowercase().as_str(), number) {
        ("yes" | "on" | "true", _) => "write true".to_owned(),
        ("no" | "off" | "false", _) => "write false".to_owned(),
        (_, Some(number)) => format!("write {}: the unit is a part of the key's name", grouped(number)),
        _ => "put double quotes around it".to_owned(),
    }
}
