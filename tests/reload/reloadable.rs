//! A broker whose configuration a test changes while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rialto::config::{Config, TopicRule};
use rialto::topic::Pattern;
use rialto::{Codec, Reloaded};
use rialto_plugin::Session;
use rialto_plugin::prelude::*;
use serde_json::{Value, json};

use crate::support::{Client, Running, within};

/// Refuses messages that say "bad" and sessions on topics that end in "closed", and counts who leaves.
#[derive(Debug, Default)]
pub(super) struct Moderator {
    left: Arc<AtomicUsize>,
}

impl Plugin for Moderator {
    fn on_subscribe(&mut self, _: &mut Context, _: &Session, topic: &str) -> Result<()> {
        if topic.ends_with("closed") { Err(reject("nobody comes in here")) } else { Ok(()) }
    }

    fn on_unsubscribe(&mut self, _: &mut Context, _: &Session, _: &str) -> Result<()> {
        self.left.fetch_add(1, SeqCst);
        Ok(())
    }

    fn on_publish(&mut self, _: &mut Context, message: Message) -> Result<Verdict> {
        match message.data::<String>() {
            Ok(text) if text == "bad" => Err(reject("mind your words")),
            _ => Ok(Verdict::Accept),
        }
    }
}

/// A broker and the configuration that it has.
pub(super) struct Reloadable {
    pub(super) running: Running,
    pub(super) config: Config,
    /// How often the moderator was told that a session has left.
    pub(super) left: Arc<AtomicUsize>,
}

impl Reloadable {
    pub(super) fn start(change: impl FnOnce(&mut Config)) -> Self {
        let (mut kept, left) = (Config::default(), Arc::new(AtomicUsize::new(0)));
        let told = Arc::clone(&left);
        let moderator = move || Moderator { left: Arc::clone(&told) };
        let changed = |config: &mut Config| {
            change(config);
            kept.clone_from(config);
        };
        let running = Running::built(changed, |builder| builder.plugin("moderator", moderator));
        Self { running, config: kept, left }
    }

    /// Applies a changed configuration.
    pub(super) async fn reload(&mut self, change: impl FnOnce(&mut Config)) -> Reloaded {
        change(&mut self.config);
        within("a reload", self.running.broker.reload(self.config.clone())).await.expect("it is applied")
    }

    /// A session that is subscribed to a topic.
    pub(super) async fn subscriber(&self, topic: &str) -> Client {
        let mut client = self.running.client(Codec::Json).await;
        client.subscribe(topic).await;
        client
    }
}

/// A rule for these topics.
pub(super) fn rule(pattern: &str) -> TopicRule {
    TopicRule { pattern: Pattern::parse(pattern).unwrap(), ..TopicRule::default() }
}

/// The same with the moderator.
pub(super) fn moderated(pattern: &str) -> TopicRule {
    TopicRule { plugin: Some("moderator".to_owned()), ..rule(pattern) }
}

/// Waits until a session receives the end of its subscription. Returns the frame.
pub(super) async fn ended(client: &mut Client, topic: &str, code: &str) -> Value {
    let push = client.push().await;
    assert_eq!(
        (&push["type"], &push["topic"], &push["code"]),
        (&json!("unsubscribed"), &json!(topic), &json!(code)),
        "{push}"
    );
    push
}
