//! Lets the topics in memory follow rules that have changed. A topic keeps its order; subscribers stay unless they have to be
//! admitted anew.

use std::sync::Arc;
use std::sync::atomic::Ordering::Release;

use rialto_protocol::{ErrorCode, Failure};

use super::{TopicEntry, TopicRegistry, no_rule};
use crate::clock::Now;
use crate::config::{ActiveConfig, TopicOptions};
use crate::engine::{Engine, retention};
use crate::store::Store;
use crate::topic::Topic;

/// When subscribers may come back at the earliest whose topic has another rule.
const RETRY_MS: u64 = 50;

/// A topic that a plugin does not own any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LostTopic {
    pub(crate) topic: Topic,
    /// The plugin that owned it.
    pub(crate) plugin: Arc<str>,
}

impl TopicRegistry {
    /// Lets all topics in memory follow the configuration in force. Returns those that plugins do not own any more.
    pub(crate) fn follow_rules(&self, store: &dyn Store, now: Now) -> Vec<LostTopic> {
        // Copied first: while a topic changes, others must be found.
        let entries: Vec<Arc<TopicEntry>> = self.topics.iter().map(|there| Arc::clone(&there.key().0)).collect();
        let config = self.config.get();
        self.shares.set_max(config.limits.topics as u64);
        entries.iter().filter_map(|entry| self.follow(entry, &config, Some((store, now)))).collect()
    }

    /// A topic that was loaded by a configuration that may have been replaced meanwhile follows the one in force.
    pub(super) fn follow_new(
        &self,
        entry: Arc<TopicEntry>,
        loaded_by: &Arc<ActiveConfig>,
        engine: &Engine,
    ) -> Result<Arc<TopicEntry>, Failure> {
        let config = self.config.load();
        if Arc::ptr_eq(&config, loaded_by) {
            return Ok(entry);
        }
        // It has had no subscriber and no message yet.
        let _ = self.follow(&entry, &config, None);
        drop(config);
        if entry.has_rule() { Ok(entry) } else { self.entry_again(&entry, engine) }
    }

    /// Lets one topic follow. Returns it if it was owned by a plugin and is so no more.
    fn follow(&self, entry: &TopicEntry, config: &ActiveConfig, kept: Option<(&dyn Store, Now)>) -> Option<LostTopic> {
        let topic = entry.stream.topic();
        let mut lost = None;
        entry.stream.change_rule(|before| {
            if let Some(presence) = &*entry.presence() {
                presence.set_members_max(config.limits.presence_members);
            }
            let had_rule = entry.has_rule();
            let Some(rule) = config.rules.options(topic) else {
                return had_rule.then(|| {
                    lost.clone_from(&before.plugin);
                    entry.is_without_rule.store(true, Release);
                    self.hub.end_subscribers(&entry.reach, entry.stream.id(), topic, &no_rule(topic));
                    entry.presence.store(None);
                    // Another value: what was decided by the rule has to look the topic up again.
                    Arc::new((**before).clone())
                });
            };
            entry.is_without_rule.store(false, Release);
            if before.pattern != rule.pattern {
                entry.stream.set_account(self.account(&rule.pattern, entry.holder()));
            }
            if had_rule && rule.act_as(before) {
                return None;
            }
            if had_rule && before.plugin != rule.plugin {
                lost.clone_from(&before.plugin);
            }
            entry.reach.set_rule(Arc::clone(&rule));
            if !(had_rule && before.admit_as(&rule)) {
                self.admit_anew(entry, &rule, config);
            }
            if let Some((store, now)) = kept.filter(|_| before.history != rule.history) {
                store.set_retention(topic, rule.history.map(retention), now);
            }
            Some(rule)
        });
        lost.map(|plugin| LostTopic { topic: topic.clone(), plugin })
    }

    /// Ends the subscriptions to a topic, whose sessions may come back by its new rule.
    fn admit_anew(&self, entry: &TopicEntry, rule: &TopicOptions, config: &ActiveConfig) {
        let (topic, id) = (entry.stream.topic(), entry.stream.id());
        let text = format!("the rule of topic \"{topic}\" has changed: subscribe again");
        let failure = Failure::new(ErrorCode::Unavailable, text).retry_after_ms(RETRY_MS);
        self.hub.end_subscribers(&entry.reach, id, topic, &failure);
        entry.reach.audience().set_own_field(&rule.delivery);
        entry.presence.store(rule.presence.then(|| self.new_presence(topic, id, config)));
    }
}
