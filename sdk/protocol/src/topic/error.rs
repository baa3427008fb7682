//! Why a name is not a topic or a pattern, in words that are safe for logs and clients.

use std::fmt;

use super::{TOPIC_BYTES_MAX, TOPIC_TOKENS_MAX};

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

impl fmt::Display for NameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "topic",
            Self::Pattern => "pattern",
        })
    }
}
