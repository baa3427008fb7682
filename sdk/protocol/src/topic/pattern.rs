//! Patterns: which topics a subscription, a rule or a capability selects.

use std::fmt;
use std::sync::Arc;

use super::validation::{check_name, refuse_reserved};
use super::{NameKind, TOPIC_BYTES_MAX, Topic, TopicError};

/// A valid pattern: like a topic, but `*` stands for exactly one token and a final `>` for one or more.
///
/// A wildcard in the first place never selects the broker's own topics (those starting with `$`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    text: Arc<str>,
    exact: bool,
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

    /// Like [`Pattern::parse`], but with a leading `$` allowed: for the broker itself.
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

    /// The pattern of the topics that both select; none where there are none.
    #[must_use]
    pub fn intersection(&self, other: &Pattern) -> Option<Pattern> {
        let (mut own, mut others) = (self.text.split('.').peekable(), other.text.split('.').peekable());
        // A wildcard in the first place selects no name of the broker's own.
        let is_reserved = |one: &str, wild: &str| one.starts_with('$') && matches!(wild, "*" | ">");
        let mut common: Vec<&str> = Vec::new();
        loop {
            let token = match (own.peek().copied(), others.peek().copied()) {
                (None, None) => break,
                (Some(one), Some(wild)) | (Some(wild), Some(one)) if common.is_empty() && is_reserved(one, wild) => {
                    return None;
                }
                (Some(">"), Some(_)) => {
                    common.extend(others);
                    break;
                }
                (Some(_), Some(">")) => {
                    common.extend(own);
                    break;
                }
                (Some("*"), Some(token)) | (Some(token), Some("*")) => token,
                (Some(token), Some(same)) if token == same => token,
                _ => return None,
            };
            common.push(token);
            own.next();
            others.next();
        }
        let text: Arc<str> = common.join(".").into();
        // No topic is as long as that.
        if text.len() > TOPIC_BYTES_MAX {
            return None;
        }
        Some(Pattern { exact: !has_wildcard(&text), text })
    }

    fn selects(&self, name: &str) -> bool {
        if self.exact { *self.text == *name } else { pattern_matches(&self.text, name) }
    }
}

/// Whether the text of a valid pattern selects the text of a valid topic, for callers that have not parsed them; see
/// [`Pattern::matches`]. Allocates nothing.
///
/// For [`Pattern::covers`] the name may itself have wildcards: `*` is then just a token that no literal equals, and `>` is
/// more than any single token can select.
pub fn pattern_matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('$') && !pattern.starts_with('$') {
        return false;
    }
    let mut tokens = name.split('.');
    for wanted in pattern.split('.') {
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

/// Whether a name has a token that stands for others, so that it can only be a pattern.
pub fn has_wildcard(name: &str) -> bool {
    name.split('.').any(|token| matches!(token, "*" | ">"))
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn an_intersection_selects_what_both_select(
            one in "((\\$[ab]|[ab*])\\.){0,3}[ab*>]",
            other in "((\\$[ab]|[ab*])\\.){0,3}[ab*>]",
            topics in prop::collection::vec("\\$?([ab]\\.){0,4}[ab]", 20),
        ) {
            let pattern = |text: &str| Pattern::parse_any(text).expect("a pattern");
            let common = pattern(&one).intersection(&pattern(&other));
            prop_assert_eq!(&common, &pattern(&other).intersection(&pattern(&one)));
            for topic in topics {
                let both = pattern(&one).matches(&topic) && pattern(&other).matches(&topic);
                prop_assert_eq!(common.as_ref().is_some_and(|common| common.matches(&topic)), both, "{}", topic);
            }
            if let Some(common) = &common {
                prop_assert_eq!(&pattern(common.as_str()), common);
                prop_assert!(pattern(&one).covers(common) && pattern(&other).covers(common));
            }
        }
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
