//! Crafted tokens: each is refused with one and the same message, at a bounded cost.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rialto::Codec;
use rialto::config::{AuthKey, KeyMaterial, TokenAlgorithm};
use serde_json::{Value, json};

use crate::support::raw::open_from;
use crate::support::token::{EcPair, SECRET, auth, body, now_s, signed, token_of};
use crate::support::{Running, http_over};

const MESSAGE: &str = "the token is not valid";

fn hs256() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

fn claims(more: Value) -> Value {
    let mut claims = json!({"sub": "ann", "exp": now_s() + 600});
    for (key, value) in more.as_object().unwrap() {
        match value {
            Value::Null => _ = claims.as_object_mut().unwrap().remove(key),
            value => claims[key] = value.clone(),
        }
    }
    claims
}

fn with(more: Value) -> String {
    signed(&hs256(), &claims(more), SECRET)
}

#[tokio::test]
async fn crafted_tokens_have_one_answer() {
    let pair = EcPair::new();
    let running = Running::with(|config| {
        let mut auth = auth(true);
        auth.audience = vec!["rialto".to_owned()];
        auth.issuer = vec!["https://id.example.com/".to_owned()];
        auth.bad_tokens_per_s = 1_000_000;
        auth.token_bytes = 65_536;
        auth.key.push(AuthKey {
            id: "ec".to_owned(),
            algorithm: TokenAlgorithm::Es256,
            material: KeyMaterial::Public(pair.point()),
        });
        config.auth = Some(auth);
        config.limits.message_bytes = 262_144;
        config.limits.bad_requests_per_s = 1_000;
    });
    let good = json!({"aud": "rialto", "iss": "https://id.example.com/"});
    let both = |more: Value| {
        let mut all = good.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let with = |more: Value| with(both(more));
    let valid = claims(both(json!({})));
    let named = |header: Value| signed(&header, &valid, SECRET);
    let mut flipped = with(json!({}));
    let last = flipped.pop().unwrap();
    // The last letter of a signature of 32 bytes has bits that count for nothing, so another one is taken.
    let at = flipped.len() - 5;
    let other = if &flipped[at..=at] == "A" { "B" } else { "A" };
    flipped.replace_range(at..=at, other);
    flipped.push(last);
    let many: Vec<String> = (0..10_000).map(|number| format!("a.{number}")).collect();
    let crafted = [
        ("nothing", String::new()),
        ("no token", "hello".to_owned()),
        ("two parts", "a.b".to_owned()),
        ("four parts", format!("{}.x", with(json!({})))),
        ("only dots", "..".to_owned()),
        ("no base64", "$.$.$".to_owned()),
        ("padding", with(json!({})).replacen('.', "=.", 1)),
        ("alg none", format!("{}.", body(&json!({"alg": "none"}), &valid))),
        ("alg None", format!("{}.", body(&json!({"alg": "None"}), &valid))),
        ("alg none with a signature", named(json!({"alg": "none"}))),
        ("no alg", named(json!({"typ": "JWT"}))),
        ("alg of another length", named(json!({"alg": "HS512"}))),
        ("public key as a secret", signed(&hs256(), &valid, pair.pem().as_bytes())),
        ("point as a secret", signed(&hs256(), &valid, &pair.point())),
        (
            "public key as a secret, by name",
            signed(&json!({"alg": "HS256", "kid": "ec"}), &valid, pair.pem().as_bytes()),
        ),
        ("ES256 signed by HS256", named(json!({"alg": "ES256", "kid": "ec"}))),
        ("RS256 signed by HS256", named(json!({"alg": "RS256"}))),
        ("HS256 signed by ES256", pair.sign(&hs256(), &valid)),
        ("unknown kid", named(json!({"alg": "HS256", "kid": "other"}))),
        ("kid with a path", named(json!({"alg": "HS256", "kid": "../../dev/null"}))),
        ("kid of another kind", named(json!({"alg": "HS256", "kid": 7}))),
        ("critical extension", named(json!({"alg": "HS256", "crit": ["exp2"], "exp2": 1}))),
        ("unencoded payload", named(json!({"alg": "HS256", "crit": ["b64"], "b64": false}))),
        ("own key in the header", named(json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}, "kid": "x"}))),
        ("another secret", signed(&hs256(), &valid, b"another secret of thirty-two bytes!!")),
        ("a wrong letter", flipped),
        ("no audience", super::bad_tokens::with(json!({"iss": "https://id.example.com/"}))),
        ("another audience", with(json!({"aud": "other"}))),
        ("an audience of another kind", with(json!({"aud": 7}))),
        ("no issuer", super::bad_tokens::with(json!({"aud": "rialto"}))),
        ("another issuer", with(json!({"iss": "https://evil.example.com/"}))),
        ("no expiry", with(json!({"exp": null}))),
        ("expiry as a text", with(json!({"exp": "9999999999"}))),
        ("expiry as a list", with(json!({"exp": [9_999_999_999_u64]}))),
        ("huge expiry", with(json!({"exp": 1e300}))),
        ("expiry beyond the calendar", with(json!({"exp": u64::MAX}))),
        ("negative expiry", with(json!({"exp": -1}))),
        ("not before as a text", with(json!({"nbf": "0"}))),
        ("not yet valid", with(json!({"nbf": now_s() + 600}))),
        ("no user", with(json!({"sub": null}))),
        ("empty user", with(json!({"sub": ""}))),
        ("user as a number", with(json!({"sub": 7}))),
        ("user with a line feed", with(json!({"sub": "ann\nbob"}))),
        ("user that is too long", with(json!({"sub": "a".repeat(129)}))),
        ("role of another kind", with(json!({"roles": "admin"}))),
        ("too many roles", with(json!({"roles": many[..33]}))),
        ("10,000 patterns", with(json!({"topics": {"subscribe": many[..5_000]}}))),
        ("too many patterns", with(json!({"topics": {"subscribe": many[..101]}}))),
        ("no pattern", with(json!({"topics": {"subscribe": ["a..b"]}}))),
        ("pattern of the broker", with(json!({"topics": {"publish": ["$sys.>"]}}))),
        ("unknown action", with(json!({"topics": {"admin": [">"]}}))),
        ("claims as a list", signed(&hs256(), &json!([1, 2]), SECRET)),
        ("deep roles", signed(&hs256(), &nested(&valid, 500), SECRET)),
        ("100 KB of claims", with(json!({"x": "y".repeat(100_000)}))),
    ];
    let mut client = running.client(Codec::Json).await;
    for (what, token) in &crafted {
        let begun = Instant::now();
        let refused = client.refused(json!({"type": "connect", "token": token}), "unauthorized").await;
        assert_eq!(refused["message"], MESSAGE, "{what}");
        assert!(begun.elapsed() < Duration::from_secs(1), "{what}: {:?}", begun.elapsed());
    }
    assert_eq!(running.broker.metrics().tokens_refused_total, crafted.len() as u64);
    client.ok(json!({"type": "connect", "token": with(json!({}))})).await;
    let mut other = running.client(Codec::Json).await;
    other.ok(json!({"type": "connect", "token": with(json!({"aud": ["x", "rialto"], "nbf": now_s() - 5}))})).await;
    let mut another = running.client(Codec::Json).await;
    let by_ec = pair.sign(&json!({"alg": "ES256", "kid": "ec"}), &valid);
    another.ok(json!({"type": "connect", "token": by_ec})).await;
}

fn nested(claims: &Value, depth: usize) -> Value {
    let mut deep = json!(1);
    for _ in 0..depth {
        deep = json!([deep]);
    }
    let mut claims = claims.clone();
    claims["roles"] = deep;
    claims
}

#[tokio::test]
async fn an_expired_token_is_told_from_a_wrong_one() {
    let running = Running::with(|config| config.auth = Some(auth(true)));
    let mut client = running.client(Codec::Json).await;
    let expired = with(json!({"exp": now_s() - 60}));
    client.refused(json!({"type": "connect", "token": expired}), "expired").await;
    // Within the leeway.
    client.ok(json!({"type": "connect", "token": with(json!({"exp": now_s() - 2}))})).await;
}

/// Bad tokens of one address use up its share; another address is served as before.
#[tokio::test]
async fn bad_tokens_have_a_rate_and_a_neighbour_is_not_touched() {
    let running = Running::with(|config| {
        let mut auth = auth(false);
        auth.bad_tokens_per_s = 5;
        config.auth = Some(auth);
    });
    let address = running.address;
    let ask = async |from: Ipv4Addr, token: &str| {
        let stream = open_from(from, address).await;
        let target = format!("/poll?topic=a&wait_ms=0&token={token}");
        http_over(stream, &format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n")).await
    };
    let (hostile, neighbour) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(ask(hostile, "a.b.c").await.status);
    }
    assert!(statuses.contains(&401) && statuses.ends_with(&[429]), "{statuses:?}");
    assert!(running.broker.metrics().tokens_unverified_total > 0);
    let good = token_of("ann", json!({}));
    assert_eq!(ask(neighbour, &good).await.status, 200);
    assert_eq!(ask(hostile, &good).await.status, 429, "it is not looked at");
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(ask(hostile, &good).await.status, 200);
}
