//! The configuration in force: one value, which a reload replaces as a whole, so that nobody sees a part of it.

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::{Config, Rules};
use crate::endpoints::Endpoints;

/// A configuration with what is derived from it.
#[derive(Clone, Debug)]
pub(crate) struct ActiveConfig {
    config: Config,
    /// The topic rules.
    pub(crate) rules: Rules,
    /// Whether requests have rate limits.
    pub(crate) has_rates: bool,
    /// Whether a topic rule has some of its own.
    pub(crate) has_topic_rates: bool,
    /// The paths of the raw endpoints, with their plugins.
    pub(crate) endpoints: Endpoints,
}

/// The configuration in force. Reading it takes no lock.
#[derive(Debug)]
pub(crate) struct CurrentConfig(ArcSwap<ActiveConfig>);

impl ActiveConfig {
    /// Rules that are as they were before are the very same values.
    fn new(config: Config, before: Option<&Rules>) -> Self {
        let endpoints = config.endpoints.iter().map(|endpoint| (endpoint.path.as_str(), endpoint.plugin.as_str()));
        let rules = Rules::of(&config, before);
        let has_topic_rates = rules.iter().any(|rule| rule.rates.are_any());
        Self { has_topic_rates, rules, endpoints: Endpoints::new(endpoints), has_rates: config.rates.are_any(), config }
    }
}

impl Deref for ActiveConfig {
    type Target = Config;

    fn deref(&self) -> &Config {
        &self.config
    }
}

impl CurrentConfig {
    pub(crate) fn new(config: Config) -> Self {
        Self(ArcSwap::from_pointee(ActiveConfig::new(config, None)))
    }

    /// The configuration, for a moment: a caller that needs it for longer takes [`CurrentConfig::get`].
    pub(crate) fn load(&self) -> Guard<Arc<ActiveConfig>> {
        self.0.load()
    }

    /// The configuration, which stays as it is for the one who holds it.
    pub(crate) fn get(&self) -> Arc<ActiveConfig> {
        self.0.load_full()
    }

    /// Replaces the configuration.
    pub(crate) fn set(&self, config: Config) {
        let before = self.get();
        self.0.store(Arc::new(ActiveConfig::new(config, Some(&before.rules))));
    }

    /// Changes a part of the configuration, before anything is served by it.
    pub(crate) fn update(&self, change: impl Fn(&mut Config)) {
        self.0.rcu(|before| {
            let mut config = before.config.clone();
            change(&mut config);
            ActiveConfig::new(config, Some(&before.rules))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TopicRule;
    use crate::topic::{Pattern, Topic};

    #[test]
    fn rules_that_stay_are_the_same_values() {
        let rule = |pattern: &str, presence| TopicRule {
            pattern: Pattern::parse(pattern).expect("a pattern"),
            presence,
            ..TopicRule::default()
        };
        let with = |topics| Config { topics, ..Config::default() };
        let current = CurrentConfig::new(with(vec![rule("a.*", false), rule("b.*", false)]));
        let options = |topic: &str| current.get().rules.options(&Topic::parse(topic).expect("a topic"));
        let (a, b) = (options("a.x").expect("a rule"), options("b.x").expect("a rule"));
        current.set(with(vec![rule("a.*", false), rule("b.*", true)]));
        assert!(Arc::ptr_eq(&a, &options("a.x").expect("a rule")));
        assert!(!Arc::ptr_eq(&b, &options("b.x").expect("a rule")));
    }

    #[test]
    fn rates_of_a_rule_are_found_with_its_topics() {
        let rule = |pattern: &str, calls_per_s| TopicRule {
            pattern: Pattern::parse(pattern).expect("a pattern"),
            calls_per_s,
            ..TopicRule::default()
        };
        let with = |calls_per_s| Config { topics: vec![rule("a.*", calls_per_s), rule(">", 0)], ..Config::default() };
        let current = CurrentConfig::new(with(0));
        let calls = |topic: &str| {
            let options = current.get().rules.options(&Topic::parse(topic).expect("a topic")).expect("a rule");
            (options.rates.calls, options.rates.are_any())
        };
        assert!(!current.load().has_topic_rates && !current.load().has_rates);
        assert_eq!(calls("a.x"), (0, false));
        current.set(with(7));
        assert!(current.load().has_topic_rates && !current.load().has_rates);
        assert_eq!((calls("a.x"), calls("b")), ((7, true), (0, false)));
    }
}
