//! Topic names and the patterns that select them: parsing, validation and matching, for the broker, clients and the test
//! double of plugins alike. It does not know who owns, stores or delivers anything.

mod error;
mod pattern;
mod text;
mod user_token;
mod validation;

use std::{borrow::Borrow, fmt};

pub use self::error::{NameKind, TopicError};
pub use self::pattern::{Pattern, has_wildcard, pattern_matches};
pub use self::user_token::{is_token_of, token_of};
pub use self::validation::is_invisible;

use self::text::Text;
use self::validation::{check_name, refuse_reserved};

/// Longest topic or pattern, in bytes of UTF-8.
pub const TOPIC_BYTES_MAX: usize = 255;

/// Most tokens (the parts between dots) of a topic or pattern.
pub const TOPIC_TOKENS_MAX: usize = 16;

/// A valid topic name: tokens of visible UTF-8 joined by `.`. Compared byte for byte, never normalised; cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Text);

impl Topic {
    /// Accepts what a client may name.
    ///
    /// # Errors
    /// Every [`TopicError`] that concerns topics, [`TopicError::Reserved`] included.
    pub fn parse(name: &str) -> Result<Topic, TopicError> {
        refuse_reserved(NameKind::Topic, name)?;
        Topic::parse_any(name)
    }

    /// Like [`Topic::parse`], but with a leading `$` allowed: for the broker itself.
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
        assert!(Topic::parse_any("$sys.a").expect("the broker may").is_reserved());
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_kept(name in "(\\PC|[.*>$\u{200b}\0 ]){0,12}") {
            if let Ok(topic) = Topic::parse(&name) {
                prop_assert_eq!(topic.as_str(), &name);
                prop_assert!(Pattern::parse(&name).is_ok_and(|pattern| pattern.is_exact() && pattern.matches(&topic)));
            }
        }
    }
}
