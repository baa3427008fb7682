//! Sessions on raw endpoints that a plugin authenticates: by which secrets, what follows, and what is refused.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use rialto::config::{Auth, Config, Endpoint, Permission, PluginConfig};
use rialto::{CloseCode, Codec, ManualClock, Sessions};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::authentication::passwords::user;
use crate::plugin_hooks::endpoints::{Socket, connect, next, say};
use crate::plugin_hooks::puppet::{id, running, running_by_with, steps, subscribed};
use crate::support::token::{auth as tokens, now_s, token_of};
use crate::support::{Running, eventually, within};

const WRONG: &str = "the user or the secret is wrong";

fn auth() -> Auth {
    let user = vec![user("ann", "correct horse", &["desk"]), user("bob", "battery staple", &[])];
    Auth { user, bad_tokens_per_s: 1_000, ..tokens(true) }
}

fn with_users(change: impl FnOnce(&mut Config, &mut PluginConfig)) -> Running {
    running(|settings, plugin| {
        settings.auth = Some(auth());
        settings.topics[0].call = Some(Permission::parse(["anyone"]).unwrap());
        settings.endpoints.push(Endpoint { path: "/raw".to_owned(), plugin: "puppet".to_owned() });
        change(settings, plugin);
    })
}

/// A session on the endpoint, which is nobody's yet.
async fn session(running: &Running) -> Socket {
    let mut socket = connect(running, "/raw").await;
    assert_eq!(next(&mut socket).await, Message::text("hello at /raw"));
    socket
}

async fn json_of(socket: &mut Socket) -> Value {
    let message = next(socket).await;
    serde_json::from_str(message.to_text().unwrap()).unwrap_or_else(|_| panic!("{message:?}"))
}

/// What comes of a login.
async fn log_in(socket: &mut Socket, user: &str, secret: &str) -> Value {
    say(socket, Message::text(format!("login {user} {secret}"))).await;
    json_of(socket).await
}

async fn who(socket: &mut Socket) -> Value {
    say(socket, Message::text("who")).await;
    json_of(socket).await
}

async fn close_code(socket: &mut Socket) -> u16 {
    loop {
        match within("the end", socket.next()).await {
            Some(Ok(Message::Close(Some(close)))) => return close.code.into(),
            Some(Ok(_)) => {}
            other => panic!("no close: {other:?}"),
        }
    }
}

fn nobody() -> Value {
    json!({"user": null, "roles": [], "is_admin": false, "info": null})
}

fn ann() -> Value {
    json!({"user": "ann", "roles": ["desk"], "is_admin": false, "info": null})
}

#[tokio::test]
async fn a_password_makes_a_session_the_users() {
    let running = with_users(|_, _| {});
    let mut socket = session(&running).await;
    assert_eq!(who(&mut socket).await, nobody());
    assert_eq!(log_in(&mut socket, "ann", "correct horse").await, json!({"outcome": null, "who": ann()}));
    assert_eq!(who(&mut socket).await, ann(), "later hooks see it too");
    let end = async |user| running.broker.disconnect(Sessions::OfUser(user), CloseCode::Kicked).await;
    assert_eq!((end("bob".into()).await, end("ann".into()).await), (0, 1), "it is found by its user");
    assert_eq!(close_code(&mut socket).await, 4003);
}

#[tokio::test]
async fn a_token_makes_a_session_the_users_and_another_renews_it() {
    let running = with_users(|_, _| {});
    let mut socket = session(&running).await;
    let token = token_of("ann", json!({"roles": ["admin"], "info": {"name": "Ann"}}));
    let admin = json!({"user": "ann", "roles": ["admin"], "is_admin": true, "info": {"name": "Ann"}});
    assert_eq!(log_in(&mut socket, "ann", &token).await, json!({"outcome": null, "who": admin}));
    assert_eq!(log_in(&mut socket, "ann", "correct horse").await, json!({"outcome": null, "who": ann()}));
    let other = log_in(&mut socket, "bob", "battery staple").await;
    assert_eq!(other, json!({"outcome": "the session is another user's", "who": ann()}));
    assert_eq!(who(&mut socket).await, ann());
}

#[tokio::test]
async fn whatever_is_wrong_has_one_reason() {
    let running = with_users(|_, _| {});
    let mut socket = session(&running).await;
    let good = token_of("ann", json!({}));
    let expired = token_of("ann", json!({"exp": now_s() - 1_000}));
    for (name, secret) in [
        ("ann", "battery staple"),
        ("eve", "correct horse"),
        ("bob", "correct horse"),
        ("bob", good.as_str()),
        ("ann", expired.as_str()),
        ("ann", "eyJhbGciOiJIUzI1NiJ9.e30.c2ln"),
        ("ann", &format!("{good}x")),
        ("ann", &"x".repeat(600)),
    ] {
        let refused = json!({"outcome": WRONG, "who": nobody()});
        assert_eq!(log_in(&mut socket, name, secret).await, refused, "{name} {secret}");
    }
    assert_eq!(log_in(&mut socket, "ann", &good).await["outcome"], Value::Null);
}

#[tokio::test]
async fn a_broker_without_users_authenticates_nobody() {
    let running = with_users(|settings, _| settings.auth = None);
    let mut socket = session(&running).await;
    assert_eq!(log_in(&mut socket, "ann", "correct horse").await, json!({"outcome": WRONG, "who": nobody()}));
}

#[tokio::test]
async fn a_session_is_authenticated_once_at_a_time() {
    let running = with_users(|_, _| {});
    let mut socket = session(&running).await;
    say(&mut socket, Message::text("twice ann correct horse")).await;
    let refused = next(&mut socket).await;
    assert!(refused.to_text().unwrap().contains("limit: authenticate: the session is being"), "{refused:?}");
    assert_eq!(json_of(&mut socket).await, json!({"outcome": null, "who": ann()}));
    assert_eq!(log_in(&mut socket, "ann", "correct horse").await["outcome"], Value::Null);
}

#[tokio::test]
async fn nothing_happens_when_the_hook_fails() {
    let running = with_users(|_, _| {});
    let mut socket = session(&running).await;
    say(&mut socket, Message::text("fail ann correct horse")).await;
    assert_eq!(who(&mut socket).await, nobody());
    assert_eq!(log_in(&mut socket, "ann", "correct horse").await, json!({"outcome": null, "who": ann()}));
}

#[tokio::test]
async fn only_a_session_on_a_raw_endpoint_of_the_plugin_is_authenticated() {
    let running = with_users(|_, _| {});
    let mut client = subscribed(&running, Codec::Json, "p.a").await;
    let failed = |running: &Running| running.broker.plugins()[0].last_failure.clone().unwrap().text;
    for (whom, expected) in [(id(&client), "not on a raw endpoint"), ("s-unknown".to_owned(), "no session")] {
        let step = json!([{"authenticate": [whom, "ann", "correct horse"]}]);
        client.refused(steps(step), "plugin_failed").await;
        assert!(failed(&running).contains(expected), "{}", failed(&running));
    }
}

#[tokio::test]
async fn a_plugin_may_authenticate_a_session_in_the_hook_of_another() {
    let running = with_users(|_, _| {});
    let mut client = subscribed(&running, Codec::Json, "p.a").await;
    let mut socket = session(&running).await;
    say(&mut socket, Message::text("join p.a")).await;
    let own = id(&client);
    let there = || json!([{"sessions": "p.a"}]);
    let mut other = String::new();
    for _ in 0..100 {
        let read = client.ok(steps(there())).await;
        let ids = read["data"][0].as_array().unwrap().clone();
        if let Some(found) = ids.iter().find(|found| **found != json!(own)) {
            other = found.as_str().unwrap().to_owned();
            break;
        }
    }
    client.ok(steps(json!([{"authenticate": [other, "ann", "correct horse"]}]))).await;
    assert_eq!(json_of(&mut socket).await, json!({"outcome": null, "who": ann()}));
}

#[tokio::test]
async fn a_session_that_has_ended_is_not_reported() {
    let running = with_users(|settings, _| settings.limits.sessions_per_user = 1);
    let mut watcher = subscribed(&running, Codec::Json, "p.ended").await;
    let sessions = 50;
    for _ in 0..sessions {
        let mut socket = session(&running).await;
        say(&mut socket, Message::text("login ann correct horse")).await;
    }
    let mut ended = HashSet::new();
    while ended.len() < sessions {
        let told = watcher.message().await["data"].clone();
        let session = told["session"].as_str().unwrap().to_owned();
        assert!(!ended.contains(&session), "{told} after its end");
        if told.get("endpoint").is_some() {
            ended.insert(session);
        }
    }
    eventually("only the watcher is left", || running.broker.metrics().sessions == 1).await;
    let mut socket = session(&running).await;
    let outcome = log_in(&mut socket, "ann", "correct horse").await;
    assert_eq!(outcome, json!({"outcome": null, "who": ann()}), "every place is free again");
    assert_eq!(watcher.message().await["data"]["user"], "ann");
    watcher.ping().await;
    assert_eq!(watcher.take_all(), Vec::<Value>::new(), "of those that had ended nothing came");
}

#[tokio::test]
async fn a_user_has_so_many_sessions_also_where_a_plugin_authenticates_them() {
    let running = with_users(|settings, _| settings.limits.sessions_per_user = 1);
    let (mut first, mut second) = (session(&running).await, session(&running).await);
    assert_eq!(log_in(&mut first, "ann", "correct horse").await["outcome"], Value::Null);
    assert_eq!(log_in(&mut first, "ann", "correct horse").await["outcome"], Value::Null, "it has its place already");
    let refused = json!({"outcome": "session limit of this user reached", "who": nobody()});
    assert_eq!(log_in(&mut second, "ann", "correct horse").await, refused);
    assert_eq!(log_in(&mut second, "bob", "battery staple").await["outcome"], Value::Null);
    drop(first);
    eventually("one is gone", || running.broker.metrics().sessions == 1).await;
    let mut third = session(&running).await;
    assert_eq!(log_in(&mut third, "ann", "correct horse").await["outcome"], Value::Null);
}

#[tokio::test]
async fn a_session_ends_when_its_token_does() {
    let begun_s = now_s();
    let clock = ManualClock::new(begun_s * 1_000);
    let running = running_by_with(&clock, |settings, _| {
        settings.auth = Some(Auth { leeway_ms: 0, ..auth() });
        settings.endpoints.push(Endpoint { path: "/raw".to_owned(), plugin: "puppet".to_owned() });
    });
    let mut socket = session(&running).await;
    let token = token_of("ann", json!({"iat": begun_s, "exp": begun_s + 1}));
    assert_eq!(log_in(&mut socket, "ann", &token).await["outcome"], Value::Null);
    clock.advance(Duration::from_secs(2));
    assert_eq!(close_code(&mut socket).await, 4002);
}

#[tokio::test]
async fn who_guesses_is_refused_unseen_and_others_come_in() {
    let running = with_users(|settings, _| {
        settings.auth.as_mut().unwrap().bad_tokens_per_s = 3;
        settings.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    });
    let from = async |address: &str| {
        let mut request = format!("ws://{}/raw", running.address).into_client_request().unwrap();
        request.headers_mut().insert("x-forwarded-for", address.parse().unwrap());
        let stream = TcpStream::connect(running.address).await.unwrap();
        let (mut socket, _) = client_async(request, stream).await.unwrap();
        next(&mut socket).await;
        socket
    };
    for bad in ["wrong", "eyJhbGciOiJIUzI1NiJ9.e30.c2ln"] {
        let mut guesser = from("192.0.2.1").await;
        let mut outcomes = Vec::new();
        for _ in 0..10 {
            outcomes.push(log_in(&mut guesser, "ann", bad).await["outcome"].as_str().unwrap().to_owned());
        }
        assert_eq!(outcomes[0], WRONG);
        assert!(outcomes[9].starts_with("rate limit: too many secrets"), "{outcomes:?}");
    }
    let mut other = from("192.0.2.2").await;
    assert_eq!(log_in(&mut other, "ann", "correct horse").await["outcome"], Value::Null);
    let mut third = from("192.0.2.3").await;
    assert_eq!(log_in(&mut third, "ann", &token_of("ann", json!({}))).await["outcome"], Value::Null);
}

#[tokio::test]
async fn what_a_session_says_is_in_order_with_who_it_is() {
    let running = with_users(|_, _| {});
    let mut socket = session(&running).await;
    say(&mut socket, Message::text("login ann correct horse")).await;
    for _ in 0..200 {
        say(&mut socket, Message::text("who")).await;
    }
    let (mut is_ann, mut answers) = (false, 0);
    while answers < 200 {
        let heard = json_of(&mut socket).await;
        if heard.get("outcome").is_some() {
            assert!(!is_ann, "once");
            is_ann = true;
        } else {
            answers += 1;
            assert_eq!(heard["user"] == "ann", is_ann);
        }
    }
}

#[tokio::test]
async fn cookies_do_not_count_at_an_endpoint_where_any_page_may_connect() {
    for (origins, expected) in [(vec!["*".to_owned()], json!(null)), (Vec::new(), json!("ann"))] {
        let running = with_users(|settings, _| {
            settings.auth.as_mut().unwrap().cookie = Some("session".to_owned());
            settings.server.allowed_origins = origins;
        });
        let mut request = format!("ws://{}/raw", running.address).into_client_request().unwrap();
        let cookie = format!("session={}", token_of("ann", json!({})));
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
        let stream = TcpStream::connect(running.address).await.unwrap();
        let (mut socket, _) = client_async(request, stream).await.unwrap();
        next(&mut socket).await;
        assert_eq!(who(&mut socket).await["user"], expected);
    }
}
