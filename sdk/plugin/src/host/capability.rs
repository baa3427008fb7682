//! Capabilities: what a plugin requests (`needs`) and what the operator grants, in the same syntax. It enforces nothing.

use std::fmt;

use rialto_protocol::topic::Pattern;

use super::Permission;

/// A permission of a plugin beyond answering its hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Keep state.
    State,
    /// Set timers.
    Timers,
    /// List the sessions on its topics, subscribe, unsubscribe, authenticate and end them.
    Sessions,
    /// Publish to topics that are not its own.
    Publish(Pattern),
    /// Subscribe sessions to topics that are not its own.
    Subscribe(Pattern),
}

/// A text that is not a capability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no capability: there are `state`, `timers`, `sessions`, `publish PATTERN` and `subscribe PATTERN`")]
pub struct NoCapability(String);

impl Capability {
    /// The default grants: those that concern only the plugin itself.
    pub const OWN: [Self; 3] = [Self::State, Self::Timers, Self::Sessions];

    /// Parses a capability.
    ///
    /// # Errors
    /// [`NoCapability`] with the text.
    pub fn parse(text: &str) -> Result<Self, NoCapability> {
        let unknown = || NoCapability(text.chars().filter(|character| !character.is_control()).take(80).collect());
        let pattern = |text: &str| Pattern::parse(text.trim_start()).map_err(|_| unknown());
        match text.split_once(' ') {
            None => match text {
                "state" => Ok(Self::State),
                "timers" => Ok(Self::Timers),
                "sessions" => Ok(Self::Sessions),
                _ => Err(unknown()),
            },
            Some(("publish", topics)) => pattern(topics).map(Self::Publish),
            Some(("subscribe", topics)) => pattern(topics).map(Self::Subscribe),
            Some(_) => Err(unknown()),
        }
    }

    /// Whether this capability includes the other.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Publish(mine), Self::Publish(other)) | (Self::Subscribe(mine), Self::Subscribe(other)) => {
                mine.covers(other)
            }
            _ => self == other,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State => f.write_str("state"),
            Self::Timers => f.write_str("timers"),
            Self::Sessions => f.write_str("sessions"),
            Self::Publish(pattern) => write!(f, "publish {pattern}"),
            Self::Subscribe(pattern) => write!(f, "subscribe {pattern}"),
        }
    }
}

/// The capabilities of a loaded plugin: those that it requests, all of which are granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    state: bool,
    timers: bool,
    sessions: bool,
    publish: Vec<Pattern>,
    subscribe: Vec<Pattern>,
}

impl Capabilities {
    /// The capabilities in `needs`, if all are granted.
    ///
    /// # Errors
    /// The first one that is not granted.
    pub fn of(needs: &[Capability], grants: &[Capability]) -> Result<Self, Capability> {
        let mut all = Self::default();
        for need in needs {
            if !grants.iter().any(|grant| grant.covers(need)) {
                return Err(need.clone());
            }
            match need {
                Capability::State => all.state = true,
                Capability::Timers => all.timers = true,
                Capability::Sessions => all.sessions = true,
                Capability::Publish(pattern) => all.publish.push(pattern.clone()),
                Capability::Subscribe(pattern) => all.subscribe.push(pattern.clone()),
            }
        }
        Ok(all)
    }

    /// Whether something is allowed.
    pub fn may(&self, permission: Permission<'_>) -> bool {
        let selects = |patterns: &[Pattern], topic| patterns.iter().any(|pattern| pattern.matches(topic));
        match permission {
            Permission::State => self.state,
            Permission::Timers => self.timers,
            Permission::Sessions => self.sessions,
            Permission::Publish(topic) => selects(&self.publish, topic),
            Permission::Subscribe(topic) => selects(&self.subscribe, topic),
        }
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::topic::Topic;

    use super::*;

    fn all(texts: &[&str]) -> Vec<Capability> {
        texts.iter().map(|text| Capability::parse(text).expect("a capability")).collect()
    }

    #[test]
    fn words_are_read_and_written() {
        for text in ["state", "timers", "sessions", "publish alerts.>", "subscribe market.*"] {
            assert_eq!(Capability::parse(text).map(|capability| capability.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "State", "publish", "publish ", "publish a..b", "state now", "subscribe $x"] {
            let error = Capability::parse(text).expect_err(text).to_string();
            assert!(error.starts_with(&format!("`{text}` is no capability")), "{error}");
        }
    }

    #[test]
    fn a_plugin_may_do_what_it_asked_for_and_was_granted() {
        let grants = all(&["state", "publish alerts.>"]);
        let may = Capabilities::of(&all(&["state", "publish alerts.*"]), &grants).expect("all is granted");
        let topic = |name: &str| Topic::parse(name).expect("a topic");
        let (a, b) = (topic("alerts.a"), topic("alerts.a.b"));
        assert!(may.may(Permission::State) && !may.may(Permission::Timers) && may.may(Permission::Publish(&a)));
        assert!(!may.may(Permission::Publish(&b)), "granted, and not asked for");
        assert!(!may.may(Permission::Subscribe(&a)));
        for (needs, missing) in [("timers", "timers"), ("publish >", "publish >"), ("subscribe a", "subscribe a")] {
            let refused = Capabilities::of(&all(&["state", needs]), &grants).expect_err(needs);
            assert_eq!(refused.to_string(), missing);
        }
    }
}
