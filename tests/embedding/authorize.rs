//! Authorization by the embedding program: what it refuses, that no answer is a no, and that nobody else notices.

use std::sync::Arc;

use rialto::config::{Config, History, Permission, TopicRule};
use rialto::topic::Pattern;
use rialto::{AccessAction, AccessRequest, Admission, Authorize, Codec, ConnectRequest, Decision, Identity};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::events::Stream;
use crate::support::token::{auth, token_of};
use crate::support::{Client, Running, eventually, get, http, upgrade_request};

/// Does what the first token of a name says, and remembers what it was asked.
#[derive(Clone)]
struct Scripted {
    asked: Arc<std::sync::Mutex<Vec<String>>>,
    /// A decision about `waits` takes one permit.
    gate: Arc<Semaphore>,
}

impl Scripted {
    fn new() -> Self {
        Self { asked: Arc::default(), gate: Arc::new(Semaphore::new(0)) }
    }

    /// What it was asked so far.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Authorize for Scripted {
    async fn connect(&self, request: &ConnectRequest) -> Admission {
        match request.header("x-desk") {
            Some("refused") => Admission::Refuse("the desk is closed".to_owned()),
            Some("panics") => panic!("on purpose"),
            Some("hangs") => std::future::pending().await,
            Some("expired") => Admission::Allow(Identity::user("ann").expires_at(1)),
            Some("anonymous") => Admission::Allow(Identity::anonymous()),
            Some(user) => Admission::Allow(Identity::user(user).role("trader")),
            None => Admission::Unknown,
        }
    }

    async fn decide(&self, request: &AccessRequest) -> Decision {
        let (verb, name) = match request.action() {
            AccessAction::Subscribe { topic } => ("subscribe", topic.as_str()),
            AccessAction::SubscribePattern { pattern } => ("subscribe", pattern.as_str()),
            AccessAction::Publish { topic } => ("publish", topic.as_str()),
            AccessAction::Call { topic, .. } => ("call", topic.as_str()),
            AccessAction::CallPlugin { plugin, .. } => ("call", plugin.as_str()),
            AccessAction::History { topic } => ("history", topic.as_str()),
            AccessAction::Presence { topic } => ("presence", topic.as_str()),
            AccessAction::SignIn => ("sign in", request.user().unwrap_or_default()),
            _ => return Decision::Refuse("unknown".to_owned()),
        };
        let roles: Vec<&str> = request.roles().collect();
        let asked = format!("{} {verb} {name}", request.user().unwrap_or("nobody"));
        self.asked.lock().unwrap().push(asked);
        assert_eq!(request.address().map(|address| address.is_loopback()), Some(true));
        assert!(!request.session().is_empty() && request.has_role("trader") == roles.contains(&"trader"));
        match name.split(['.', '-']).next().unwrap() {
            "refused" => Decision::Refuse(format!("no {verb} here")),
            "pastless" if verb == "history" => Decision::Refuse("no past here".to_owned()),
            "panics" => panic!("on purpose"),
            "hangs" => std::future::pending().await,
            "waits" => {
                self.gate.acquire().await.unwrap().forget();
                Decision::Allow
            }
            "allowed" => Decision::Allow,
            _ => Decision::Unknown,
        }
    }
}

fn rule(pattern: &str) -> TopicRule {
    let pattern = Pattern::parse(pattern).unwrap();
    TopicRule { pattern, history: Some(History::default()), presence: true, ..TopicRule::default() }
}

/// A broker whose rules let nobody publish to `allowed.locked`.
fn running(scripted: &Scripted, change: impl FnOnce(&mut Config)) -> Running {
    let set = |config: &mut Config| {
        let locked = TopicRule { publish: Some(Permission::parse(["nobody"]).unwrap()), ..rule("allowed.locked") };
        config.topics = vec![locked, rule(">")];
        change(config);
    };
    Running::built(set, |builder| builder.authorize(scripted.clone()))
}

/// Every kind of request about a topic of this name, or a plugin.
fn requests(name: &str) -> Vec<Value> {
    vec![
        json!({"type": "subscribe", "topic": format!("{name}.a")}),
        json!({"type": "subscribe", "topic": format!("{name}.*")}),
        json!({"type": "publish", "topic": format!("{name}.a"), "data": 1}),
        json!({"type": "call", "topic": format!("{name}.a"), "method": "m"}),
        json!({"type": "call", "plugin": name, "method": "m"}),
        json!({"type": "history", "topic": format!("{name}.a")}),
        json!({"type": "presence", "topic": format!("{name}.a")}),
    ]
}

#[tokio::test]
async fn every_kind_of_request_can_be_refused_with_a_reason_and_is_allowed_otherwise() {
    let scripted = Scripted::new();
    let running = running(&scripted, |_| {});
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        for request in requests("refused") {
            let reply = client.refused(request.clone(), "forbidden").await;
            assert_eq!(reply["message"], format!("no {} here", request["type"].as_str().unwrap()), "{request}");
        }
        for name in ["allowed", "other"] {
            for request in requests(name) {
                match request["type"].as_str().unwrap() {
                    // There is no plugin.
                    "call" => client.refused(request, "not_found").await,
                    _ => client.ok(request).await,
                };
            }
        }
        assert_eq!(client.message().await["topic"], "allowed.a", "it is subscribed to what was allowed");
        // What is unsubscribed, and pings, concern nobody else.
        let before = scripted.asked().len();
        client.ok(json!({"type": "unsubscribe", "topic": "allowed.a"})).await;
        client.ping().await;
        assert_eq!(scripted.asked().len(), before);
    }
    let counted = running.broker.metrics();
    // Each handshake is one, too.
    assert_eq!((counted.authorizations_total, counted.authorizations_refused_total), (2 * (1 + 3 * 7), 2 * 7));
    assert_eq!(counted.authorizations_failed_total, 0);
}

#[tokio::test]
async fn a_yes_does_not_override_the_rules() {
    let running = running(&Scripted::new(), |_| {});
    let mut client = running.client(Codec::Json).await;
    let reply = client.refused(json!({"type": "publish", "topic": "allowed.locked", "data": 1}), "forbidden").await;
    assert_eq!(reply["message"], "a session without a user may not publish in this topic");
    // Names that are none are nobody's question.
    client.refused(json!({"type": "publish", "topic": "a..b", "data": 1}), "bad_request").await;
    client.refused(json!({"type": "subscribe", "topic": "$refused"}), "forbidden").await;
    assert_eq!(running.broker.metrics().authorizations_total, 2, "the handshake and the first request");
}

#[tokio::test]
async fn the_program_itself_is_not_asked() {
    let scripted = Scripted::new();
    let running = running(&scripted, |_| {});
    running.broker.publish("refused.a", rialto::Payload::json(&1).unwrap()).await.unwrap();
    assert_eq!(running.broker.history("refused.a", None, None).unwrap().messages.len(), 1);
    assert!(scripted.asked().is_empty());
}

#[tokio::test]
async fn topics_of_a_list_are_decided_one_by_one() {
    let running = running(&Scripted::new(), |_| {});
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        let topics = ["allowed.a", "refused.a", "other.>", "refused.>", "other.b"].map(|topic| json!({"topic": topic}));
        let reply = client.request(json!({"type": "subscribe", "topics": topics})).await;
        let shown = reply.to_string();
        assert_eq!(shown.matches("no subscribe here").count(), 2, "{shown}");
        for topic in ["allowed.a", "refused.a", "other.c", "other.b"] {
            running.broker.publish(topic, rialto::Payload::json(&1).unwrap()).await.unwrap();
        }
        let mut received = Vec::new();
        for _ in 0..3 {
            received.push(client.message().await["topic"].clone());
        }
        received.sort_by_key(Value::to_string);
        assert_eq!(received, ["allowed.a", "other.b", "other.c"]);
        // What was refused in this list is not refused for ever.
        client.ok(json!({"type": "subscribe", "topic": "other.b"})).await;
        client.close().await;
        running.becomes_empty().await;
    }
}

#[tokio::test]
async fn a_subscribe_does_not_get_around_what_is_refused() {
    let running = running(&Scripted::new(), |_| {});
    for topic in ["pastless.a", "other.a"] {
        running.broker.publish(topic, rialto::Payload::json(&"past").unwrap()).await.unwrap();
    }
    let mut client = running.client(Codec::Json).await;
    client.ok(json!({"type": "subscribe", "topic": "pastless.a", "last": 10})).await;
    client.ok(json!({"type": "subscribe", "topic": "other.a", "last": 10})).await;
    assert_eq!(client.message().await["topic"], "other.a", "the past of the first is withheld");
    client.publish("pastless.a", json!("live")).await;
    assert_eq!(client.message().await["data"], "live");
}

#[tokio::test]
async fn a_panic_refuses_one_request_and_touches_nobody_else() {
    let running = running(&Scripted::new(), |_| {});
    for codec in Codec::ALL {
        let (mut client, mut other) = (running.client(codec).await, running.client(codec).await);
        for request in requests("panics") {
            let reply = client.refused(request, "unavailable").await;
            assert!(reply["retry_after_ms"].is_u64(), "{reply}");
            other.publish("allowed.a", json!(1)).await;
        }
        client.publish("allowed.a", json!(2)).await;
    }
    let counted = running.broker.metrics();
    assert_eq!((counted.authorizations_failed_total, counted.tasks_failed_total), (14, 0));
}

#[tokio::test]
async fn no_answer_in_time_refuses_one_request() {
    let running = running(&Scripted::new(), |config| config.limits.authorize_ms = 300);
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        let reply = client.refused(json!({"type": "publish", "topic": "hangs.a", "data": 1}), "unavailable").await;
        assert!(reply["retry_after_ms"].is_u64(), "{reply}");
        // One time limit is for the whole list.
        let topics = ["allowed.a", "hangs.a"].map(|topic| json!({"topic": topic}));
        client.refused(json!({"type": "subscribe", "topics": topics}), "unavailable").await;
        client.ping().await;
        assert_eq!(running.broker.metrics().subscriptions, 0, "nothing is allowed without an answer");
    }
}

#[tokio::test]
async fn other_sessions_do_not_wait_for_a_decision_and_what_is_under_way_is_bounded() {
    let scripted = Scripted::new();
    let running = running(&scripted, |config| {
        config.limits.authorize_ms = 60_000;
        config.limits.decisions = 2;
    });
    let mut waiting = [running.client(Codec::Json).await, running.client(Codec::MessagePack).await];
    let mut third = running.client(Codec::Json).await;
    let mut ids = Vec::new();
    for client in &mut waiting {
        ids.push(client.ask(json!({"type": "publish", "topic": "waits.a", "data": 1})).await);
    }
    eventually("both are asked about", || scripted.asked().len() == 2).await;
    let reply = third.refused(json!({"type": "publish", "topic": "allowed.a", "data": 1}), "busy").await;
    assert!(reply["retry_after_ms"].is_u64(), "{reply}");
    // Many others have questions as soon as there is one place for them.
    scripted.gate.add_permits(1);
    eventually("one is decided", || running.broker.metrics().authorizations_total == 4).await;
    for _ in 0..100 {
        third.publish("allowed.a", json!(1)).await;
    }
    scripted.gate.add_permits(1);
    for (client, id) in waiting.iter_mut().zip(ids) {
        assert_eq!(client.reply(id).await["type"], "ok");
    }
}

#[tokio::test]
async fn requests_keep_their_order_while_one_is_decided() {
    for codec in Codec::ALL {
        let scripted = Scripted::new();
        let running = running(&scripted, |config| config.limits.authorize_ms = 60_000);
        let mut witness = running.client(codec).await;
        witness.subscribe("other.>").await;
        let mut client = running.client(codec).await;
        let mut ids = vec![client.ask(json!({"type": "publish", "topic": "other.a", "data": 0})).await];
        ids.push(client.ask(json!({"type": "subscribe", "topic": "waits.a"})).await);
        ids.push(client.ask(json!({"type": "publish", "topic": "waits.a", "data": 1})).await);
        ids.push(client.ask(json!({"type": "unsubscribe", "topic": "waits.a"})).await);
        ids.push(client.ask(json!({"type": "publish", "topic": "waits.a", "data": 2})).await);
        ids.push(client.ask(json!({"type": "publish", "topic": "other.a", "data": 3})).await);
        assert_eq!(witness.message().await["data"], 0);
        let waits = || scripted.asked().last().is_some_and(|last| last == "nobody subscribe waits.a");
        eventually("the next one is asked about", waits).await;
        scripted.gate.add_permits(3);
        for id in ids {
            assert_eq!(client.reply(id).await["type"], "ok");
        }
        assert_eq!(client.message().await["data"], 1, "subscribed, before it unsubscribed");
        assert!(client.take_all().is_empty());
        assert_eq!(witness.message().await["data"], 3);
    }
}

#[tokio::test]
async fn nothing_happens_for_a_session_that_has_ended_meanwhile() {
    let scripted = Scripted::new();
    let running = running(&scripted, |config| config.limits.authorize_ms = 60_000);
    let mut client = running.client(Codec::Json).await;
    client.ask(json!({"type": "publish", "topic": "waits.a", "data": 1})).await;
    eventually("it is asked about", || scripted.asked().len() == 1).await;
    let session = client.welcome["session"].as_str().unwrap().to_owned();
    let ended = running.broker.disconnect(rialto::Sessions::One(session.into()), rialto::CloseCode::Kicked).await;
    assert_eq!((ended, client.closed().await), (1, Some(4003)));
    running.becomes_empty().await;
    scripted.gate.add_permits(1);
    let mut other = running.client(Codec::Json).await;
    other.publish("waits.a", json!(2)).await;
    assert_eq!(running.broker.metrics().messages_published_total, 1, "only the other one's");
}

/// What a request for an upgrade, a stream or a poll is answered with, from this desk.
async fn answered(running: &Running, path: &str, desk: &str) -> (u16, String) {
    let request = match path {
        "/ws" => upgrade_request(running.address, &[("X-Desk", desk)]),
        path => format!("GET {path} HTTP/1.1\r\nHost: {}\r\nX-Desk: {desk}\r\n\r\n", running.address),
    };
    let answered = http(running.address, &request).await;
    (answered.status, answered.body)
}

#[tokio::test]
async fn a_handshake_can_be_refused_and_no_answer_refuses_it() {
    let running = running(&Scripted::new(), |config| config.limits.authorize_ms = 300);
    for path in ["/ws", "/sse?topic=a", "/poll?topic=a&wait_ms=0"] {
        assert_eq!(answered(&running, path, "refused").await, (403, "the desk is closed".to_owned()), "{path}");
        for desk in ["panics", "hangs"] {
            // A stream gets its retry time in the only way that browsers obey.
            let status = if path.starts_with("/sse") { 200 } else { 503 };
            let (got, body) = answered(&running, path, desk).await;
            assert_eq!(got, status, "{path} {desk}: {body}");
            assert!(body.contains("authorization is unavailable"), "{path} {desk}: {body}");
        }
    }
    let counted = running.broker.metrics();
    assert_eq!((counted.sessions_opened_total, counted.origins_refused_total), (0, 0));
    assert_eq!((counted.authorizations_refused_total, counted.authorizations_failed_total), (3, 6));
}

#[tokio::test]
async fn the_program_says_whose_a_session_is_and_rules_go_by_that() {
    let scripted = Scripted::new();
    let running = running(&scripted, |config| {
        let trader = || Some(Permission::parse(["role:trader"]).unwrap());
        config.topics.insert(0, TopicRule { publish: trader(), subscribe: trader(), ..rule("orders") });
    });
    let publish = json!({"type": "publish", "topic": "orders", "data": 1});
    for codec in Codec::ALL {
        let mut ann = Client::with_headers(running.address, codec, &[("x-desk", "ann")]).await;
        assert_eq!(ann.welcome["user"], "ann");
        ann.ok(publish.clone()).await;
        assert_eq!(scripted.asked().last().unwrap(), "ann publish orders");
        for desk in ["anonymous", ""] {
            let headers: Vec<_> = (!desk.is_empty()).then_some(("x-desk", desk)).into_iter().collect();
            let mut nobody = Client::with_headers(running.address, codec, &headers).await;
            assert_eq!(nobody.welcome["user"], Value::Null);
            nobody.refused(publish.clone(), "forbidden").await;
        }
    }
    // The same holds for a stream and a poll.
    let (status, body) = answered(&running, "/poll?topic=orders&wait_ms=0&last=1", "ann").await;
    assert!(status == 200 && body.contains("\"data\":1"), "{status} {body}");
    assert_eq!(get(running.address, "/poll?topic=orders&wait_ms=0").await.status, 403);
    let request = format!("GET /sse?topic=orders&last=1 HTTP/1.1\r\nHost: {}\r\nX-Desk: ann\r\n\r\n", running.address);
    let socket = tokio::net::TcpStream::connect(running.address).await.unwrap();
    drop(Stream::over(socket, &request).await);
    assert_eq!(get(running.address, "/sse?topic=orders").await.status, 403);
    let reply = get(running.address, "/poll?topic=refused.a&wait_ms=0").await;
    assert!(reply.status == 403 && reply.body.contains("no subscribe here"), "{reply:?}");
}

#[tokio::test]
async fn the_program_is_told_who_a_token_is_of_and_its_time_stays() {
    let scripted = Scripted::new();
    let running = running(&scripted, |config| config.auth = Some(auth(false)));
    let bearer = format!("Bearer {}", token_of("bob", json!({})));
    let mut told = Client::with_headers(running.address, Codec::Json, &[("authorization", &*bearer)]).await;
    assert_eq!(told.welcome["user"], "bob");
    told.publish("allowed.a", json!(1)).await;
    assert_eq!(scripted.asked(), ["bob publish allowed.a"]);
    let headers = [("authorization", &*bearer), ("x-desk", "ann")];
    let renamed = Client::with_headers(running.address, Codec::Json, &headers).await;
    assert_eq!(renamed.welcome["user"], "ann");
    assert!(renamed.welcome["expires_at"].is_u64(), "the token's");
    assert_eq!(renamed.welcome["expires_at"], told.welcome["expires_at"]);
    // Who says nothing needs a token or the program's word, also where no token can follow.
    assert_eq!(get(running.address, "/poll?topic=allowed.a&wait_ms=0").await.status, 401);
    assert_eq!(answered(&running, "/poll?topic=allowed.a&wait_ms=0", "ann").await.0, 200);
    assert_eq!(answered(&running, "/poll?topic=allowed.a&wait_ms=0", "anonymous").await.0, 401);
    let (status, body) = answered(&running, "/poll?topic=allowed.a&wait_ms=0", "expired").await;
    assert_eq!((status, &*body), (401, "the token has expired"));
}

#[tokio::test]
async fn a_token_that_comes_later_is_asked_about_too() {
    for codec in Codec::ALL {
        let scripted = Scripted::new();
        let running = running(&scripted, |config| {
            config.auth = Some(auth(true));
            config.limits.authorize_ms = 1_000;
        });
        let connect = |user: &str| json!({"type": "connect", "token": token_of(user, json!({}))});
        let mut ann = running.client(codec).await;
        assert_eq!(ann.ok(connect("ann")).await["user"], "ann");
        ann.publish("allowed.a", json!(1)).await;
        for (user, code) in [("refused-bob", 4001), ("panics-eve", 1013)] {
            let mut client = running.client(codec).await;
            client.ask(connect(user)).await;
            client.ask(json!({"type": "publish", "topic": "allowed.a", "data": 2})).await;
            assert_eq!(client.closed().await, Some(code), "{user}");
        }
        let expected = ["ann sign in ann", "ann publish allowed.a", "refused-bob sign in refused-bob"];
        assert_eq!(scripted.asked()[..3], expected);
        assert_eq!(running.broker.metrics().messages_published_total, 1, "nothing as one of the others");
    }
}
