//! Users with a password: where a client sends it, who guesses, and what a reload changes.

use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use rialto::Codec;
use rialto::config::{Auth, AuthUser, Config};
use serde_json::json;

use crate::support::{Client, Running, http, upgrade_request, within};

/// A user whose password is quickly verified.
pub(crate) fn user(name: &str, password: &str, roles: &[&str]) -> AuthUser {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 1, 1, None).unwrap());
    let hash = argon2.hash_password_with_salt(password.as_bytes(), b"0123456789abcdef").unwrap();
    AuthUser {
        name: name.to_owned(),
        password: hash.to_string(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
    }
}

fn auth() -> Auth {
    let user = vec![user("ann", "correct horse", &["desk"]), user("bob", "battery staple", &[])];
    Auth { user, bad_tokens_per_s: 1_000, ..Auth::default() }
}

fn login(name: &str, password: &str) -> serde_json::Value {
    json!({"type": "connect", "user": name, "password": password})
}

#[tokio::test]
async fn a_first_connect_or_a_header_has_the_password() {
    let running = Running::with(|config| config.auth = Some(auth()));
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        let connect = client.ask(login("ann", "correct horse")).await;
        // In order, although the password takes time.
        let subscribe = client.ask(json!({"type": "subscribe", "topic": "a"})).await;
        let connected = client.reply(connect).await;
        assert_eq!((&connected["type"], &connected["user"]), (&json!("ok"), &json!("ann")));
        assert_eq!(client.reply(subscribe).await["type"], "ok");
        client.refused(login("bob", "battery staple"), "bad_request").await;
    }
    let address = running.address;
    // ann:correct horse
    let basic = "Basic YW5uOmNvcnJlY3QgaG9yc2U=";
    let request = |value: &str| {
        format!("GET /poll?topic=a&wait_ms=0 HTTP/1.1\r\nHost: {address}\r\nAuthorization: {value}\r\n\r\n")
    };
    assert_eq!(http(address, &request(basic)).await.status, 200);
    let refused = http(address, &request("Basic YW5uOndyb25n")).await;
    assert_eq!((refused.status, refused.body.trim()), (401, "the credentials are not valid"));
    let client = Client::with_headers(address, Codec::Json, &[("authorization", basic)]).await;
    assert_eq!(client.welcome["user"], "ann");
    let upgrade = http(address, &upgrade_request(address, &[("Authorization", "Basic YW5uOndyb25n")])).await;
    assert_eq!(upgrade.status, 401);
}

#[tokio::test]
async fn what_is_wrong_is_not_told_and_costs_the_session_nothing() {
    let running = Running::with(|config| config.auth = Some(auth()));
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        let mut texts = Vec::new();
        for (name, password) in [
            ("ann", "battery staple"),
            ("ann", ""),
            ("eve", "correct horse"),
            ("", ""),
            ("ANN", "correct horse"),
            ("ann", &"x".repeat(600)),
        ] {
            let refused = client.refused(login(name, password), "unauthorized").await;
            texts.push(refused["message"].as_str().unwrap().to_owned());
        }
        texts.dedup();
        assert_eq!(texts, ["the user or the password is wrong"]);
        for wrong in [
            json!({"type": "connect", "user": "ann"}),
            json!({"type": "connect", "password": "x"}),
            json!({"type": "connect", "user": "ann", "password": "x", "token": "a.b.c"}),
            json!({"type": "connect", "user": 7, "password": "x"}),
        ] {
            client.refused(wrong, "bad_request").await;
        }
        client.ok(login("bob", "battery staple")).await;
    }
}

#[tokio::test]
async fn who_guesses_is_refused_unseen_and_others_come_in() {
    let running = Running::with(|config| {
        let mut auth = auth();
        auth.bad_tokens_per_s = 3;
        config.auth = Some(auth);
        config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    });
    let from =
        async |address: &str| Client::with_headers(running.address, Codec::Json, &[("x-forwarded-for", address)]).await;
    let mut guesser = from("192.0.2.1").await;
    let mut codes = Vec::new();
    for number in 0..10 {
        let refused = guesser.request(login("ann", &number.to_string())).await;
        codes.push(refused["code"].as_str().unwrap().to_owned());
    }
    assert!(codes.contains(&"rate_limited".to_owned()) && codes[0] == "unauthorized", "{codes:?}");
    assert!(running.broker.metrics().tokens_unverified_total > 0);
    let mut other = from("192.0.2.2").await;
    other.ok(login("ann", "correct horse")).await;
}

#[tokio::test]
async fn a_crowd_with_passwords_is_let_in_one_after_the_other() {
    let running = Running::with(|config| config.auth = Some(auth()));
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = running.client(Codec::Json).await;
        let id = client.ask(login("ann", "correct horse")).await;
        clients.push((client, id));
    }
    for (client, id) in &mut clients {
        assert_eq!(within("a place", client.reply(*id)).await["user"], "ann");
    }
}

#[tokio::test]
async fn a_session_that_ends_while_its_password_is_verified_leaves_nothing() {
    let running = Running::with(|config| config.auth = Some(auth()));
    for _ in 0..20 {
        let mut client = running.client(Codec::Json).await;
        client.ask(login("ann", "correct horse")).await;
    }
    running.becomes_empty().await;
    let mut client = running.client(Codec::Json).await;
    client.ok(login("ann", "correct horse")).await;
}

#[tokio::test]
async fn a_reload_that_changes_a_user_ends_its_sessions_and_no_others() {
    let running = Running::with(|config| config.auth = Some(auth()));
    let (mut ann, mut bob) = (running.client(Codec::Json).await, running.client(Codec::Json).await);
    ann.ok(login("ann", "correct horse")).await;
    bob.ok(login("bob", "battery staple")).await;
    let mut wanted = Config { auth: Some(auth()), ..Config::default() };
    wanted.server.hosts = ["a", "b", "x"].map(str::to_owned).to_vec();
    wanted.auth.as_mut().unwrap().user[0] = user("ann", "another one", &["desk"]);
    running.broker.reload(wanted).await.unwrap();
    assert_eq!(ann.closed().await, Some(4001));
    bob.ok(json!({"type": "subscribe", "topic": "a"})).await;
    let mut again = running.client(Codec::Json).await;
    again.refused(login("ann", "correct horse"), "unauthorized").await;
    // In the second of the reload it is not known which was first.
    loop {
        let reply = again.request(login("ann", "another one")).await;
        if reply["type"] == "ok" {
            break;
        }
        assert_eq!(reply["code"], "rate_limited", "{reply}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
