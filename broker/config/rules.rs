//! Finds the rule of a topic, and compares what rules say.

use std::sync::Arc;

use rialto_protocol::{Delivery, Policy};

use super::permissions::placeholders;
use super::{Access, Auth, Config, History, OnFailure, TopicRule};
use crate::topic::{Pattern, Topic};

/// The topic rules in file order.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Arc<TopicOptions>>,
}

/// What the rules say about one topic; all topics of a rule share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicOptions {
    /// Index of the rule that decided, counted from 0 in file order.
    pub rule: usize,
    /// Its pattern.
    pub pattern: Pattern,
    /// The pattern of the topics that it is for: with `*` where its pattern has a placeholder.
    pub selects: Pattern,
    /// Who may do what.
    pub access: Access,
    /// Name of the plugin that owns the topic.
    pub plugin: Option<Arc<str>>,
    /// Whether messages say which session published them.
    pub reveal_publisher: bool,
    /// The delivery policy of subscriptions that name none.
    pub delivery: Delivery,
    /// The strongest policy that a subscription may choose.
    pub delivery_max: Policy,
    /// The past messages that are kept.
    pub history: Option<History>,
    /// Whether the topic has presence.
    pub presence: bool,
    /// Whether subscriptions by pattern select the topic.
    pub patterns: bool,
    /// How long idempotency keys are kept, in milliseconds.
    pub keys_ms: u64,
    /// Whether requests take effect without the plugin while it is down.
    pub passes_on_failure: bool,
}

impl Rules {
    /// The rules of a configuration. Those that are the same before are the very same values.
    pub(super) fn of(config: &Config, before: Option<&Rules>) -> Rules {
        let mut rules = Rules::with(&config.topics, config.auth.as_ref());
        for rule in &mut rules.rules {
            let same = before.and_then(|before| before.rules.iter().find(|known| *known == rule));
            if let Some(same) = same {
                *rule = Arc::clone(same);
            }
        }
        rules
    }

    /// Takes the rules in the order in which they are tried, of a broker that authenticates nobody.
    pub fn new(rules: &[TopicRule]) -> Rules {
        Self::with(rules, None)
    }

    /// The same, with what holds where a rule does not say who may do something.
    pub fn with(rules: &[TopicRule], auth: Option<&Auth>) -> Rules {
        let options = |(rule, from): (usize, &TopicRule)| TopicOptions {
            rule,
            pattern: from.pattern.clone(),
            selects: placeholders(&from.pattern).0,
            access: Access::of(from, auth),
            plugin: from.plugin.as_deref().map(Arc::from),
            reveal_publisher: from.reveal_publisher,
            delivery: from.delivery.clone(),
            delivery_max: from.delivery_max,
            history: from.history,
            presence: from.presence,
            patterns: from.patterns.unwrap_or(from.plugin.is_none()),
            keys_ms: from.keys_ms,
            passes_on_failure: from.on_failure == OnFailure::Pass,
        };
        Rules { rules: rules.iter().enumerate().map(options).map(Arc::new).collect() }
    }

    /// The options of the first matching rule; none if no rule matches. Linear in the rules: call it once per topic.
    pub fn options(&self, topic: &Topic) -> Option<Arc<TopicOptions>> {
        self.rules.iter().find(|rule| rule.selects.matches(topic)).cloned()
    }

    /// All rules, in the order in which they are tried.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<TopicOptions>> {
        self.rules.iter()
    }
}

impl TopicOptions {
    /// Whether they say the same of a topic, whichever rule it is.
    pub(crate) fn act_as(&self, other: &TopicOptions) -> bool {
        TopicOptions { rule: other.rule, pattern: other.pattern.clone(), ..self.clone() } == *other
    }

    /// Whether subscriptions by pattern select the topics: they receive every message.
    pub(crate) fn is_selected(&self) -> bool {
        self.patterns && self.delivery_max == Policy::Queue
    }

    /// Whether subscribers may stay when these follow others: nobody else has to admit them, and what they chose and follow is
    /// there still.
    pub(crate) fn admit_as(&self, other: &TopicOptions) -> bool {
        self.plugin == other.plugin
            && self.delivery == other.delivery
            && self.delivery_max == other.delivery_max
            && self.presence == other.presence
    }
}

/// The line of a file, counted from 1, in which the topic rule with this index begins.
#[cfg(feature = "cli")]
pub(crate) fn rule_line(text: &str, index: usize) -> Option<usize> {
    let document = toml::de::DeTable::parse(text).ok()?.into_inner();
    let toml::de::DeValue::Array(rules) = document.get("topic")?.get_ref() else { return None };
    let at = rules.get(index)?.span().start;
    Some(1 + text.get(..at)?.matches('\n').count())
}

#[cfg(test)]
impl TopicOptions {
    /// Those of an open topic with this history.
    pub(crate) fn of_test(history: Option<History>, keys_ms: u64) -> Arc<Self> {
        let rules = Rules::new(&[TopicRule { history, keys_ms, ..TopicRule::default() }]);
        Arc::clone(&rules.rules[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_match_wins() {
        let rule = |pattern: &str, plugin: &str| TopicRule {
            pattern: Pattern::parse(pattern).expect("valid"),
            plugin: (!plugin.is_empty()).then(|| plugin.to_owned()),
            reveal_publisher: plugin == "chat",
            ..TopicRule::default()
        };
        let rules = Rules::new(&[rule("chat.staff", ""), rule("chat.*", "chat"), rule("news.>", "")]);
        let cases = [
            ("chat.staff", Some((0, None, false))),
            ("chat.lobby", Some((1, Some("chat"), true))),
            ("news.a.b", Some((2, None, false))),
            ("chat", None),
        ];
        for (topic, expected) in cases {
            let got = rules.options(&Topic::parse(topic).expect("valid"));
            let got = got.as_ref().map(|o| (o.rule, o.plugin.as_deref(), o.reveal_publisher));
            assert_eq!(got, expected, "{topic}");
        }
    }
}
