//! The chat component as it is shipped, through real sockets: names, messages, announcements, rooms.

use rialto::config::{History, PluginConfig, TopicRule};
use rialto::topic::Pattern;
use rialto::{Broker, Codec};
use serde_json::{Value, json};

use crate::support::{Client, Running, root};

const LOBBY: &str = "chat.lobby";

fn configure(config: &mut rialto::config::Config, settings: Value) {
    let path = root().join("plugins/dist/chat.wasm");
    config.plugins.insert("chat".to_owned(), PluginConfig { path, config: settings, ..PluginConfig::default() });
    let pattern = Pattern::parse("chat.*").unwrap();
    config.topics.insert(0, TopicRule { pattern, plugin: Some("chat".to_owned()), ..TopicRule::default() });
}

fn running() -> Running {
    running_with(json!({}))
}

fn running_with(settings: Value) -> Running {
    Running::with(|config| configure(config, settings))
}

async fn claim(client: &mut Client, room: &str, name: &str) -> Value {
    client.request(json!({"type": "call", "topic": room, "method": "claim", "data": {"name": name}})).await
}

async fn members(client: &mut Client, room: &str) -> Value {
    client.ok(json!({"type": "call", "topic": room, "method": "members"})).await["data"]["members"].clone()
}

/// A session that has entered the lobby under a name; its own announcement is taken already.
async fn member(running: &Running, codec: Codec, name: &str) -> Client {
    let mut client = running.client(codec).await;
    client.subscribe(LOBBY).await;
    assert_eq!(claim(&mut client, LOBBY, name).await["type"], "ok");
    assert_eq!(event(&mut client).await, json!({"kind": "joined", "name": name}));
    client
}

/// The next thing that happens in a room, without its time, which must be a plausible one.
async fn event(client: &mut Client) -> Value {
    let mut data = client.message().await["data"].take();
    let time = data.as_object_mut().expect("an event is a map").remove("time").expect("an event has a time");
    assert!(time.as_u64().unwrap() > 1_700_000_000_000, "{time}");
    data
}

/// A rejection's kind.
async fn rejected(client: &mut Client, request: Value) -> Value {
    let error = client.refused(request, "rejected").await;
    assert!(error["message"].as_str().is_some_and(|reason| !reason.is_empty()), "{error}");
    error["detail"].clone()
}

fn say(data: Value) -> Value {
    json!({"type": "publish", "topic": LOBBY, "data": data})
}

/// Each codec with each.
fn pairs() -> [(Codec, Codec); 4] {
    let [json, msgpack] = Codec::ALL;
    [(json, json), (json, msgpack), (msgpack, json), (msgpack, msgpack)]
}

#[tokio::test]
async fn members_come_speak_and_go_and_everybody_sees_it_in_either_codec() {
    for (one, other) in pairs() {
        let running = running();
        let mut ada = member(&running, one, "Ada").await;
        let mut bob = running.client(other).await;
        bob.subscribe(LOBBY).await;
        let welcome = claim(&mut bob, LOBBY, "Bob").await;
        assert_eq!(welcome["data"], json!({"name": "Bob", "room": "lobby", "members": ["Ada", "Bob"]}));
        for client in [&mut ada, &mut bob] {
            assert_eq!(event(client).await, json!({"kind": "joined", "name": "Bob"}));
        }
        ada.ok(say(json!({"text": "Hi, Bob é😀"}))).await;
        bob.ok(say(json!("just text"))).await;
        for client in [&mut ada, &mut bob] {
            assert_eq!(event(client).await, json!({"kind": "message", "author": "Ada", "text": "Hi, Bob é😀"}));
            assert_eq!(event(client).await, json!({"kind": "message", "author": "Bob", "text": "just text"}));
        }
        assert_eq!(members(&mut ada, LOBBY).await, json!(["Ada", "Bob"]));
        ada.close().await;
        assert_eq!(event(&mut bob).await, json!({"kind": "left", "name": "Ada"}));
        assert_eq!(members(&mut bob, LOBBY).await, json!(["Bob"]));
    }
}

#[tokio::test]
async fn a_name_belongs_to_one_member_however_it_is_written() {
    for (one, other) in pairs() {
        let running = running();
        let _ada = member(&running, one, "Ada").await;
        let mut thief = running.client(other).await;
        thief.subscribe(LOBBY).await;
        for name in ["Ada", "ADA", " ada "] {
            let reply = claim(&mut thief, LOBBY, name).await;
            assert_eq!(
                (&reply["code"], &reply["detail"]["kind"]),
                (&json!("rejected"), &json!("name_taken")),
                "{reply}"
            );
        }
        assert_eq!(members(&mut thief, LOBBY).await, json!(["Ada"]));
        for name in ["", "   ", "A\u{202e}da", &"x".repeat(33)] {
            assert_eq!(claim(&mut thief, LOBBY, name).await["detail"]["kind"], "invalid_name", "{name:?}");
        }
        thief.ping().await;
        assert_eq!(thief.take_all(), Vec::<Value>::new(), "nothing was announced");
    }
}

#[tokio::test]
async fn nobody_can_speak_as_someone_else() {
    let running = running();
    for (codec, name) in Codec::ALL.into_iter().zip(["Eve", "Mallory"]) {
        let mut eve = member(&running, codec, name).await;
        let forged = json!({"text": "hi", "author": "Ada", "kind": "left", "name": "Ada", "time": 1, "from": "Ada"});
        eve.ok(say(forged)).await;
        assert_eq!(event(&mut eve).await, json!({"kind": "message", "author": name, "text": "hi"}));
        eve.ok(json!({"type": "publish", "topic": LOBBY, "data": "x", "from": {"session": "a"}, "session": "a"})).await;
        assert_eq!(event(&mut eve).await["author"], name);
        eve.close().await;
        running.becomes_empty().await;
    }
}

#[tokio::test]
async fn a_session_without_a_name_or_outside_the_room_cannot_publish() {
    let running = running();
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        assert_eq!(rejected(&mut client, say(json!("hi"))).await, json!({"kind": "no_name"}));
        assert_eq!(claim(&mut client, LOBBY, "Ada").await["detail"], json!({"kind": "not_present"}));
        client.subscribe(LOBBY).await;
        assert_eq!(rejected(&mut client, say(json!("hi"))).await, json!({"kind": "no_name"}));
        assert_eq!(claim(&mut client, LOBBY, "Ada").await["type"], "ok");
        client.ok(json!({"type": "unsubscribe", "topic": LOBBY})).await;
        assert_eq!(rejected(&mut client, say(json!("hi"))).await, json!({"kind": "no_name"}));
        client.close().await;
        running.becomes_empty().await;
    }
}

#[tokio::test]
async fn empty_over_long_and_unfit_messages_are_rejected_with_the_reason() {
    let running = running();
    for codec in Codec::ALL {
        let mut ada = member(&running, codec, "Ada").await;
        for empty in [json!(""), json!(" \n\t"), json!({"text": ""})] {
            assert_eq!(rejected(&mut ada, say(empty)).await, json!({"kind": "empty"}));
        }
        let long = json!({"text": "é".repeat(2_001)});
        assert_eq!(rejected(&mut ada, say(long)).await, json!({"kind": "too_long", "length": 2_001, "limit": 2_000}));
        assert_eq!(rejected(&mut ada, say(json!("a\u{7}b"))).await, json!({"kind": "invalid_text"}));
        for unfit in [json!(5), json!(null), json!([]), json!({}), json!({"text": 5})] {
            assert_eq!(rejected(&mut ada, say(unfit)).await, json!({"kind": "invalid_data"}));
        }
        let bytes = if codec == Codec::Json { json!("AAE=") } else { json!({"$bin": "AAE="}) };
        let opaque = json!({"type": "publish", "topic": LOBBY, "bytes": bytes});
        assert_eq!(rejected(&mut ada, opaque).await, json!({"kind": "invalid_data"}));
        let longest = "é".repeat(2_000);
        ada.ok(say(json!(longest))).await;
        assert_eq!(event(&mut ada).await["text"], longest, "only this one was heard");
        ada.close().await;
        running.becomes_empty().await;
    }
}

#[tokio::test]
async fn a_member_may_take_another_name() {
    let running = running();
    let mut ada = member(&running, Codec::Json, "Ada").await;
    let mut bob = member(&running, Codec::MessagePack, "Bob").await;
    assert_eq!(event(&mut ada).await["name"], "Bob");
    assert_eq!(claim(&mut ada, LOBBY, "Countess").await["data"]["members"], json!(["Bob", "Countess"]));
    for client in [&mut ada, &mut bob] {
        assert_eq!(event(client).await, json!({"kind": "renamed", "from": "Ada", "to": "Countess"}));
    }
    assert_eq!(claim(&mut bob, LOBBY, "Ada").await["type"], "ok", "the old name is free");
    assert_eq!(event(&mut ada).await, json!({"kind": "renamed", "from": "Bob", "to": "Ada"}));
    assert_eq!(claim(&mut ada, LOBBY, "Countess").await["type"], "ok", "one's own name again");
    ada.ping().await;
    assert_eq!(ada.take_all(), Vec::<Value>::new(), "nothing changed, so nothing is announced");
}

#[tokio::test]
async fn the_room_is_notified_and_the_name_is_freed_however_a_member_leaves() {
    let running = running();
    let mut bob = member(&running, Codec::Json, "Bob").await;
    for way in ["unsubscribe", "close", "reset", "drop"] {
        for codec in Codec::ALL {
            let mut ada = running.raw(codec).await;
            ada.request(&json!({"type": "subscribe", "topic": LOBBY, "id": 1})).await;
            assert_eq!(ada.frame_value().await["type"], "ok");
            let claim = json!({"type": "call", "topic": LOBBY, "method": "claim", "data": {"name": "Ada"}, "id": 2});
            ada.request(&claim).await;
            assert_eq!(event(&mut bob).await, json!({"kind": "joined", "name": "Ada"}), "{way}");
            match way {
                "unsubscribe" => ada.request(&json!({"type": "unsubscribe", "topic": LOBBY, "id": 3})).await,
                "close" => ada.send(&crate::support::raw::masked(0x88, &[3, 232])).await,
                "reset" => ada.reset(),
                _ => drop(ada),
            }
            assert_eq!(event(&mut bob).await, json!({"kind": "left", "name": "Ada"}), "{way}");
            assert_eq!(members(&mut bob, LOBBY).await, json!(["Bob"]));
        }
    }
}

#[tokio::test]
async fn rooms_are_apart() {
    let running = running();
    let mut ada = member(&running, Codec::Json, "Ada").await;
    let mut other = running.client(Codec::MessagePack).await;
    other.subscribe("chat.cellar").await;
    assert_eq!(claim(&mut other, "chat.cellar", "Ada").await["data"]["members"], json!(["Ada"]));
    assert_eq!(event(&mut other).await, json!({"kind": "joined", "name": "Ada"}));
    ada.ok(say(json!("for the lobby"))).await;
    other.ok(json!({"type": "publish", "topic": "chat.cellar", "data": "for the cellar"})).await;
    assert_eq!(event(&mut ada).await["text"], "for the lobby");
    assert_eq!(event(&mut other).await["text"], "for the cellar");
    // A session in both has a name of its own in each.
    ada.subscribe("chat.cellar").await;
    assert_eq!(claim(&mut ada, "chat.cellar", "ada").await["detail"]["kind"], "name_taken");
    assert_eq!(claim(&mut ada, "chat.cellar", "Lovelace").await["type"], "ok");
    other.close().await;
    let mut heard = Vec::new();
    for _ in 0..2 {
        let message = ada.message().await;
        assert_eq!(message["topic"], "chat.cellar");
        heard.push(message["data"]["kind"].clone());
    }
    assert_eq!(heard, ["joined", "left"]);
    ada.ping().await;
    assert_eq!(ada.take_all(), Vec::<Value>::new());
}

#[tokio::test]
async fn wrong_calls_are_rejected_with_their_kind() {
    let running = running_with(json!({"members_max": 1}));
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        client.subscribe(LOBBY).await;
        let call = |topic: &str, method: &str| json!({"type": "call", "topic": topic, "method": method, "data": {"name": "x"}});
        assert_eq!(rejected(&mut client, call(LOBBY, "dance")).await, json!({"kind": "unknown_method"}));
        let to_the_plugin = json!({"type": "call", "plugin": "chat", "method": "members"});
        assert_eq!(rejected(&mut client, to_the_plugin).await, json!({"kind": "no_topic"}));
        let nameless = json!({"type": "call", "topic": LOBBY, "method": "claim", "data": {"name": 5}});
        assert_eq!(rejected(&mut client, nameless).await, json!({"kind": "invalid_data"}));
        let bare = json!({"type": "call", "topic": LOBBY, "method": "claim"});
        assert_eq!(rejected(&mut client, bare).await, json!({"kind": "invalid_data"}));
        let first = member(&running, codec, "Ada").await;
        assert_eq!(claim(&mut client, LOBBY, "Bob").await["detail"], json!({"kind": "room_full"}));
        first.close().await;
        client.close().await;
        running.becomes_empty().await;
    }
}

#[tokio::test]
async fn a_full_chat_rejects_newcomers_and_serves_its_members() {
    let running = running_with(json!({"names_max": 4}));
    let mut eve = running.client(Codec::Json).await;
    for room in ["chat.a", "chat.b", "chat.c"] {
        eve.subscribe(room).await;
        assert_eq!(claim(&mut eve, room, "Eve").await["type"], "ok");
    }
    eve.subscribe("chat.d").await;
    assert_eq!(claim(&mut eve, "chat.d", "Eve").await["detail"], json!({"kind": "over_share", "limit": 1}));
    let mut ada = member(&running, Codec::MessagePack, "Ada").await;
    let mut late = running.client(Codec::Json).await;
    late.subscribe(LOBBY).await;
    assert_eq!(claim(&mut late, LOBBY, "Late").await["detail"], json!({"kind": "chat_full"}));
    ada.ok(say(json!("hi"))).await;
    assert_eq!(event(&mut ada).await["text"], "hi");
    eve.close().await;
    while claim(&mut late, LOBBY, "Late").await["type"] == "error" {}
    assert_eq!(event(&mut ada).await, json!({"kind": "joined", "name": "Late"}));
}

#[test]
fn wrong_settings_keep_the_broker_from_starting() {
    for (settings, words) in [(json!({"text_max": 0}), "text_max"), (json!({"txt_max": 1}), "txt_max")] {
        let mut config = rialto::config::Config::default();
        configure(&mut config, settings);
        config.plugins.get_mut("chat").unwrap().required = true;
        let error = Broker::builder().config(config).start().unwrap_err().to_string();
        assert!(error.contains("plugin \"chat\"") && error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_departure_reaches_the_room_however_full_the_broker_is() {
    let running = Running::with(|config| {
        configure(config, json!({}));
        config.limits.topics = 2;
        config.limits.close_ms = 10_000;
    });
    let mut other = running.client(Codec::Json).await;
    other.subscribe("kept").await;
    let mut ada = running.raw(Codec::Json).await;
    for request in [
        json!({"type": "subscribe", "id": 1, "topic": LOBBY}),
        json!({"type": "call", "id": 2, "topic": LOBBY, "method": "claim", "data": {"name": "Ada"}}),
    ] {
        ada.request(&request).await;
    }
    while ada.frame_value().await["id"] != 2 {}
    // She breaks the rules, is told goodbye and does not hang up: her subscription is over, her session is not.
    ada.send(&crate::support::raw::unmasked(crate::support::raw::FIN | crate::support::raw::CLOSE, &[])).await;
    while ada.frame().await.unwrap().opcode != crate::support::raw::CLOSE {}
    // Meanwhile the room, in which nobody is, has to make way, and the broker is full again.
    while other.request(json!({"type": "subscribe", "topic": "new"})).await["type"] == "error" {}
    ada.reset();
    crate::support::eventually("her session is over", || running.broker.metrics().sessions == 1).await;
    other.ok(json!({"type": "unsubscribe", "topic": "new"})).await;
    while other.request(json!({"type": "subscribe", "topic": LOBBY})).await["type"] == "error" {}
    assert_eq!(claim(&mut other, LOBBY, "Ada").await["data"]["members"], json!(["Ada"]));
}

#[tokio::test]
async fn a_list_of_rooms_is_left_when_the_answer_comes() {
    let running = running();
    let mut ada = member(&running, Codec::Json, "Ada").await;
    let mut bo = member(&running, Codec::MessagePack, "Bo").await;
    ada.subscribe("chat.other").await;
    let list = json!([{"topic": LOBBY}, {"topic": "chat.other"}]);
    ada.ok(json!({"type": "unsubscribe", "topics": list})).await;
    assert_eq!(members(&mut bo, LOBBY).await, json!(["Bo"]));
    ada.take_all();
    bo.publish(LOBBY, json!("hello")).await;
    ada.ping().await;
    assert_eq!(ada.take_all(), Vec::<Value>::new());
}

#[tokio::test]
async fn only_members_can_read_history_and_presence() {
    let running = Running::with(|config| {
        configure(config, json!({}));
        config.topics[0].history = Some(History::default());
        config.topics[0].presence = true;
    });
    let mut ada = member(&running, Codec::Json, "ada").await;
    let mut stranger = running.client(Codec::Json).await;
    let asked = ["history", "presence"].map(|request| json!({"type": request, "topic": LOBBY}));
    for request in &asked {
        stranger.refused(request.clone(), "forbidden").await;
        ada.ok(request.clone()).await;
    }
    ada.ok(json!({"type": "unsubscribe", "topic": LOBBY})).await;
    for request in &asked {
        ada.refused(request.clone(), "forbidden").await;
    }
    assert_eq!(running.broker.history(LOBBY, None, None).unwrap().messages.len(), 2, "the embedder may ask");
}
