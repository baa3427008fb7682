//! Renders the problems of a configuration with line and caret. It decides nothing, and holds no secrets.

use std::{fmt, ops::Range, path::Path};

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet, normalize_untrusted_str};

use super::hide;

/// Most problems that are shown; the rest is only counted.
const SHOWN_MAX: usize = 50;

/// Columns of the widest line shown; longer ones are cut around the caret.
const COLUMNS_MAX: usize = 110;

/// Most bytes that one caret underlines.
const CARET_BYTES_MAX: usize = 48;

/// One problem, with a hint how to correct it.
#[derive(Clone, Debug)]
pub struct Problem {
    title: String,
    marks: Vec<Mark>,
    help: Option<String>,
    line: Option<usize>,
}

/// A position in the text and its label. The first mark of a problem is the main one.
#[derive(Clone, Debug)]
struct Mark {
    span: Range<usize>,
    label: Option<String>,
}

/// All problems of one configuration: at least one, in file order.
///
/// `Display` and `Debug` render it like [`Problems::render`] without colour. Values that may be secret are blanked out
/// and nothing of the text can act on a terminal.
#[derive(Clone)]
pub struct Problems {
    file: String,
    /// The text with secrets blanked out, byte for byte as long as the original.
    text: String,
    list: Vec<Problem>,
    /// Whether the configuration can be used all the same.
    are_warnings: bool,
}

impl Problem {
    /// A problem of the whole file.
    pub(super) fn new(title: impl Into<String>) -> Problem {
        Problem { title: title.into(), marks: Vec::new(), help: None, line: None }
    }

    /// A problem at one place.
    pub(super) fn at(span: Range<usize>, title: impl Into<String>) -> Problem {
        Problem { marks: vec![Mark { span, label: None }], ..Problem::new(title) }
    }

    /// Adds a label below the caret of the last mark.
    pub(super) fn label(mut self, label: impl Into<String>) -> Problem {
        if let Some(mark) = self.marks.last_mut() {
            mark.label = Some(label.into());
        }
        self
    }

    /// Marks another relevant position.
    pub(super) fn also(mut self, span: Range<usize>, label: impl Into<String>) -> Problem {
        self.marks.push(Mark { span, label: Some(label.into()) });
        self
    }

    /// Adds a hint how to correct it.
    pub(super) fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }

    /// A title may repeat what the file has.
    fn without_secrets(mut self) -> Problem {
        self.title = hide::in_message(&self.title);
        self.help = self.help.map(|help| hide::in_message(&help));
        for label in self.marks.iter_mut().filter_map(|mark| mark.label.as_mut()) {
            *label = hide::in_message(label);
        }
        self
    }

    /// The position of the main mark, in bytes.
    pub(super) fn start(&self) -> Option<usize> {
        self.marks.first().map(|mark| mark.span.start)
    }

    /// The same of something that is no file.
    pub(super) fn without_place(mut self) -> Problem {
        self.marks.clear();
        self
    }

    /// The problem in one line.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Line in the file, counted from 1; none if it concerns the whole file.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// How to correct it, if there is a hint.
    pub fn hint(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl Problems {
    /// `text` must have its secrets blanked out already.
    pub(super) fn new(file: &Path, text: String, list: Vec<Problem>) -> Problems {
        let mut list: Vec<Problem> = list.into_iter().map(Problem::without_secrets).collect();
        debug_assert!(!list.is_empty(), "no problem, no Problems");
        list.sort_by_key(Problem::start);
        let (mut line, mut counted) = (1, 0);
        for problem in &mut list {
            let Some(start) = problem.start() else {
                continue;
            };
            let start = text.floor_char_boundary(start);
            line += text[counted..start].matches('\n').count();
            counted = start;
            problem.line = Some(line);
        }
        // The renderer does not look at the name of a file.
        let file = normalize_untrusted_str(&visible(&file.display().to_string()));
        Problems { file, text, list, are_warnings: false }
    }

    /// As [`Problems::new`], of a configuration that can be used all the same.
    pub(super) fn warnings(file: &Path, text: String, list: Vec<Problem>) -> Problems {
        Problems { are_warnings: true, ..Problems::new(file, text, list) }
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty, reason = "there is always at least one")]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// All of them, in file order.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// The first 50 with line, caret and hint, then how many there are; with terminal colours if wanted.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.term_width(COLUMNS_MAX);
        let mut out = String::new();
        for problem in self.list.iter().take(SHOWN_MAX) {
            out.push_str(&self.render_one(&renderer, problem));
            out.push_str("\n\n");
        }
        let hidden = self.list.len().saturating_sub(SHOWN_MAX);
        if hidden > 0 {
            out.push_str(&format!("... and {hidden} more\n\n"));
        }
        let (count, file) = (self.list.len(), &self.file);
        let what = if self.are_warnings { "warning" } else { "problem" };
        out.push_str(&format!("{count} {what}{} in {file}", if count == 1 { "" } else { "s" }));
        out
    }

    fn render_one(&self, renderer: &Renderer, problem: &Problem) -> String {
        let level = if self.are_warnings { Level::WARNING } else { Level::ERROR };
        let group = level.primary_title(visible(&problem.title));
        let group = match self.snippet(&problem.marks) {
            Some(snippet) => group.element(snippet),
            None => group.element(Origin::path(self.file.as_str())),
        };
        let group = match &problem.help {
            Some(help) => group.element(Level::HELP.message(normalize_untrusted_str(&visible(help)))),
            None => group,
        };
        renderer.render(&[group])
    }

    /// The lines from the first mark to the last, with each mark cut to what fits below one line.
    fn snippet(&self, marks: &[Mark]) -> Option<Snippet<'_, annotate_snippets::Annotation<'_>>> {
        let spans: Vec<_> = marks.iter().map(|mark| self.caret(&mark.span)).collect();
        let first = spans.iter().map(|span| span.start).min()?;
        let last = spans.iter().map(|span| span.end).max()?;
        let from = self.text[..first].rfind('\n').map_or(0, |at| at + 1);
        let to = self.text[last..].find('\n').map_or(self.text.len(), |at| last + at);
        let line = 1 + self.text[..from].matches('\n').count();
        // The line ending is no part of the problem.
        let source = visible(&self.text[from..to]).replace("\r\n", " \n");
        let source = source.strip_suffix('\r').unwrap_or(&source).to_owned();
        let mut snippet = Snippet::source(source).path(self.file.as_str()).line_start(line);
        for (index, (mark, span)) in marks.iter().zip(spans).enumerate() {
            let kind = if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
            let annotation = kind.span(span.start - from..span.end - from);
            snippet = snippet.annotation(annotation.label(mark.label.as_deref().map(visible)));
        }
        Some(snippet)
    }

    /// A span that lies in the text, in one line, on character borders, and is not too long.
    fn caret(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.text.floor_char_boundary(span.start);
        let line = self.text[start..].find(['\n', '\r']).map_or(self.text.len(), |at| start + at);
        let end = span.end.min(line).min(start + CARET_BYTES_MAX);
        start..self.text.ceil_char_boundary(end.max(start))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Problems {}

/// Untrusted text with invisible characters replaced by visible ones of the same length in bytes, so that a terminal
/// does not interpret it. Control characters below U+0080 are replaced by the renderer.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match (character.len_utf8(), character.is_ascii() || !crate::topic::is_invisible(character)) {
            (_, true) => out.push(character),
            (2, false) => out.push('¿'),
            (3, false) => out.push('\u{FFFD}'),
            (_, false) => out.push_str("\u{FFFD}?"),
        }
    }
    out
}
