//! `POST /api/v1/explain`: what somebody may do by the configuration in force, with the reasons.

use std::path::Path;

use rialto::config::Config;
use rialto::topic::Pattern;
use serde_json::{Value, json};

use crate::http::{api_key, start_with};
use crate::support::token::{SECRET, auth, signed, token_of};
use crate::support::{Program, Running};

/// As a file would have them.
const RULES: &str = "\
[auth]
anonymous = true

[[topic]]
pattern = \"account.{user}\"
subscribe = \"user\"
publish = \"nobody\"

[[topic]]
pattern = \"orders\"
publish = \"role:trader\"

[[topic]]
pattern = \"room.*\"
subscribe = \"token\"
";

fn broker(anonymous: bool) -> (Running, Program) {
    start_with(|config| {
        let parsed = Config::parse(RULES, Path::new("rialto.toml")).unwrap();
        (config.topics, config.topic_lines) = (parsed.topics, parsed.topic_lines);
        config.auth = Some(auth(anonymous));
        let mut narrow = api_key("narrow", "rialto_narrow");
        narrow.topics = vec![Pattern::parse("room.*").unwrap()];
        config.api.as_mut().unwrap().keys.push(narrow);
    })
}

fn action(action: &str, allowed: bool, reason: &str) -> Value {
    json!({"action": action, "allowed": allowed, "reason": reason})
}

#[tokio::test]
async fn each_action_comes_with_its_rule_and_the_reason() {
    let (running, program) = broker(true);
    let answer = program.ok("explain", json!({"topic": "account.ann", "user": "ann", "roles": ["b", "a", "a"]})).await;
    assert_eq!(
        answer,
        json!({
            "topic": "account.ann",
            "user": "ann",
            "roles": ["a", "b"],
            "rule": {"pattern": "account.{user}", "line": 4},
            "actions": [
                action("subscribe", true, "every user may"),
                action("publish", false, "nobody may"),
                action("call", true, "every user may; no plugin owns the topic"),
                action("history", true, "every user may; the rule keeps no history"),
                action("presence", true, "every user may; the rule keeps no presence"),
            ],
        })
    );
    let listed = token_of("ann", json!({"topics": {"subscribe": ["room.*"]}}));
    for (body, line, expected) in [
        (
            json!({"topic": "account.bob", "user": "ann", "action": "subscribe"}),
            4,
            action("subscribe", false, "the topic is another user's, or another role's"),
        ),
        (json!({"topic": "orders", "action": "publish"}), 9, action("publish", false, "only for role:trader")),
        (
            json!({"topic": "orders", "user": "bob", "roles": ["trader"], "action": "publish"}),
            9,
            action("publish", true, "users with the role \"trader\" may"),
        ),
        (json!({"topic": "orders", "action": "subscribe"}), 9, action("subscribe", true, "everyone may")),
        (
            json!({"topic": "room.1", "action": "subscribe", "token": listed}),
            13,
            action("subscribe", true, "the token lists the topic"),
        ),
    ] {
        let answer = program.ok("explain", body.clone()).await;
        assert_eq!((&answer["actions"], &answer["rule"]["line"]), (&json!([expected]), &json!(line)), "{body}");
    }
    assert_eq!(running.broker.metrics().topics, 0, "no topic was brought into memory");
}

#[tokio::test]
async fn sessions_that_are_not_served_may_do_nothing() {
    let (_running, program) = broker(false);
    let answer = program.ok("explain", json!({"topic": "orders", "action": "subscribe"})).await;
    let reason = "sessions without a token are not served (`anonymous` in `[auth]`)";
    assert_eq!(answer["actions"], json!([action("subscribe", false, reason)]));
}

#[tokio::test]
async fn what_cannot_be_explained_is_refused_and_no_token_is_repeated() {
    let (_running, program) = broker(true);
    let expired = signed(&json!({"alg": "HS256"}), &json!({"sub": "ann", "exp": 1}), SECRET);
    for (body, status, code, text) in [
        (json!({"topic": "elsewhere"}), 404, "not_found", "no rule is for topic \"elsewhere\""),
        (json!({"topic": "a..b"}), 400, "bad_request", "topic \"a..b\""),
        (json!({"topic": "orders", "action": "read"}), 400, "bad_request", "field \"action\" is one of subscribe, "),
        (json!({"topic": "orders", "roles": ["a"]}), 400, "bad_request", "field \"roles\" needs a \"user\""),
        (json!({"topic": "orders", "token": "x.y.z"}), 422, "rejected", "field \"token\": the token is not valid"),
        (json!({"topic": "orders", "token": expired}), 422, "rejected", "field \"token\": the token has expired"),
        (json!({"topic": "orders", "token": expired, "user": "ann"}), 400, "bad_request", "field \"token\" stands"),
    ] {
        let (found, answer) = program.ask("explain", &body).await;
        assert_eq!((found, &answer["code"]), (status, &json!(code)), "{body}: {answer}");
        assert!(answer["message"].as_str().unwrap().starts_with(text), "{body}: {answer}");
        assert!(!answer.to_string().contains(&expired), "{answer}");
    }
}

#[tokio::test]
async fn a_key_explains_only_its_own_topics() {
    let (running, _program) = broker(true);
    let narrow = Program { address: running.address, key: "rialto_narrow".to_owned() };
    narrow.ok("explain", json!({"topic": "room.1"})).await;
    let (status, answer) = narrow.ask("explain", &json!({"topic": "orders"})).await;
    assert_eq!((status, &answer["code"]), (403, &json!("forbidden")), "{answer}");
    // Whether a rule is for a topic is not said either.
    let (status, _) = narrow.ask("explain", &json!({"topic": "elsewhere"})).await;
    assert_eq!(status, 403);
}
