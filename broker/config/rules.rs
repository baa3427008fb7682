//! Finds the rule of a topic, and compares what rules say.

use std::sync::Arc;

use rialto_protocol::{Delivery, Policy};
use toml::de::DeValue;

use super::permissions::placeholders;
use super::section::Value;
use super::{Access, Auth, Config, History, OnFailure, TopicRates, TopicRule};
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
    /// How much one client may ask for per second in all topics of the rule.
    pub rates: TopicRates,
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
            rates: TopicRates {
                publishes: from.publishes_per_s,
                bytes: from.bytes_per_s,
                subscribes: from.subscribes_per_s,
                calls: from.calls_per_s,
            },
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

/// The line of each topic rule in the file that it comes from. Any two are equal: where a rule stands changes nothing.
#[derive(Clone, Debug, Default)]
pub struct RuleLines(Arc<[usize]>);

impl RuleLines {
    /// Those of the tables of a text.
    pub(super) fn new(text: &str, tables: &Value<'_>) -> Self {
        let DeValue::Array(tables) = tables.get_ref() else { return Self::default() };
        let (mut line, mut counted) = (1, 0);
        let begins = |table: &Value<'_>| {
            let at = table.span().start;
            line += text.get(counted..at).unwrap_or_default().matches('\n').count();
            counted = at;
            line
        };
        Self(tables.iter().map(begins).collect())
    }

    /// The line, counted from 1, in which the rule with this index begins; none where the rules are from no file.
    pub fn of(&self, rule: usize) -> Option<usize> {
        self.0.get(rule).copied()
    }
}

impl PartialEq for RuleLines {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for RuleLines {}

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
    use std::path::Path;

    use super::*;

    #[test]
    fn each_rule_of_a_file_has_its_line() {
        let lines = |text| Config::parse(text, Path::new("rialto.toml")).expect("valid").topic_lines;
        let text = "[server]\n\n[[topic]]\npattern = \"a\"\n# \u{e9}\n\n[[topic]]\npattern = \"b\"\n";
        for (text, expected) in [(text, [Some(3), Some(7), None]), ("\n\n[server]\n", [None; 3])] {
            assert_eq!([0, 1, 2].map(|rule| lines(text).of(rule)), expected, "{text}");
        }
        assert_eq!(lines(text), lines(""), "where rules stand changes nothing");
    }

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
