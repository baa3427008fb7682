//! Tokens, keys and secrets are nowhere to be seen: not in the log at any level, in the answers, in what commands say of the
//! file, nor in the memory of what was asked for.

use std::process::{Command, Stdio};

use rialto::Codec;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::process::{Process, SERVER, command, folder};
use crate::support::token::{SECRET, signed, token_of};
use crate::support::{Client, Program, RIALTO, get, http, upgrade_request};

const KEY: &str = "rialto_a-key-that-nobody-may-ever-see";

fn config() -> String {
    let hash: String = Sha256::digest(KEY).iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}log = \"trace\"\n[auth]\nanonymous = true\ncookie = \"session\"\nbad_tokens_per_s = 1_000\n[[auth.key]]\nid = \"main\"\n\
         algorithm = \"HS256\"\nsecret = {{ env = \"RIALTO_JWT_SECRET\" }}\n[api]\nkeys = [{{ name = \"backend\", sha256 = \
         \"{hash}\" }}]\n[[topic]]\npattern = \"a\"\nsubscribe = \"anyone\"\nhistory = \"user\"\npresence = \"user\"\n",
        SERVER
    )
}

#[tokio::test]
async fn no_log_and_no_answer_shows_a_token_a_key_or_a_secret() {
    let folder = folder(&config(), None);
    let mut program = command(folder.path());
    program.env("RIALTO_JWT_SECRET", std::str::from_utf8(SECRET).unwrap());
    let mut process = Process::of(program.spawn().unwrap(), folder);
    let address = process.address;
    let good = token_of("ann", json!({"jti": "token-one"}));
    let bad = signed(
        &json!({"alg": "HS256"}),
        &json!({"sub": "ann", "exp": 1_e10}),
        b"not the secret of this broker, but long",
    );
    let mut seen = String::new();
    for token in [&good, &bad] {
        for target in ["/poll?topic=a&wait_ms=0", "/poll?topic=a..b", "/sse?topic=", "/nowhere?x=1", "/poll?other=1"] {
            seen += &format!("{:?}", get(address, &format!("{target}&token={token}")).await);
        }
        for (name, value) in [
            ("Authorization", format!("Bearer {token}")),
            ("Cookie", format!("session={token}")),
            ("Sec-WebSocket-Protocol", format!("rialto.token.{token}, rialto.v1.json")),
            ("Sec-WebSocket-Protocol", format!("rialto.token.{token}, other")),
        ] {
            seen += &format!("{:?}", http(address, &upgrade_request(address, &[(name, &value)])).await);
        }
        // A head that is no HTTP.
        seen += &format!(
            "{:?}",
            http(address, &format!("GET /ws?token={token} HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n")).await
        );
        for codec in Codec::ALL {
            let mut client = Client::connect(address, codec).await;
            for request in [
                json!({"type": "connect", "token": token}),
                json!({"type": "connect", "token": token, "client": 7}),
                json!({"type": "subscribe", "topic": "a", "token": token}),
                json!({"type": "nothing", "token": token}),
                json!({"type": "publish", "topic": "a", "data": 1, "key": ""}),
            ] {
                seen += &client.request(request).await.to_string();
            }
        }
    }
    for key in [KEY, "rialto_another-key-of-somebody"] {
        let program = Program { address, key: key.to_owned() };
        for (operation, body) in [
            ("publish", json!({"topic": "a", "data": 1})),
            ("publish", json!({"topic": 7})),
            ("revoke", json!({"token": "token-one"})),
            ("plugins/reload", json!({"plugin": "none"})),
            ("reload", json!({})),
        ] {
            seen += &program.ask(operation, &body).await.1.to_string();
        }
    }
    let file = process.folder.path().join("rialto.toml");
    for arguments in
        [&["check"][..], &["explain", "a", "--user", "ann", "--config"], &["token", "check", &bad, "--config"]]
    {
        let mut command = Command::new(RIALTO);
        command.args(arguments).arg(&file).env("RIALTO_JWT_SECRET", std::str::from_utf8(SECRET).unwrap());
        let output = command.stdin(Stdio::null()).output().unwrap();
        seen += &String::from_utf8_lossy(&[output.stdout, output.stderr].concat());
    }
    process.signal("TERM");
    process.ends().await;
    let log = process.log();
    assert!(log.contains("a token was refused"), "the log is of every level: {log}");
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    let secrets = [signature(&good), signature(&bad), KEY.to_owned(), String::from_utf8(SECRET.to_vec()).unwrap()];
    for (what, text) in [("the log", &log), ("an answer", &seen)] {
        for secret in &secrets {
            let place = text.find(secret.as_str());
            assert!(place.is_none(), "{what} shows {secret}: {}", &text[place.unwrap().saturating_sub(200)..]);
        }
    }
}
