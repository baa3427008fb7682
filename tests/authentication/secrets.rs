//! Tokens, keys, passwords and secrets are nowhere to be seen: not in the log at any level, in the answers, in what commands
//! say of the file and of the broker, in metrics, nor in what is recorded of plugins.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rialto::Codec;
use rialto::config::Config;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::component::hostile;
use crate::support::process::{Process, SERVER, command, folder};
use crate::support::raw::{FIN, TEXT, masked};
use crate::support::token::{SECRET, auth, shows_secret, signed, token_of};
use crate::support::{Client, Program, RIALTO, Running, eventually, get, http, upgrade_request};

const KEY: &str = "rialto_a-key-that-nobody-may-ever-see";
const PASSWORD: &str = "a password that nobody may ever see";

fn secret() -> &'static str {
    std::str::from_utf8(SECRET).unwrap()
}

fn password_hash() -> String {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 1, 1, None).unwrap());
    argon2.hash_password_with_salt(PASSWORD.as_bytes(), b"0123456789abcdef").unwrap().to_string()
}

/// Fails where one of the secrets is in a text.
fn check(what: &str, text: &str, secrets: &[String]) {
    for secret in secrets {
        let place = text.find(secret.as_str());
        assert!(place.is_none(), "{what} shows {secret}: {}", &text[place.unwrap().saturating_sub(200)..]);
    }
}

/// All that is in the files of a folder.
fn contents(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten();
    files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

fn config() -> String {
    let hash: String = Sha256::digest(KEY).iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}log = \"trace\"\n[auth]\nanonymous = true\ncookie = \"session\"\nbad_tokens_per_s = 1_000\njwks = \"keys.json\"\n[[auth.key]]\nid = \"main\"\n\
         algorithm = \"HS256\"\nsecret = {{ env = \"RIALTO_JWT_SECRET\" }}\n[api]\nkeys = [{{ name = \"backend\", sha256 = \
         \"{hash}\" }}]\n[[topic]]\npattern = \"a\"\nsubscribe = \"anyone\"\nhistory = \"user\"\npresence = \"user\"\n\
         [[auth.user]]\nname = \"bob\"\npassword = \"{}\"\n\
         [[topic]]\npattern = \"own.*\"\nplugin = \"own\"\n[[endpoint]]\npath = \"/raw\"\nplugin = \"own\"\n\
         [plugin.own]\npath = \"plugin.wasm\"\nrecord = 100\n[limits]\ntopic_idle_ms = 100\n",
        SERVER,
        password_hash()
    )
}

#[tokio::test]
async fn no_log_and_no_answer_shows_a_token_a_key_or_a_secret() {
    let folder = folder(&config(), Some(&hostile()));
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, json!({"keys": []}).to_string()).unwrap();
    let mut program = command(folder.path());
    program.env("RIALTO_JWT_SECRET", secret());
    let mut process = Process::of(program.spawn().unwrap(), folder);
    let address = process.address;
    // No JWK set any more, but what an error could repeat. The keeper looks at it twenty times a second.
    std::fs::write(&keys, json!({"keys": secret()}).to_string()).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let good = token_of("ann", json!({"jti": "token-one"}));
    let bad = signed(
        &json!({"alg": "HS256"}),
        &json!({"sub": "ann", "exp": 1_e10}),
        b"not the secret of this broker, but long",
    );
    let basic = BASE64.encode(format!("bob:{PASSWORD}"));
    let mut seen = String::new();
    for token in [&good, &bad] {
        for target in ["/poll?topic=a&wait_ms=0", "/poll?topic=a..b", "/sse?topic=", "/nowhere?x=1", "/poll?other=1"] {
            seen += &format!("{:?}", get(address, &format!("{target}&token={token}")).await);
        }
        for (name, value) in [
            ("Authorization", format!("Bearer {token}")),
            ("Cookie", format!("session={token}")),
            ("Authorization", format!("Basic {basic}")),
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
                json!({"type": "connect", "user": "bob", "password": PASSWORD}),
                json!({"type": "connect", "user": "bob", "password": PASSWORD, "client": 7}),
                json!({"type": "connect", "user": "ann", "password": PASSWORD}),
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
            ("explain", json!({"topic": "a", "token": good})),
            ("explain", json!({"topic": "a", "token": bad})),
            ("explain", json!({"topic": "a", "token": good, "user": "ann"})),
            ("plugins", json!({})),
            ("plugins/reload", json!({"plugin": "none"})),
            ("reload", json!({})),
        ] {
            seen += &program.ask(operation, &body).await.1.to_string();
        }
    }
    let recordings = record(address, process.folder.path(), &good).await;
    assert!(recordings.contains("ann") && recordings.contains("on-message"), "{recordings}");
    let revoked = Program { address, key: KEY.to_owned() }.ask("revoke", &json!({"token": "token-one"})).await;
    seen += &format!("{revoked:?}");
    let file = process.folder.path().join("rialto.toml");
    for arguments in
        [&["check"][..], &["explain", "a", "--user", "ann", "--config"], &["token", "check", &bad, "--config"]]
    {
        let mut command = Command::new(RIALTO);
        command.args(arguments).arg(&file).env("RIALTO_JWT_SECRET", secret());
        seen += &said(command);
    }
    let operate = |arguments: &[&str]| {
        let mut command = Command::new(RIALTO);
        command.args(arguments).env("XDG_RUNTIME_DIR", process.folder.path());
        said(command)
    };
    for arguments in ["plugin status", "plugin status --json", "plugin reload own", "reload"] {
        seen += &operate(&arguments.split(' ').collect::<Vec<_>>());
    }
    // A secret in the place of the name of a variable, and a password in that of its hash.
    let broken = config().replace("{ env = \"RIALTO_JWT_SECRET\" }", &format!("\"{}\"", secret()));
    std::fs::write(&file, broken.replace(&password_hash(), PASSWORD)).unwrap();
    let refused = operate(&["reload"]);
    assert!(refused.contains("error"), "{refused}");
    seen += &refused;
    seen += &Program { address, key: KEY.to_owned() }.ask("reload", &json!({})).await.1.to_string();
    process.signal("TERM");
    process.ends().await;
    let log = process.log();
    assert!(log.contains("a token was refused"), "the log is of every level: {log}");
    assert!(log.contains("it is no JWK set"), "{log}");
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    let hash = password_hash();
    let secrets = [&*signature(&good), &*signature(&bad), KEY, secret(), PASSWORD, &*basic, &*hash].map(str::to_owned);
    for (what, text) in [("the log", &log), ("an answer", &seen), ("a recording", &recordings)] {
        check(what, text, &secrets);
    }
}

/// Has the plugin recorded while a user acts on its topic and its endpoint. Returns the recordings.
async fn record(address: std::net::SocketAddr, folder: &Path, token: &str) -> String {
    let recordings = folder.join("recordings");
    let mut client = Client::connect(address, Codec::Json).await;
    client.ok(json!({"type": "connect", "token": token})).await;
    client.ok(json!({"type": "call", "topic": "own.a", "method": "z"})).await;
    let mut raw = TcpStream::connect(address).await.unwrap();
    let request = upgrade_request(address, &[]).replace("GET /ws ", &format!("GET /raw?token={token} "));
    raw.write_all(&[request.as_bytes(), &masked(FIN | TEXT, b"t")].concat()).await.unwrap();
    eventually("a recording is there", || !contents(&recordings).is_empty()).await;
    client.refused(json!({"type": "publish", "topic": "own.a", "data": "t"}), "plugin_failed").await;
    eventually("another one is there", || contents(&recordings).len() > 1).await;
    contents(&recordings).concat()
}

fn said(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[tokio::test]
async fn no_metric_and_no_outcome_of_an_embedded_broker_shows_a_secret() {
    let running = Running::with(|config| config.auth = Some(auth(true)));
    let (good, address) = (token_of("ann", json!({})), running.address);
    let bad = signed(&json!({"alg": "HS256"}), &json!({"sub": "ann", "exp": 1}), SECRET);
    for token in [&good, &bad] {
        let mut client = Client::connect(address, Codec::MessagePack).await;
        client.request(json!({"type": "connect", "token": token})).await;
        get(address, &format!("/poll?topic=a&wait_ms=0&token={token}")).await;
    }
    let mut seen = format!("{:?} {:?}", running.broker.metrics(), running.broker);
    let mut wanted = Config { auth: Some(auth(false)), ..Config::default() };
    wanted.server.listen = vec![address];
    seen += &format!("{:?}", running.broker.reload(wanted.clone()).await);
    // What a program has filled itself is named, its secrets are not.
    wanted.auth.as_mut().unwrap().token_bytes = 0;
    let refused = running.broker.reload(wanted.clone()).await.expect_err("token_bytes is 0");
    seen += &format!("{refused} {refused:?} {wanted:?}");
    assert!(seen.contains("token_bytes") && seen.contains("tokens_refused"), "{seen}");
    assert!(!shows_secret(seen.as_bytes()), "{seen}");
}

#[tokio::test]
async fn a_backend_that_does_not_answer_is_named_without_what_it_was_asked() {
    // Nobody listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let callout = format!("[auth.callout]\nurl = \"http://{closed}/rialto\"\nheaders = [\"X-Session\"]\n");
    let process = format!("{SERVER}log = \"trace\"\n[auth]\nanonymous = true\n{callout}[[topic]]\npattern = \"a\"\n");
    let mut process = Process::start(&process, None);
    let (address, cookie) = (process.address, "session=nobody-may-see-this-cookie");
    let mut seen = String::new();
    for (name, value) in [("Cookie", cookie), ("X-Session", PASSWORD)] {
        let answered = http(address, &upgrade_request(address, &[(name, value)])).await;
        assert_eq!(answered.status, 503, "{answered:?}");
        seen += &format!("{answered:?}");
    }
    process.signal("TERM");
    process.ends().await;
    let log = process.log();
    for (what, text) in [("the log", &log), ("an answer", &seen)] {
        check(what, text, &[cookie.to_owned(), PASSWORD.to_owned()]);
    }
}
