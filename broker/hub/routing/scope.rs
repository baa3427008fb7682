//! Scopes: which of the topics that a pattern selects a class of sessions may be sent. Sessions of one scope share a stream, so
//! the decision is made when a topic looks its patterns up, not when a message is delivered. Who is in a class is decided above.

use std::fmt;
use std::sync::Arc;

use crate::config::TopicOptions;
use crate::topic::{Pattern, Topic};

/// A class of sessions.
pub(crate) trait Scope: fmt::Debug + Send + Sync {
    /// Whether its sessions may be sent a topic that is under this rule.
    fn admits(&self, topic: &Topic, rule: &TopicOptions) -> bool;

    /// Scopes with one name are one.
    fn name(&self) -> &str;
}

/// A pattern as one class of sessions is subscribed to it.
#[derive(Clone, Debug)]
pub(crate) struct ScopedPattern {
    pub(crate) pattern: Pattern,
    pub(crate) scope: Arc<dyn Scope>,
}

impl PartialEq for ScopedPattern {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern && self.scope.name() == other.scope.name()
    }
}
