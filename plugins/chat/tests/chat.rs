//! The contract of the chat plugin, sentence by sentence, through the native test double; `full.rs` is about its limits.

use chat::Chat;
use rialto_plugin::Encoding;
use rialto_plugin::prelude::*;
use rialto_plugin::testing::{Failure, Host};
use serde_json::Value;

const LOBBY: &str = "chat.lobby";

fn host() -> Host<Chat> {
    host_with(json!({}))
}

fn host_with(config: Value) -> Host<Chat> {
    let host = Host::with_config(Chat::default(), &config).expect("the settings are valid");
    host.owns("chat.*").needs(["sessions", "state"])
}

fn claim(host: &mut Host<Chat>, session: &str, name: &str) -> Result<Value, Failure> {
    host.call(session, LOBBY, "claim", &json!({ "name": name })).map(|answer| answer.expect("a claim has an answer"))
}

fn join(host: &mut Host<Chat>, session: &str, name: &str) -> Value {
    host.subscribe(session, LOBBY).expect("anyone may subscribe");
    claim(host, session, name).expect("the name is free")
}

fn members(host: &mut Host<Chat>, topic: &str) -> Value {
    host.call("anyone", topic, "members", &json!(null)).expect("members is allowed").expect("and answers")
}

fn announced(host: &mut Host<Chat>) -> Vec<(String, Value)> {
    host.take_published().into_iter().map(|published| (published.topic, published.data)).collect()
}

fn state_entries(host: &Host<Chat>) -> usize {
    host.state::<Value>("sessions").len() + host.state::<Value>("names").len()
}

#[test]
fn a_claim_is_answered_and_announced() {
    let mut host = host();
    let time = host.now_ms();
    join(&mut host, "s2", "Bob");
    let joined = (LOBBY.to_owned(), json!({"kind": "joined", "name": "Bob", "time": time}));
    assert_eq!(announced(&mut host), [joined]);
    host.advance(5);
    assert_eq!(join(&mut host, "s1", "Ada"), json!({"name": "Ada", "room": "lobby", "members": ["Ada", "Bob"]}));
    let joined = (LOBBY.to_owned(), json!({"kind": "joined", "name": "Ada", "time": time + 5}));
    assert_eq!(announced(&mut host), [joined]);
}

#[test]
fn a_session_must_be_in_the_room_to_claim() {
    let mut host = host();
    let expected = Failure::rejected("subscribe to the room before claiming a name", json!({"kind": "not_present"}));
    assert_eq!(claim(&mut host, "s1", "Ada"), Err(expected.clone()));
    host.subscribe("s1", "chat.other").expect("anyone may subscribe");
    assert_eq!(claim(&mut host, "s1", "Ada"), Err(expected.clone()));
    host.subscribe("s1", LOBBY).expect("anyone may subscribe");
    host.unsubscribe("s1", LOBBY).expect("anyone may leave");
    assert_eq!(claim(&mut host, "s1", "Ada"), Err(expected.clone()));
    let name = Payload::json(&json!({"name": "Ada"})).expect("it can be encoded");
    let call = Call::new(None, "claim").with_topic(LOBBY).with_payload(name);
    assert_eq!(host.request(call), Err(expected));
}

#[test]
fn names_are_tidied_or_refused_with_a_reason() {
    let table = [
        ("  Ada \t Lovelace ", Err("the name contains a control character (U+0009)")),
        ("  Ada   Lovelace ", Ok("Ada Lovelace")),
        ("", Err("the name is empty")),
        ("   ", Err("the name is empty")),
        ("a2345678901234567890123456789012", Ok("a2345678901234567890123456789012")),
        ("a23456789012345678901234567890123", Err("the name has 33 characters, the limit is 32")),
        ("Ada\u{202e}", Err("the name contains an invisible character (U+202E)")),
        ("A\u{200d}da", Err("the name contains an invisible character (U+200D)")),
    ];
    for (raw, expected) in table {
        let mut host = host();
        host.subscribe("s1", LOBBY).expect("anyone may subscribe");
        let name = claim(&mut host, "s1", raw).map(|answer| answer["name"].clone());
        let expected = match expected {
            Ok(name) => Ok(json!(name)),
            Err(reason) => Err(Failure::rejected(reason, json!({"kind": "invalid_name"}))),
        };
        assert_eq!(name, expected, "{raw:?}");
    }
}

#[test]
fn a_name_belongs_to_one_member_of_a_room() {
    let mut host = host();
    join(&mut host, "s1", "Ada");
    host.subscribe("s2", LOBBY).expect("anyone may subscribe");
    for name in ["Ada", "ada", "ADA"] {
        let reason = format!("the name \"{name}\" is taken");
        let expected = Failure::rejected(reason, json!({"kind": "name_taken", "name": name}));
        assert_eq!(claim(&mut host, "s2", name), Err(expected));
    }
    host.subscribe("s2", "chat.other").expect("anyone may subscribe");
    let answer = host.call("s2", "chat.other", "claim", &json!({"name": "Ada"})).expect("another room, another Ada");
    assert_eq!(answer, Some(json!({"name": "Ada", "room": "other", "members": ["Ada"]})));
    host.unsubscribe("s1", LOBBY).expect("anyone may leave");
    assert!(claim(&mut host, "s2", "ADA").is_ok(), "a name is free when its member has left");
}

#[test]
fn claiming_the_same_name_again_announces_nothing() {
    let mut host = host();
    let first = join(&mut host, "s1", "Ada");
    host.take_published();
    assert_eq!(claim(&mut host, "s1", " Ada "), Ok(first));
    assert_eq!(announced(&mut host), []);
}

#[test]
fn claiming_another_name_renames() {
    let mut host = host();
    join(&mut host, "s1", "Ada");
    host.take_published();
    let time = host.now_ms();
    for (from, to) in [("Ada", "Eve"), ("Eve", "eve"), ("eve", "Ada")] {
        let answer = claim(&mut host, "s1", to).expect("the name is free");
        assert_eq!(answer, json!({"name": to, "room": "lobby", "members": [to]}));
        let renamed = (LOBBY.to_owned(), json!({"kind": "renamed", "from": from, "to": to, "time": time}));
        assert_eq!(announced(&mut host), [renamed]);
    }
    join(&mut host, "s2", "Eve");
    assert_eq!(state_entries(&host), 4, "old names are free again");
}

#[test]
fn members_are_sorted_without_regard_to_case() {
    let mut host = host();
    for (session, name) in [("s1", "bob"), ("s2", "Ada"), ("s3", "Cleo"), ("s4", "ada 2"), ("s5", "émile")] {
        join(&mut host, session, name);
    }
    host.subscribe("s6", LOBBY).expect("anyone may subscribe");
    assert_eq!(members(&mut host, LOBBY), json!({"members": ["Ada", "ada 2", "bob", "Cleo", "émile"]}));
    assert_eq!(members(&mut host, "chat.lob"), json!({"members": []}));
}

#[test]
fn a_room_has_a_limit_of_members() {
    let mut host = host_with(json!({"members_max": 2}));
    join(&mut host, "s1", "Ada");
    join(&mut host, "s2", "Bob");
    host.subscribe("s3", LOBBY).expect("those without a name do not count");
    let expected = Failure::rejected("the room is full: the limit is 2 members", json!({"kind": "room_full"}));
    assert_eq!(claim(&mut host, "s3", "Eve"), Err(expected));
    assert!(claim(&mut host, "s2", "Bert").is_ok(), "renaming is possible in a full room");
    host.unsubscribe("s1", LOBBY).expect("anyone may leave");
    assert!(claim(&mut host, "s3", "Eve").is_ok());
}

#[test]
fn a_room_of_the_default_limit_fits_into_the_limits_of_a_hook() {
    let room = format!("chat.{}", "r".repeat(250));
    let mut host = host();
    let claim = |host: &mut Host<Chat>, number: usize| {
        let session = format!("session-{number}");
        host.subscribe(session.as_str(), &room).expect("anyone may subscribe");
        host.call(session.as_str(), &room, "claim", &json!({"name": format!("{}{number:04}", "𝔸".repeat(28))}))
    };
    for number in 0..1000 {
        claim(&mut host, number).expect("there is room");
    }
    assert_eq!(claim(&mut host, 1000).expect_err("it is full").kind(), Some("room_full"));
    let list = members(&mut host, &room);
    let list = list["members"].as_array().expect("a list");
    assert_eq!(list.len(), 1000);
    assert!(list.is_sorted_by_key(|name| name.as_str()));
}

#[test]
fn leaving_is_announced_and_leaves_nothing_behind() {
    let mut host = host();
    join(&mut host, "s1", "Ada");
    host.subscribe("s2", LOBBY).expect("anyone may subscribe");
    host.take_published();
    host.advance(7);
    let time = host.now_ms();
    host.unsubscribe("s1", LOBBY).expect("anyone may leave");
    let left = (LOBBY.to_owned(), json!({"kind": "left", "name": "Ada", "time": time}));
    assert_eq!(announced(&mut host), [left]);
    host.unsubscribe("s2", LOBBY).expect("anyone may leave");
    host.unsubscribe("s2", LOBBY).expect("leaving twice is no error");
    assert_eq!(announced(&mut host), [], "one without a name leaves silently");
    assert_eq!(state_entries(&host), 0);
}

#[test]
fn a_message_carries_the_claimed_name() {
    let mut host = host();
    join(&mut host, "s1", "Ada");
    let expected = json!({"kind": "message", "author": "Ada", "text": "hi", "time": host.now_ms()});
    let forged = json!({"text": "hi", "author": "Bob", "time": 1, "kind": "joined", "more": {"x": []}});
    for data in [json!({"text": "hi"}), json!("hi"), forged] {
        host.take_published();
        assert_eq!(host.publish("s1", LOBBY, &data), Ok(Some(expected.clone())));
        assert_eq!(announced(&mut host), [(LOBBY.to_owned(), expected.clone())]);
    }
}

#[test]
fn messages_and_answers_are_in_the_codec_of_the_client() {
    let mut host = host();
    host.subscribe("s1", LOBBY).expect("anyone may subscribe");
    let name = Payload::msgpack(&json!({"name": "Ada"})).expect("it can be encoded");
    let call = Call::new(Some("s1".into()), "claim").with_topic(LOBBY).with_payload(name);
    let (payload, answer) = host.request(call).expect("the name is free").expect("an answer");
    assert_eq!(payload.encoding, Encoding::Msgpack);
    assert_eq!(answer, json!({"name": "Ada", "room": "lobby", "members": ["Ada"]}));
    for said in [Payload::msgpack("hi"), Payload::msgpack(&json!({"text": "hi", "x": 1}))] {
        let said = said.expect("it can be encoded");
        let message = Message::new(Some("s1".into()), LOBBY, said);
        let published = host.publish_message(message).expect("it is accepted").expect("it goes out");
        assert_eq!(published.payload.encoding, Encoding::Msgpack);
        assert_eq!(published.data["text"], "hi");
    }
}

#[test]
fn nobody_speaks_without_a_name() {
    let mut host = host();
    let expected = Failure::rejected("claim a name before speaking", json!({"kind": "no_name"}));
    assert_eq!(host.publish("s1", LOBBY, "hi"), Err(expected.clone()));
    join(&mut host, "s1", "Ada");
    assert_eq!(host.publish("s1", "chat.other", "hi"), Err(expected.clone()));
    host.unsubscribe("s1", LOBBY).expect("anyone may leave");
    assert_eq!(host.publish("s1", LOBBY, "hi"), Err(expected.clone()));
    let message = Message::new(None, LOBBY, Payload::json("hi").expect("text can be encoded"));
    assert_eq!(host.publish_message(message), Err(expected));
}

#[test]
fn texts_have_limits() {
    let empty = || Err(Failure::rejected("the message is empty", json!({"kind": "empty"})));
    let control = |code: &str| {
        let reason = format!("the message contains a control character ({code})");
        Err(Failure::rejected(reason, json!({"kind": "invalid_text"})))
    };
    let table = [
        (String::new(), empty()),
        (" \n\t\u{3000}".to_owned(), empty()),
        (" two\n\tlines ".to_owned(), Ok(())),
        ("🦀".repeat(2000), Ok(())),
        (
            "ä".repeat(2001),
            Err(Failure::rejected(
                "the message has 2001 characters, the limit is 2000",
                json!({"kind": "too_long", "length": 2001, "limit": 2000}),
            )),
        ),
        ("bell\u{7}".to_owned(), control("U+0007")),
        ("line\r\n".to_owned(), control("U+000D")),
        ("next\u{85}line".to_owned(), control("U+0085")),
    ];
    for (text, expected) in table {
        for data in [json!(text), json!({ "text": text })] {
            let mut host = host();
            join(&mut host, "s1", "Ada");
            host.take_published();
            let published = host.publish("s1", LOBBY, &data);
            if expected.is_ok() {
                assert_eq!(published.expect("it is accepted").expect("it goes out")["text"], json!(text));
            } else {
                assert_eq!(published.map(drop), expected);
                assert_eq!(announced(&mut host), []);
            }
        }
    }
}

#[test]
fn the_length_of_texts_is_the_operators_choice() {
    let mut host = host_with(json!({"text_max": 3}));
    join(&mut host, "s1", "Ada");
    assert!(host.publish("s1", LOBBY, "abc").is_ok());
    let detail = json!({"kind": "too_long", "length": 4, "limit": 3});
    let expected = Failure::rejected("the message has 4 characters, the limit is 3", detail);
    assert_eq!(host.publish("s1", LOBBY, "abcd"), Err(expected));
}

#[test]
fn other_data_is_refused_with_a_reason() {
    let table = [
        (json!(7), "invalid data: invalid type: integer `7`, expected a string, or a map with a string `text`"),
        (json!({"txt": "hi"}), "invalid data: missing field `text`"),
        (json!({"text": 7}), "invalid data: invalid type: integer `7`, expected a string"),
    ];
    for (data, expected) in table {
        let mut host = host();
        join(&mut host, "s1", "Ada");
        let failure = host.publish("s1", LOBBY, &data).expect_err(expected);
        assert!(failure.reason().starts_with(expected), "{failure}");
        assert_eq!(failure.kind(), Some("invalid_data"));
    }
    let mut host = host();
    host.subscribe("s1", LOBBY).expect("anyone may subscribe");
    for data in [json!(null), json!({}), json!({"name": 7}), json!("Ada")] {
        let failure = host.call("s1", LOBBY, "claim", &data).expect_err("no name");
        assert_eq!(failure.kind(), Some("invalid_data"), "{failure}");
    }
}

#[test]
fn unknown_methods_and_calls_without_a_room_are_refused() {
    let mut host = host();
    let reason = "unknown method \"shout\": a room has \"claim\" and \"members\"";
    let unknown = Failure::rejected(reason, json!({"kind": "unknown_method"}));
    assert_eq!(host.call("s1", LOBBY, "shout", &json!({})), Err(unknown.clone()));
    assert_eq!(host.request(Call::new(None, "shout")), Err(unknown));
    for method in ["claim", "members"] {
        let failure = host.request(Call::new(Some("s1".into()), method)).expect_err("no topic");
        let reason = format!("{method:?} is called on a room: give its topic");
        assert_eq!(failure, Failure::rejected(reason, json!({"kind": "no_topic"})));
    }
}

#[test]
fn a_restart_loses_nothing() {
    let mut host = host_with(json!({"text_max": 2}));
    join(&mut host, "s1", "Ada");
    host.subscribe("s2", LOBBY).expect("anyone may subscribe");
    host.restart().expect("it starts again");
    assert_eq!(members(&mut host, LOBBY), json!({"members": ["Ada"]}));
    assert!(host.publish("s1", LOBBY, "hi").is_ok());
    assert_eq!(host.publish("s1", LOBBY, "hello").expect_err("too long").kind(), Some("too_long"));
    assert_eq!(claim(&mut host, "s2", "Ada").expect_err("taken").kind(), Some("name_taken"));
    assert!(claim(&mut host, "s2", "Bob").is_ok());
}

#[test]
fn subscribing_again_keeps_the_name() {
    let mut host = host();
    join(&mut host, "s1", "Ada");
    host.subscribe("s1", LOBBY).expect("it updates the subscription");
    assert!(host.publish("s1", LOBBY, "hi").is_ok());
}

#[test]
fn wrong_settings_are_told_to_the_operator() {
    let table = [
        (
            json!({"txt_max": 1}),
            "config: unknown field `txt_max`, expected one of `text_max`, `members_max`, `names_max`",
        ),
        (json!({"text_max": 0}), "config: text_max: 0 is not between 1 and 16000"),
        (json!({"members_max": 100_001}), "config: members_max: 100001 is not between 1 and 100000"),
    ];
    for (config, expected) in table {
        let failure = Host::with_config(Chat::default(), &config).err().expect(expected);
        assert_eq!(failure, Failure::Failed(expected.to_owned()));
    }
}
