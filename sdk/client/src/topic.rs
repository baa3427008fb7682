//! What a program asks of a subscription.

use std::sync::Arc;

use rialto_protocol::topic::has_wildcard;
use rialto_protocol::{Delivery, Position};

use crate::Error;

/// One topic or pattern to subscribe to, and how.
///
/// ```
/// use rialto_client::{Delivery, Topic};
///
/// let chat = Topic::new("chat.lobby").last(50).presence();
/// let prices = Topic::new("market.acme").delivery(Delivery::Latest).live_only();
/// # let _ = (chat, prices);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) since: Option<Position>,
    pub(crate) last: Option<u64>,
    pub(crate) delivery: Option<Delivery>,
    pub(crate) presence: bool,
    pub(crate) resume: Resume,
}

/// What a subscription asks for when it goes on in a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Everything since the last position; where that leads to nothing, so many of the last messages.
    Since { last: u64 },
    /// Only what is new.
    Live,
}

/// More than any broker keeps of one topic: all there is.
const ALL: u64 = u32::MAX as u64;

impl Topic {
    /// A topic, or a pattern (`*` is one token, a final `>` one or more), whose new messages are wanted.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        let resume = Resume::Since { last: ALL };
        Self { name: name.into(), since: None, last: None, delivery: None, presence: false, resume }
    }

    /// Begins after this position: the last one that the program has seen, perhaps in an earlier run.
    #[must_use]
    pub fn since(mut self, position: Position) -> Self {
        self.since = Some(position);
        self
    }

    /// Begins with the last messages that are kept; with [`Topic::since`], where that leads to nothing.
    #[must_use]
    pub fn last(mut self, count: u64) -> Self {
        self.last = Some(count);
        self
    }

    /// What becomes of messages that the program does not read in time; without this the topic's own policy.
    #[must_use]
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = Some(delivery);
        self
    }

    /// Also asks who is present, who comes and who goes.
    #[must_use]
    pub fn presence(mut self) -> Self {
        self.presence = true;
        self
    }

    /// After a reconnect goes on with what is new. Without this it goes on where it was, with everything that is kept.
    #[must_use]
    pub fn live_only(mut self) -> Self {
        self.resume = Resume::Live;
        self
    }

    /// How many of the last messages to take after a reconnect where the last position leads to nothing: the broker was
    /// restarted, or more was missed than it keeps. Without this: all there are.
    #[must_use]
    pub fn resume_last(mut self, count: u64) -> Self {
        self.resume = Resume::Since { last: count };
        self
    }

    pub(crate) fn is_pattern(&self) -> bool {
        has_wildcard(&self.name)
    }

    /// What the broker would refuse of a pattern.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let has_past = self.since.is_some() || self.last.is_some() || self.presence;
        let is_selective = self.delivery.as_ref().is_some_and(|delivery| *delivery != Delivery::Queue);
        if self.is_pattern() && (has_past || is_selective) {
            Err(Error::Pattern(self.name.to_string()))
        } else {
            Ok(())
        }
    }
}

impl From<&str> for Topic {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Topic {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::topic::pattern_matches;

    use super::*;

    #[test]
    fn patterns_select_by_tokens() {
        for (pattern, topic, expected) in [
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true),
            ("*.b", "a.b", true),
            ("*", "a.b", false),
            ("a.b", "a.b", true),
            ("a.*.c", "a.b.d", false),
        ] {
            assert_eq!(pattern_matches(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn patterns_have_no_past() {
        assert!(Topic::new("a.*").check().is_ok());
        assert!(Topic::new("a.*").last(1).check().is_err());
        assert!(Topic::new("a.>").presence().check().is_err());
        assert!(Topic::new("a.>").delivery(Delivery::Latest).check().is_err());
        assert!(Topic::new("a.>").delivery(Delivery::Queue).check().is_ok());
        assert!(Topic::new("a.b").last(1).presence().check().is_ok());
    }
}
