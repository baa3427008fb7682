//! Which topics patterns select, as the topic rules say.

use rialto::config::{Config, TopicRule};
use rialto::topic::Pattern;
use rialto::{Codec, Delivery, Policy};
use serde_json::json;

use crate::patterns::subscriber::Subscriber;
use crate::support::{Running, root};

fn add(config: &mut Config, pattern: &str, change: impl FnOnce(&mut TopicRule)) {
    let mut rule = TopicRule { pattern: Pattern::parse(pattern).unwrap(), ..TopicRule::default() };
    change(&mut rule);
    config.topics.insert(0, rule);
}

#[tokio::test]
async fn topics_whose_rule_forbids_it_are_not_selected() {
    let running = Running::with(|config| {
        add(config, "hidden.*", |rule| rule.patterns = Some(false));
        add(config, "latest.*", |rule| {
            rule.delivery = Delivery::Latest;
            rule.delivery_max = Policy::Latest;
        });
        // Its subscribers get the last message unless they ask for more, which patterns do.
        add(config, "open.*", |rule| rule.delivery = Delivery::Latest);
    });
    let mut selecting = Subscriber::of(&running, Codec::Json, &[">", "hidden.*", "*.x", "latest.*"]).await;
    let mut exact = Subscriber::of(&running, Codec::MessagePack, &["hidden.x", "latest.x", "open.x"]).await;
    for topic in ["hidden.x", "latest.x", "open.x", "other"] {
        exact.publish(topic, json!(topic)).await;
    }
    assert_eq!(selecting.data().await, ["open.x", "other"]);
    assert_eq!(exact.data().await, ["hidden.x", "latest.x", "open.x"]);
}

mod plugins {
    use rialto::config::PluginConfig;

    use super::*;

    /// Two rooms of the chat as it is shipped, of which patterns select one.
    fn rooms() -> Running {
        Running::with(|config| {
            let path = root().join("plugins/dist/chat.wasm");
            config.plugins.insert("chat".to_owned(), PluginConfig { path, ..PluginConfig::default() });
            add(config, "chat.closed", |rule| rule.plugin = Some("chat".to_owned()));
            add(config, "chat.open", |rule| {
                rule.plugin = Some("chat".to_owned());
                rule.patterns = Some(true);
            });
        })
    }

    async fn enter(member: &mut Subscriber, room: &str) {
        let data = json!({"name": "ada"});
        member.ok(json!({"type": "call", "topic": room, "method": "claim", "data": data})).await;
    }

    #[tokio::test]
    async fn topics_of_a_plugin_are_selected_where_the_rule_says_so() {
        let running = rooms();
        let mut selecting = Subscriber::of(&running, Codec::Json, &["chat.*", ">"]).await;
        let mut member = Subscriber::of(&running, Codec::MessagePack, &["chat.open", "chat.closed"]).await;
        for room in ["chat.open", "chat.closed"] {
            enter(&mut member, room).await;
            member.publish(room, json!({"text": room})).await;
        }
        let texts: Vec<(String, String)> = selecting
            .arrived()
            .await
            .into_iter()
            .map(|(topic, _, data)| (topic, data["text"].as_str().unwrap_or_default().to_owned()))
            .collect();
        let open = || "chat.open".to_owned();
        assert_eq!(texts, [(open(), String::new()), (open(), open())], "the announcement and the message");
        assert_eq!(member.arrived().await.len(), 4);
    }

    #[tokio::test]
    async fn a_message_that_a_plugin_put_in_its_place_is_not_echoed_either() {
        let running = rooms();
        let mut member = Subscriber::of(&running, Codec::Json, &["chat.open", "chat.*"]).await;
        let mut other = Subscriber::of(&running, Codec::MessagePack, &["chat.open"]).await;
        enter(&mut member, "chat.open").await;
        let request = json!({"type": "publish", "topic": "chat.open", "data": {"text": "hello"}, "echo": false});
        assert_eq!(member.ok(request).await["position"]["offset"], 2);
        let announced = member.data().await;
        assert!(announced.len() == 1 && announced[0].get("text").is_none(), "{announced:?}");
        let heard = other.data().await;
        // The plugin adds the author: this is not what was published.
        assert_eq!(
            (heard.len(), &heard[1]["text"], &heard[1]["author"]),
            (2, &json!("hello"), &json!("ada")),
            "{heard:?}"
        );
    }
}
