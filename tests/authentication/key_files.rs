//! Keys in files: a JWK set that changes while the broker runs, public keys of the configuration, secrets that others may read.

use std::fs;
use std::path::Path;

use rialto::Codec;
use rialto::config::Config;
use serde_json::json;

use crate::support::token::{EcPair, EdPair, SECRET, now_s, signed};
use crate::support::{Running, eventually, within};

fn claims() -> serde_json::Value {
    json!({"sub": "ann", "exp": now_s() + 600})
}

fn titles(text: &str, folder: &Path) -> Vec<String> {
    match Config::parse(text, &folder.join("rialto.toml")) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(|problem| problem.title().to_owned()).collect(),
    }
}

#[tokio::test]
async fn a_key_set_is_read_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let (old, new) = (EcPair::new(), EcPair::new());
    fs::write(&file, json!({"keys": [old.jwk("old"), {"kty": "oct", "k": "AAAA"}, {"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB"}]}).to_string()).unwrap();
    let running = Running::with(|config| {
        config.auth = Some(rialto::config::Auth { jwks: Some(file.clone()), ..Default::default() });
        config.limits.topic_idle_ms = 200;
    });
    let by = |pair: &EcPair, id: &str| pair.sign(&json!({"alg": "ES256", "kid": id}), &claims());
    let is_taken = async |token: String| {
        let mut client = running.client(Codec::Json).await;
        client.request(json!({"type": "connect", "token": token})).await["type"] == "ok"
    };
    assert!(is_taken(by(&old, "old")).await);
    assert!(!is_taken(by(&old, "new")).await && !is_taken(by(&new, "new")).await);
    // A broken file changes nothing.
    fs::write(&file, "{").unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(is_taken(by(&old, "old")).await);
    fs::write(&file, json!({"keys": [new.jwk("new")]}).to_string()).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !is_taken(by(&new, "new")).await {
        assert!(std::time::Instant::now() < deadline, "the new key is never taken");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(!is_taken(by(&old, "old")).await);
}

#[tokio::test]
async fn every_algorithm_has_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (ec, ed) = (EcPair::new(), EdPair::new());
    fs::write(path("ec.pem"), ec.pem()).unwrap();
    fs::write(path("ed.pem"), ed.pem()).unwrap();
    fs::write(path("secret"), [SECRET, b"\n"].concat()).unwrap();
    private(&path("secret"));
    let text = r#"
        [auth]
        [[auth.key]]
        id = "h"
        algorithm = "HS256"
        secret = { file = "secret" }
        [[auth.key]]
        id = "ec"
        algorithm = "ES256"
        public_key = { file = "ec.pem" }
        [[auth.key]]
        id = "ed"
        algorithm = "EdDSA"
        public_key = { file = "ed.pem" }
        [[topic]]
        pattern = ">"
    "#;
    let parsed = Config::parse(text, &path("rialto.toml")).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(!format!("{parsed:?}").contains("thirty-two"), "{parsed:?}");
    let running = Running::with(|config| config.auth = parsed.auth);
    for token in [
        signed(&json!({"alg": "HS256", "kid": "h"}), &claims(), SECRET),
        signed(&json!({"alg": "HS256"}), &claims(), SECRET),
        ec.sign(&json!({"alg": "ES256", "kid": "ec"}), &claims()),
        ec.sign(&json!({"alg": "ES256"}), &claims()),
        ed.sign(&json!({"alg": "EdDSA", "kid": "ed"}), &claims()),
    ] {
        let mut client = running.client(Codec::Json).await;
        within("an answer", client.ok(json!({"type": "connect", "token": token}))).await;
    }
    eventually("they have gone", || running.broker.metrics().sessions == 0).await;
}

#[test]
fn keys_that_cannot_be_used_are_problems() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("ec.pem"), EcPair::new().pem()).unwrap();
    fs::write(path("no.pem"), "no key").unwrap();
    fs::write(path("short"), "0123456789012345678901234567890").unwrap();
    fs::write(path("shared"), SECRET).unwrap();
    fs::write(path("empty"), "\n").unwrap();
    private(&path("short"));
    private(&path("empty"));
    fs::write(path("no.json"), "[]").unwrap();
    let key = |rest: &str| format!("[auth]\n[[auth.key]]\n{rest}\n");
    for (text, title) in [
        ("[auth]\n".to_owned(), "`[auth]` without keys lets nobody in"),
        (key("id = \"a\""), "a key needs an `algorithm`"),
        (
            key("algorithm = \"HS512\""),
            "`algorithm` is \"HS256\" or \"RS256\" or \"ES256\" or \"EdDSA\", not \"HS512\"",
        ),
        (key("algorithm = \"HS256\""), "a key of this algorithm needs a `secret`"),
        (
            key("algorithm = \"HS256\"\npublic_key = { file = \"ec.pem\" }"),
            "a key of this algorithm has a `secret`, not a `public_key`",
        ),
        (
            key("algorithm = \"HS256\"\nsecret = \"hunter2hunter2hunter2hunter2hunter2\""),
            "`secret` says where the value is; the value itself does not belong in this file",
        ),
        (key("algorithm = \"HS256\"\nsecret = {}"), "`secret` needs one of `env` and `file`"),
        (
            key("algorithm = \"HS256\"\nsecret = { env = \"RIALTO_IS_NOT_SET\" }"),
            "the environment variable of `secret` is not set",
        ),
        (
            key("algorithm = \"HS256\"\nsecret = { file = \"short\" }"),
            "the secret is shorter than 32 bytes, so that it can be guessed",
        ),
        (key("algorithm = \"HS256\"\nsecret = { file = \"empty\" }"), "the file of `secret` is empty"),
        (
            key("algorithm = \"HS256\"\nsecret = { file = \"shared\" }"),
            "the file of `secret` may be read by every user of this machine",
        ),
        (
            key("algorithm = \"ES256\"\npublic_key = { file = \"no.pem\" }"),
            "`public_key` cannot be used: it is no public key in PEM form",
        ),
        (
            key("algorithm = \"EdDSA\"\npublic_key = { file = \"ec.pem\" }"),
            "`public_key` cannot be used: EdDSA needs a key of the curve Ed25519",
        ),
        (
            key("algorithm = \"RS256\"\npublic_key = { file = \"ec.pem\" }"),
            "`public_key` cannot be used: RS256 needs an RSA key",
        ),
        ("[auth]\njwks = \"no.json\"\n".to_owned(), "`jwks` cannot be used: it is no JSON with a list `keys`"),
        (
            "[auth]\nanonymous = true\ncookie = \"a b\"\n".to_owned(),
            "`cookie` is the name of a cookie: letters, digits, `-` and `_`",
        ),
        ("[[topic]]\npattern = \"a.{users}\"\n".to_owned(), "unknown placeholder `{users}`"),
        (
            "[[topic]]\npattern = \"a\"\nsubscribe = \"users\"\n".to_owned(),
            "`subscribe` names nobody whom this broker knows: \"users\"",
        ),
        (
            "[[topic]]\npattern = \"a\"\npresence = \"user\"\npresence_for = \"user\"\n".to_owned(),
            "`presence_for` says again what `presence` says",
        ),
    ] {
        let found = titles(&text, folder.path());
        assert_eq!(found, [title], "{text}");
    }
    let shown =
        Config::parse(&key("algorithm = \"HS256\"\nsecret = \"hunter2hunter2hunter2hunter2hunter2\""), &path("x.toml"));
    assert!(!shown.unwrap_err().render(false).contains("hunter2"), "a secret is not repeated");
}

/// Nobody else may read it.
fn private(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    #[cfg(not(unix))]
    let _ = path;
}
