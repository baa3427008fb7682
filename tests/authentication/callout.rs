//! The call-out: what a backend says of a handshake decides, and where it says nothing nobody is let in.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rialto::Codec;
use rialto::config::{Auth, CallOut, Config};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::token::{auth, token_of};
use crate::support::{Answered, Client, Running, http, root, upgrade_request, within};

/// What a backend does with a request.
#[derive(Clone, Debug)]
enum Does {
    /// Answers with this status and body.
    Says(u16, String),
    /// The same, so many milliseconds later.
    SaysLater(u64, u16, String),
    /// Takes the request and never answers.
    Hangs,
    /// Closes the connection in the middle of an answer.
    BreaksOff,
}

/// A backend that does as it is set, and remembers the heads of requests.
struct Backend {
    address: SocketAddr,
    does: Arc<Mutex<Does>>,
    heads: Arc<Mutex<Vec<String>>>,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Backend {
    async fn start(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let backend = Self {
            address,
            does: Arc::new(Mutex::new(does)),
            heads: Arc::default(),
            open: Arc::default(),
            most: Arc::default(),
        };
        let (does, heads) = (Arc::clone(&backend.does), Arc::clone(&backend.heads));
        let (open, most) = (Arc::clone(&backend.open), Arc::clone(&backend.most));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (does, heads) = (Arc::clone(&does), Arc::clone(&heads));
                let (open, most) = (Arc::clone(&open), Arc::clone(&most));
                tokio::spawn(async move {
                    most.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
                    answer(stream, &does, &heads).await;
                    open.fetch_sub(1, SeqCst);
                });
            }
        });
        backend
    }

    async fn of_user(user: Value) -> Self {
        Self::start(Does::Says(200, user.to_string())).await
    }

    fn now(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    fn asked(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    /// A broker that asks it, with other settings changed.
    fn asked_by(&self, change: impl FnOnce(&mut Auth, &mut Config)) -> Running {
        let url = format!("http://{}/who", self.address);
        Running::with(|config| {
            let callout = CallOut { url, timeout_ms: 300, cache_ms: 0, ..CallOut::default() };
            let mut auth = Auth { callout: Some(callout), bad_tokens_per_s: 1_000, ..Auth::default() };
            change(&mut auth, config);
            config.auth = Some(auth);
        })
    }
}

async fn answer(mut stream: TcpStream, does: &Mutex<Does>, heads: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_buf(&mut head).await {
            Ok(count) if count > 0 => {}
            _ => return,
        }
    }
    heads.lock().unwrap().push(String::from_utf8(head).unwrap());
    let mut does = does.lock().unwrap().clone();
    if let Does::SaysLater(ms, status, body) = does {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        does = Does::Says(status, body);
    }
    match does {
        Does::SaysLater(..) => {}
        Does::Says(status, body) => {
            let length = body.len();
            let text = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            let _ = stream.write_all(text.as_bytes()).await;
        }
        Does::Hangs => tokio::time::sleep(Duration::from_secs(60)).await,
        Does::BreaksOff => drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"user\":").await),
    }
}

/// A poll with this header.
async fn poll(address: SocketAddr, header: &str) -> Answered {
    http(address, &format!("GET /poll?topic=a&wait_ms=0 HTTP/1.1\r\nHost: {address}\r\n{header}\r\n\r\n")).await
}

#[tokio::test]
async fn the_backend_says_who_it_is_at_every_door() {
    let ann = json!({"user": "ann", "roles": ["desk"], "topics": {"subscribe": ["room.1"]}, "info": {"name": "Ann"}});
    let backend = Backend::of_user(ann).await;
    let running = backend.asked_by(|auth, config| {
        auth.anonymous = false;
        config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    });
    for codec in Codec::ALL {
        let headers = [("cookie", "sid=1; theme=dark"), ("x-forwarded-for", "192.0.2.7"), ("x-other", "no")];
        let client = Client::with_headers(running.address, codec, &headers).await;
        assert_eq!((&client.welcome["user"], &client.welcome["info"]), (&json!("ann"), &json!({"name": "Ann"})));
    }
    let head = backend.heads.lock().unwrap()[0].to_lowercase();
    for expected in [
        "get /who http/1.1\r\n",
        &format!("host: {}\r\n", backend.address),
        "cookie: sid=1; theme=dark\r\n",
        "x-forwarded-for: 192.0.2.7\r\n",
        &format!("x-forwarded-host: {}\r\n", running.address),
        "x-forwarded-proto: http\r\n",
        "x-forwarded-uri: /ws\r\n",
        "cache-control: no-store\r\n",
    ] {
        assert!(head.contains(expected), "{expected} is not in {head}");
    }
    assert!(!head.contains("x-other") && !head.contains("sec-websocket"), "{head}");
    assert_eq!(poll(running.address, "Cookie: sid=1").await.status, 200);
    let asked = backend.asked();
    assert_eq!(poll(running.address, "X-Nothing: 1").await.status, 401, "nothing says who this is");
    assert_eq!(backend.asked(), asked, "so nobody is asked");
    backend.now(Does::Says(401, String::new()));
    for status in [401, 403] {
        backend.now(Does::Says(status, "{\"user\":\"ann\"}".to_owned()));
        let refused = poll(running.address, "Cookie: sid=2").await;
        assert_eq!((refused.status, refused.body.trim()), (401, "the credentials are not valid"));
        let upgrade = http(running.address, &upgrade_request(running.address, &[("Cookie", "sid=2")])).await;
        assert_eq!(upgrade.status, 401);
    }
}

#[tokio::test]
async fn a_backend_that_fails_lets_nobody_in_and_keeps_nobody_else() {
    let backend = Backend::start(Does::Hangs).await;
    let running = backend.asked_by(|auth, _| {
        auth.key = crate::support::token::auth(false).key;
        auth.anonymous = true;
        auth.callout.as_mut().unwrap().failures = 1_000;
    });
    let huge = format!("{{\"user\":\"ann\",\"more\":\"{}\"}}", "x".repeat(100_000));
    for does in [
        Does::Hangs,
        Does::BreaksOff,
        Does::Says(500, json!({"user": "ann"}).to_string()),
        Does::Says(302, json!({"user": "ann"}).to_string()),
        Does::Says(204, String::new()),
        Does::Says(200, String::new()),
        Does::Says(200, "<html>log in</html>".to_owned()),
        Does::Says(200, "{}".to_owned()),
        Does::Says(200, json!({"user": 7}).to_string()),
        Does::Says(200, json!({"user": "ann", "roles": "all"}).to_string()),
        Does::Says(200, json!({"user": "ann", "expires_at": "never"}).to_string()),
        Does::Says(200, huge),
    ] {
        let shown = format!("{does:?}").chars().take(80).collect::<String>();
        backend.now(does);
        let asking = poll(running.address, "Cookie: sid=1");
        // Others connect meanwhile: without anything to ask about, and with a token.
        let others = async {
            assert_eq!(poll(running.address, "X-Nothing: 1").await.status, 200);
            let bearer = format!("Authorization: Bearer {}", token_of("bob", json!({})));
            assert_eq!(poll(running.address, &bearer).await.status, 200);
        };
        let (refused, ()) = tokio::join!(asking, others);
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")), "{shown}");
        assert!(!refused.body.contains("ann"), "{}", refused.body);
    }
    let counted = running.broker.metrics();
    assert_eq!((counted.callouts_total, counted.callouts_failed_total), (12, 12));
    backend.now(Does::Says(200, json!({"user": "ann"}).to_string()));
    assert_eq!(poll(running.address, "Cookie: sid=1").await.status, 200);
}

#[tokio::test]
async fn a_backend_that_goes_on_failing_is_left_alone() {
    let backend = Backend::start(Does::Says(500, String::new())).await;
    let running = backend.asked_by(|auth, _| {
        let callout = auth.callout.as_mut().unwrap();
        (callout.failures, callout.pause_ms) = (3, 1_000);
    });
    for _ in 0..10 {
        assert_eq!(poll(running.address, "Cookie: sid=1").await.status, 503);
    }
    assert_eq!(backend.asked(), 3);
    backend.now(Does::Says(200, json!({"user": "ann"}).to_string()));
    within("somebody is let in", async {
        while poll(running.address, "Cookie: sid=1").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn so_many_questions_are_under_way_and_an_answer_holds_for_a_time() {
    let backend = Backend::start(Does::SaysLater(30, 500, String::new())).await;
    let running = backend.asked_by(|auth, _| {
        let callout = auth.callout.as_mut().unwrap();
        (callout.calls, callout.cache_ms, callout.failures, callout.timeout_ms) = (2, 60_000, 1_000, 10_000);
    });
    let cookies: Vec<String> = (0..8).map(|number| format!("Cookie: sid={number}")).collect();
    let polls = cookies.iter().map(|cookie| poll(running.address, cookie));
    for refused in futures_util::future::join_all(polls).await {
        assert_eq!(refused.status, 503);
    }
    assert_eq!((backend.most.load(SeqCst), backend.asked()), (2, 8));
    backend.now(Does::Says(200, json!({"user": "ann"}).to_string()));
    let asked = backend.asked();
    for _ in 0..5 {
        assert_eq!(poll(running.address, "Cookie: sid=1").await.status, 200);
    }
    assert_eq!((backend.asked() - asked, running.broker.metrics().callouts_cached_total), (1, 4));
    // Not for somebody else.
    backend.now(Does::Says(401, String::new()));
    assert_eq!(poll(running.address, "Cookie: sid=2").await.status, 401);
    assert_eq!(poll(running.address, "Cookie: sid=1").await.status, 200);
}

#[tokio::test]
async fn refusals_use_up_the_share_of_an_address() {
    let backend = Backend::start(Does::Says(401, String::new())).await;
    let running = backend.asked_by(|auth, _| auth.bad_tokens_per_s = 3);
    let mut statuses = Vec::new();
    for number in 0..8 {
        statuses.push(poll(running.address, &format!("Cookie: sid={number}")).await.status);
    }
    assert!(statuses.starts_with(&[401, 401]) && statuses.ends_with(&[429]), "{statuses:?}");
    assert!(backend.asked() < 8);
}

#[tokio::test]
async fn a_session_without_a_user_is_for_the_configuration_to_allow() {
    let backend = Backend::of_user(json!({"user": null})).await;
    let strict = backend.asked_by(|_, _| {});
    assert_eq!(poll(strict.address, "Cookie: sid=1").await.status, 401);
    let open = backend.asked_by(|auth, _| auth.anonymous = true);
    assert_eq!(poll(open.address, "Cookie: sid=1").await.status, 200);
}

#[tokio::test]
async fn cookies_of_any_page_are_not_passed_on() {
    let backend = Backend::of_user(json!({"user": "ann"})).await;
    let running = backend.asked_by(|auth, config| {
        config.server.allowed_origins = vec!["*".to_owned()];
        auth.callout.as_mut().unwrap().headers = vec!["authorization".to_owned()];
    });
    assert_eq!(poll(running.address, "Cookie: sid=1").await.status, 401);
    assert_eq!(backend.asked(), 0);
    assert_eq!(poll(running.address, "Cookie: sid=1\r\nAuthorization: Bearer opaque").await.status, 200);
    let head = backend.heads.lock().unwrap()[0].to_lowercase();
    assert!(head.contains("authorization: bearer opaque") && !head.contains("cookie"), "{head}");
}

#[tokio::test]
async fn a_session_ends_when_the_backend_said_so_and_a_revoked_user_is_not_let_in() {
    let expires_at = crate::support::token::now_s() + 2;
    let backend = Backend::of_user(json!({"user": "ann", "expires_at": expires_at})).await;
    let running = backend.asked_by(|auth, _| (auth.leeway_ms, auth.warn_ms) = (0, 60_000));
    let mut client = Client::with_headers(running.address, Codec::Json, &[("cookie", "sid=1")]).await;
    assert_eq!(client.welcome["expires_at"], 1_000 * expires_at);
    assert_eq!(client.push().await["type"], "token_expiring");
    assert_eq!(client.closed().await, Some(4002));
    assert_eq!(poll(running.address, "Cookie: sid=1").await.status, 401, "that is over");
}

#[tokio::test]
async fn a_reload_keeps_what_was_said_and_goes_by_another_backend() {
    let (one, other) = (Backend::of_user(json!({"user": "ann"})).await, Backend::of_user(json!({"user": "bob"})).await);
    let running = one.asked_by(|_, _| {});
    assert_eq!(poll(running.address, "Cookie: sid=1").await.status, 200);
    let mut config = Config { auth: Some(auth(false)), ..Config::default() };
    config.server.hosts = ["a", "b", "x"].map(str::to_owned).to_vec();
    let url = format!("http://{}/who", other.address);
    config.auth.as_mut().unwrap().callout = Some(CallOut { url, ..CallOut::default() });
    running.broker.reload(config).await.unwrap();
    let client = Client::with_headers(running.address, Codec::Json, &[("cookie", "sid=1")]).await;
    assert_eq!((&client.welcome["user"], one.asked(), other.asked()), (&json!("bob"), 1, 1));
}

/// A Python program, ended when this is dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_example_works_with_the_backend_of_twenty_lines() {
    let backend = root().join("tests/authentication/backend.py");
    let lines = std::fs::read_to_string(&backend).unwrap().lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= 20, "{lines} lines");
    let mut python = Command::new("python3");
    let child = python.arg(backend).arg("0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("python3");
    let mut program = Program(child);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(program.0.stdout.take().unwrap()), &mut line).unwrap();
    let url = format!("http://127.0.0.1:{}/rialto", line.trim());
    let wanted = Config::load(&root().join("config/callout.toml")).unwrap();
    let running = Running::with(|config| {
        let mut auth = wanted.auth.unwrap();
        auth.callout.as_mut().unwrap().url = url;
        (config.auth, config.topics) = (Some(auth), wanted.topics);
    });
    let connect = async |cookie: &str| Client::with_headers(running.address, Codec::Json, &[("cookie", cookie)]).await;
    let (mut ann, mut bob) = (connect("sid=s-ann").await, connect("theme=dark; sid=s-bob").await);
    assert_eq!((&ann.welcome["user"], &bob.welcome["user"]), (&json!("ann"), &json!("bob")));
    ann.ok(json!({"type": "publish", "topic": "news", "data": 1})).await;
    bob.refused(json!({"type": "publish", "topic": "news", "data": 1}), "forbidden").await;
    bob.ok(json!({"type": "subscribe", "topic": "room.1"})).await;
    ann.refused(json!({"type": "subscribe", "topic": "room.1"}), "forbidden").await;
    bob.ok(json!({"type": "subscribe", "topic": "inbox.bob"})).await;
    ann.refused(json!({"type": "subscribe", "topic": "inbox.bob"}), "forbidden").await;
    let eve = http(running.address, &upgrade_request(running.address, &[("Cookie", "sid=s-eve")])).await;
    assert_eq!(eve.status, 401);
}
