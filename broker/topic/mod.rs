//! Names topics and selects them by pattern; it must not know who owns, stores or delivers anything.

mod text;

use std::{borrow::Borrow, fmt, sync::Arc};

use self::text::Text;

/// Longest topic or pattern, in bytes of UTF-8.
pub const TOPIC_BYTES_MAX: usize = 255;

/// Most tokens (the parts between dots) of a topic or pattern.
pub const TOPIC_TOKENS_MAX: usize = 16;

/// Most characters of a refused name that an error repeats.
const ECHO_CHARS_MAX: usize = 48;

/// A valid topic name: tokens of visible UTF-8 joined by `.`. Compared byte for byte, never normalised; cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Text);

/// A valid pattern: like a topic, but `*` stands for exactly one token and a final `>` for one or more.
///
/// A wildcard in the first place never selects the broker's own topics (those starting with `$`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    text: Arc<str>,
    exact: bool,
}

/// Which of the two was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// A topic.
    Topic,
    /// A pattern.
    Pattern,
}

/// Why a name is not a topic or pattern.
///
/// `name` is the refused text, escaped and cut short: safe for logs and clients. `at` counts bytes from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are explained above")]
pub enum TopicError {
    /// Nothing at all.
    #[error("{kind} is empty")]
    Empty { kind: NameKind },
    /// More than [`TOPIC_BYTES_MAX`].
    #[error("{kind} \"{name}\": {bytes} bytes, at most {max}", max = TOPIC_BYTES_MAX)]
    TooLong { kind: NameKind, name: String, bytes: usize },
    /// More than [`TOPIC_TOKENS_MAX`]; `at` is where the first one too many starts.
    #[error("{kind} \"{name}\": {tokens} tokens, at most {max}", max = TOPIC_TOKENS_MAX)]
    TooManyTokens { kind: NameKind, name: String, tokens: usize, at: usize },
    /// Two dots in a row, or a dot at either end.
    #[error("{kind} \"{name}\": empty token at {at}")]
    EmptyToken { kind: NameKind, name: String, at: usize },
    /// White space, a control character or an invisible one.
    #[error("{kind} \"{name}\": invisible character U+{:04X} at {at}", u32::from(*character))]
    Invisible { kind: NameKind, name: String, character: char, at: usize },
    /// `*` or `>` in a topic.
    #[error("topic \"{name}\": `{character}` at {at} is only for patterns")]
    Wildcard { name: String, character: char, at: usize },
    /// `*` or `>` as a part of a token of a pattern.
    #[error("pattern \"{name}\": `{character}` at {at} must be a token of its own")]
    PartialWildcard { name: String, character: char, at: usize },
    /// `>` before the last token.
    #[error("pattern \"{name}\": `>` at {at} must be the last token")]
    TailNotLast { name: String, at: usize },
    /// Starts with `$`: only the broker may use it.
    #[error("{kind} \"{name}\": names starting with `$` belong to the broker")]
    Reserved { kind: NameKind, name: String },
}

impl Topic {
    /// Accepts what a client may name.
    ///
    /// # Errors
    /// Every [`TopicError`] that concerns topics, [`TopicError::Reserved`] included.
    pub fn parse(name: &str) -> Result<Topic, TopicError> {
        refuse_reserved(NameKind::Topic, name)?;
        Topic::parse_any(name)
    }

    /// The broker's own door: like [`Topic::parse`], but a leading `$` is allowed.
    ///
    /// # Errors
    /// Every [`TopicError`] that concerns topics, except [`TopicError::Reserved`].
    pub fn parse_any(name: &str) -> Result<Topic, TopicError> {
        check_name(NameKind::Topic, name)?;
        Ok(Topic(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the broker owns this topic (it starts with `$`).
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }
}

impl Pattern {
    /// Accepts what a client or a topic rule may select.
    ///
    /// # Errors
    /// Every [`TopicError`] that concerns patterns, [`TopicError::Reserved`] included.
    pub fn parse(text: &str) -> Result<Pattern, TopicError> {
        refuse_reserved(NameKind::Pattern, text)?;
        Pattern::parse_any(text)
    }

    /// The broker's own door: like [`Pattern::parse`], but a leading `$` is allowed.
    ///
    /// # Errors
    /// Every [`TopicError`] that concerns patterns, except [`TopicError::Reserved`].
    pub fn parse_any(text: &str) -> Result<Pattern, TopicError> {
        check_name(NameKind::Pattern, text)?;
        Ok(Pattern { text: text.into(), exact: !text.contains(['*', '>']) })
    }

    /// The text it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it has no wildcard, so that it selects one topic only.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// The one topic it selects, if it is exact.
    pub fn to_topic(&self) -> Option<Topic> {
        self.exact.then(|| Topic((&*self.text).into()))
    }

    /// Whether it selects this topic. Takes a [`Topic`] or the text of a valid one; allocates nothing.
    pub fn matches(&self, topic: &(impl AsRef<str> + ?Sized)) -> bool {
        self.selects(topic.as_ref())
    }

    /// Whether every topic that `other` selects is selected by this pattern too.
    pub fn covers(&self, other: &Pattern) -> bool {
        self.selects(&other.text)
    }

    /// Token by token. For [`Pattern::covers`] the name may itself have wildcards: `*` is then just a token that no
    /// literal equals, and `>` is more than any single token can select.
    fn selects(&self, name: &str) -> bool {
        if self.exact {
            return *self.text == *name;
        }
        if name.starts_with('$') && !self.text.starts_with('$') {
            return false;
        }
        let mut tokens = name.split('.');
        for wanted in self.text.split('.') {
            match (wanted, tokens.next()) {
                (_, None) => return false,
                (">", Some(_)) => return true,
                (_, Some(">")) => return false,
                ("*", Some(_)) => {}
                (wanted, Some(token)) if wanted == token => {}
                _ => return false,
            }
        }
        tokens.next().is_none()
    }
}

impl TopicError {
    /// Where in the name the fault is, in bytes from 0, if it is at one place.
    pub fn at(&self) -> Option<usize> {
        match self {
            Self::TooManyTokens { at, .. }
            | Self::EmptyToken { at, .. }
            | Self::Invisible { at, .. }
            | Self::Wildcard { at, .. }
            | Self::PartialWildcard { at, .. }
            | Self::TailNotLast { at, .. } => Some(*at),
            Self::Reserved { .. } => Some(0),
            Self::Empty { .. } | Self::TooLong { .. } => None,
        }
    }
}

fn refuse_reserved(kind: NameKind, name: &str) -> Result<(), TopicError> {
    if name.starts_with('$') { Err(TopicError::Reserved { kind, name: echo(name) }) } else { Ok(()) }
}

fn check_name(kind: NameKind, name: &str) -> Result<(), TopicError> {
    if name.is_empty() {
        return Err(TopicError::Empty { kind });
    }
    if name.len() > TOPIC_BYTES_MAX {
        return Err(TopicError::TooLong { kind, name: echo(name), bytes: name.len() });
    }
    let mut at = 0;
    for (index, token) in name.split('.').enumerate() {
        if index == TOPIC_TOKENS_MAX {
            let tokens = name.split('.').count();
            return Err(TopicError::TooManyTokens { kind, name: echo(name), tokens, at });
        }
        check_token(kind, name, token, at)?;
        at += token.len() + 1;
    }
    Ok(())
}

fn check_token(kind: NameKind, name: &str, token: &str, at: usize) -> Result<(), TopicError> {
    if token.is_empty() {
        return Err(TopicError::EmptyToken { kind, name: echo(name), at });
    }
    if kind == NameKind::Pattern && matches!(token, "*" | ">") {
        let fits = token == "*" || at + token.len() == name.len();
        return if fits { Ok(()) } else { Err(TopicError::TailNotLast { name: echo(name), at }) };
    }
    for (index, character) in token.char_indices() {
        let at = at + index;
        let name = || echo(name);
        return Err(match (character, kind) {
            ('*' | '>', NameKind::Topic) => TopicError::Wildcard { name: name(), character, at },
            ('*' | '>', NameKind::Pattern) => TopicError::PartialWildcard { name: name(), character, at },
            _ if is_invisible(character) => TopicError::Invisible { kind, name: name(), character, at },
            _ => continue,
        });
    }
    Ok(())
}

/// White space, control and other characters that leave no mark (Unicode 16, Default_Ignorable_Code_Point and format).
pub(crate) fn is_invisible(character: char) -> bool {
    if character.is_ascii() {
        return !character.is_ascii_graphic();
    }
    character.is_whitespace()
        || character.is_control()
        || matches!(character,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
            | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// The start of a refused name, with nothing in it that a terminal or log could act on.
fn echo(name: &str) -> String {
    let mut text: String = name.chars().take(ECHO_CHARS_MAX).flat_map(char::escape_debug).collect();
    if name.chars().nth(ECHO_CHARS_MAX).is_some() {
        text.push('…');
    }
    text
}

impl fmt::Display for NameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "topic",
            Self::Pattern => "pattern",
        })
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Topic").field(&self.as_str()).finish()
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl AsRef<str> for Topic {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accepts_and_refuses_topics() {
        let long = "x".repeat(256);
        let tokens = ["a"; 17].join(".");
        let cases = [
            ("a", ""),
            ("chat.Zürich.日本", ""),
            (&"x".repeat(255), ""),
            (&["a"; 16].join("."), ""),
            ("a$.b", ""),
            ("", "topic is empty"),
            ("a..b", "topic \"a..b\": empty token at 2"),
            (".a", "topic \".a\": empty token at 0"),
            ("a.", "topic \"a.\": empty token at 2"),
            ("a b", "topic \"a b\": invisible character U+0020 at 1"),
            ("ü.\u{85}", "topic \"ü.\\u{85}\": invisible character U+0085 at 3"),
            ("a\0", "topic \"a\\0\": invisible character U+0000 at 1"),
            ("a\u{200b}", "topic \"a\\u{200b}\": invisible character U+200B at 1"),
            ("\u{202e}a", "topic \"\\u{202e}a\": invisible character U+202E at 0"),
            ("\u{feff}a", "topic \"\\u{feff}a\": invisible character U+FEFF at 0"),
            ("a.*", "topic \"a.*\": `*` at 2 is only for patterns"),
            ("a>", "topic \"a>\": `>` at 1 is only for patterns"),
            ("$sys", "topic \"$sys\": names starting with `$` belong to the broker"),
            (&tokens, "topic \"a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a\": 17 tokens, at most 16"),
            (&long, &format!("topic \"{}…\": 256 bytes, at most 255", "x".repeat(48))),
        ];
        for (name, error) in cases {
            let got = Topic::parse(name).err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(got, error, "{name:?}");
        }
        assert!(Topic::parse_any("$sys.a").expect("the broker's door").is_reserved());
    }

    #[test]
    fn accepts_and_refuses_patterns() {
        let cases = [
            ("a", ""),
            ("*", ""),
            (">", ""),
            ("*.a.*.>", ""),
            ("a.b*", "pattern \"a.b*\": `*` at 3 must be a token of its own"),
            ("a>.b", "pattern \"a>.b\": `>` at 1 must be a token of its own"),
            ("a.>.b", "pattern \"a.>.b\": `>` at 2 must be the last token"),
            ("**", "pattern \"**\": `*` at 0 must be a token of its own"),
            ("a..>", "pattern \"a..>\": empty token at 2"),
            ("$sys.>", "pattern \"$sys.>\": names starting with `$` belong to the broker"),
        ];
        for (text, error) in cases {
            let got = Pattern::parse(text).err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(got, error, "{text:?}");
        }
        assert_eq!(Pattern::parse("a.b").expect("valid").to_topic(), Topic::parse("a.b").ok());
        assert_eq!(Pattern::parse("a.*").expect("valid").to_topic(), None);
    }

    #[test]
    fn matches_and_covers() {
        // (pattern, other, matches or covers)
        let cases = [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("*.*", "a.b", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true),
            (">", "$sys.a", false),
            ("*.a", "$sys.a", false),
            ("$sys.>", "$sys.a", true),
            (">", "*.a.>", true),
            ("a.*", "a.>", false),
            ("*", ">", false),
            ("*.>", ">", false),
            ("a.>", "a.*", true),
            ("a.b", "a.*", false),
            ("*.b", "a.*", false),
        ];
        for (pattern, other, expected) in cases {
            let pattern = Pattern::parse_any(pattern).expect("valid");
            let other = Pattern::parse_any(other).expect("valid");
            assert_eq!(pattern.covers(&other), expected, "{pattern} covers {other}");
            if let Some(topic) = other.to_topic() {
                assert_eq!(pattern.matches(&topic), expected, "{pattern} matches {topic}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_kept(name in "(\\PC|[.*>$\u{200b}\0 ]){0,12}") {
            if let Ok(topic) = Topic::parse(&name) {
                prop_assert_eq!(topic.as_str(), &name);
                prop_assert!(Pattern::parse(&name).is_ok_and(|pattern| pattern.is_exact() && pattern.matches(&topic)));
            }
        }

        #[test]
        fn what_is_covered_matches(
            wide in "([ab*]\\.){0,3}[ab*>]", narrow in "([ab*]\\.){0,3}[ab*>]", topic in "([abc]\\.){0,4}[abc]",
        ) {
            let (wide, narrow) = (Pattern::parse(&wide).expect("valid"), Pattern::parse(&narrow).expect("valid"));
            if wide.covers(&narrow) && narrow.matches(&topic) {
                prop_assert!(wide.matches(&topic));
            }
        }
    }
}
