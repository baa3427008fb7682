//! Topic names: invalid ones are refused with the same code in every request, and names that only look alike are different
//! topics.

use rialto::Codec;
use serde_json::json;

use crate::support::Running;

/// Invalid names and their errors.
fn bad() -> Vec<(String, &'static str)> {
    let own =
        ["", ".", "a.", ".a", "a..b", "..", "a b", "a\tb", "a\nb", "\0", "a\u{7f}", "a.\u{85}", "a*", "a>", ">.a"];
    let invisible = ["a\u{200b}b", "\u{feff}a", "a\u{202e}b", "a\u{2028}b", "\u{a0}", "a\u{3000}b"];
    let mut all: Vec<(String, &str)> =
        own.into_iter().chain(invisible).map(|name| (name.to_owned(), "bad_request")).collect();
    all.push(("x".repeat(256), "bad_request"));
    all.push(("x".repeat(60_000), "bad_request"));
    all.push((["x"; 17].join("."), "bad_request"));
    all.push(("$own".to_owned(), "forbidden"));
    all.push(("$own.a".to_owned(), "forbidden"));
    all
}

#[tokio::test]
async fn invalid_topic_names_are_refused_in_every_request() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        for (name, code) in bad() {
            for kind in ["publish", "subscribe", "history"] {
                let refused = client.request(json!({"type": kind, "topic": name, "data": 1})).await;
                assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!(code)), "{kind} {name:?}");
                let message = refused["message"].as_str().unwrap();
                assert!(message.len() < 1_000 && !message.contains(['\n', '\0']), "{kind} {name:?}: {message:?}");
            }
            client.request(json!({"type": "unsubscribe", "topic": name})).await;
        }
        client.ping().await;
    }
    assert_eq!(running.broker.metrics().topics, 0);
}

#[tokio::test]
async fn names_that_look_alike_are_different_topics() {
    // Latin and Cyrillic, composed and not, fullwidth, a ligature, upper and lower case, and what looks like paths or
    // escapes.
    let names =
        ["a", "а", "é", "e\u{301}", "ａ", "ﬁ", "fi", "A", "a.b", "a/b", "a\\b", "%61", "a%2eb", "_", "-", "a_b"];
    let running = Running::start();
    let mut client = running.client(Codec::MessagePack).await;
    for name in names {
        client.subscribe(name).await;
    }
    for name in names {
        client.publish(name, json!(name)).await;
        let message = client.message().await;
        assert_eq!((&message["topic"], &message["data"], &message["offset"]), (&json!(name), &json!(name), &json!(1)));
    }
    assert_eq!(running.broker.metrics().topics, names.len() as u64);
}
