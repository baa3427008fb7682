//! Signing in: by cookies, whose renewal takes another connection, and by name and password.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rialto::config::{Auth, AuthUser};
use rialto_client::{Builder, Codec, Ending, Error, Event, Item};
use serde_json::json;

use super::{builder, event, keeping, next};
use crate::support::token::{auth, now_s, token_of};
use crate::support::within;

const PASSWORD: &str = "password";

/// Of that password, from the tests of the reference implementation.
const HASH: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

fn signing_in(anonymous: bool) -> Auth {
    let user = AuthUser { name: "ann".into(), password: HASH.into(), roles: Vec::new() };
    let cookie = Some("session".to_owned());
    Auth { cookie, user: vec![user], leeway_ms: 0, warn_ms: 1_500, ..auth(anonymous) }
}

async fn ending(builder: Builder) -> Ending {
    match within("an error", builder.connect()).await {
        Err(Error::Closed { ending, .. }) => ending,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_cookie_is_renewed_by_another_connection_that_leaves_no_hole_and_no_double() {
    const MESSAGES: u64 = 400;
    for codec in Codec::ALL {
        let running = keeping(|config| config.auth = Some(signing_in(false)));
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        let cookies = move || {
            let life_s = if count.fetch_add(1, Ordering::SeqCst) == 0 { 3 } else { 600 };
            let token = token_of("ann", json!({"exp": now_s() + life_s}));
            async move { Ok::<_, Infallible>(format!("theme=dark; session={token}")) }
        };
        let builder = builder(running.address, codec).cookies(cookies).queue_items_max(1_000);
        let client = within("a session", builder.connect()).await.unwrap();
        let mut events = client.events();
        let mut subscription = client.subscribe("a").await.unwrap();
        let publisher = client.clone();
        let publishing = tokio::spawn(async move {
            for number in 1..=MESSAGES {
                publisher.publish("a", &number).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let connected = |event| if let Event::Connected(session) = event { Some(session) } else { None };
        let session = event(&mut events, "another session", connected).await;
        assert_eq!(session.member.user.as_deref(), Some("ann"));
        let mut numbers = Vec::new();
        while numbers.len() < MESSAGES as usize {
            match next(&mut subscription).await {
                Item::Message(message) => numbers.push(message.payload.parse::<u64>().unwrap()),
                Item::Resumed(resumed) => assert!(resumed.recovered),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(numbers, (1..=MESSAGES).collect::<Vec<_>>());
        publishing.await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        client.close().await;
        running.becomes_empty().await;
    }
}

#[tokio::test]
async fn a_cookie_that_is_refused_ends_the_client_and_one_of_somebody_unknown_only_where_users_are_served() {
    let cookie = |value: &'static str| move || std::future::ready(Ok::<_, Infallible>(value.to_owned()));
    let strict = keeping(|config| config.auth = Some(signing_in(false)));
    for value in ["session=a.b.c", "theme=dark"] {
        let ending = ending(builder(strict.address, Codec::Json).cookies(cookie(value))).await;
        assert!(matches!(ending, Ending::Unauthorized(_)), "{value}: {ending}");
        assert!(!ending.to_string().contains(value), "{ending}");
    }
    let open = keeping(|config| config.auth = Some(signing_in(true)));
    let client = builder(open.address, Codec::Json).cookies(cookie("theme=dark")).connect().await.unwrap();
    client.subscribe("a").await.unwrap();
}

#[tokio::test]
async fn headers_that_are_none_are_reported_without_their_value() {
    let running = keeping(|_| {});
    let headers = || std::future::ready(Ok::<_, Infallible>(vec![("host".to_owned(), "secret".to_owned())]));
    let builder = builder(running.address, Codec::Json).headers(headers).patience(Duration::ZERO);
    let Ending::Unreachable(why) = ending(builder).await else { panic!("it may be another one next time") };
    assert!(why.contains("host") && !why.contains("secret"), "{why}");
}

#[tokio::test]
async fn a_name_and_a_password_are_enough_and_a_wrong_one_ends_the_client() {
    let running = keeping(|config| config.auth = Some(signing_in(false)));
    for codec in Codec::ALL {
        let client = builder(running.address, codec).login("ann", PASSWORD).connect().await.unwrap();
        client.publish("a", &1).await.unwrap();
        for (user, password) in [("ann", "wrong"), ("bob", PASSWORD)] {
            let ending = ending(builder(running.address, codec).login(user, password)).await;
            assert!(matches!(ending, Ending::Unauthorized(_)), "{user}: {ending}");
        }
    }
}
