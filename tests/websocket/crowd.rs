//! Connection and session limits: the response to refused clients, and that open sessions are not affected.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use rialto::Codec;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::raw::{FIN, masked, open_from};
use crate::support::{Client, Raw, Running, encode, eventually, http, http_over, upgrade_request, within};
use crate::websocket::witness::Witness;

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

/// The status of an upgrade from this address, and its Retry-After.
async fn status(running: &Running, source: Ipv4Addr) -> (u16, Option<u64>) {
    let stream = open_from(source, running.address).await;
    let answered = http_over(stream, &upgrade_request(running.address, &[])).await;
    let seconds = answered.header("retry-after").map(|seconds| seconds.parse().expect("whole seconds"));
    (answered.status, seconds)
}

#[tokio::test]
async fn connections_per_address_are_limited() {
    let running = Running::with(|config| config.limits.connections_per_address = 3);
    let mut there = Vec::new();
    for codec in [Codec::Json, Codec::MessagePack] {
        there.push(Raw::connect_from(address(2), running.address, codec).await);
    }
    // A connection that is not a session yet counts, too.
    let silent = open_from(address(2), running.address).await;
    eventually("it is counted", || running.broker.metrics().connections == 1).await;
    let (code, seconds) = status(&running, address(2)).await;
    assert!(code == 429 && seconds.is_some_and(|seconds| seconds > 0), "{code} {seconds:?}");
    assert_eq!(running.broker.metrics().connections_refused_total, 1);
    let _other = Raw::connect_from(address(3), running.address, Codec::Json).await;
    for _ in 0..5 {
        there.push(Raw::connect(running.address, Codec::Json).await);
    }
    drop(silent);
    let back = within("a place", async { while status(&running, address(2)).await.0 != 101 {} });
    back.await;
    there.swap_remove(0).reset();
    eventually("the slot is released with the session", || running.broker.metrics().sessions <= 7).await;
    within("a place", async { while status(&running, address(2)).await.0 != 101 {} }).await;
}

#[tokio::test]
async fn connections_over_the_limit_are_rejected_and_sessions_stay() {
    let running = Running::with(|config| {
        config.limits.connections = 50;
        config.limits.header_ms = 1_500;
    });
    let mut witness = Witness::new(&running).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(running.address).await.unwrap());
    }
    eventually("the limit is reached", || running.broker.metrics().connections == 50).await;
    let answered = http(running.address, &upgrade_request(running.address, &[])).await;
    assert_eq!((answered.status, answered.header("connection")), (503, Some("close")));
    assert!(answered.header("retry-after").is_some(), "{answered:?}");
    // Far more than are answered.
    for _ in 0..400 {
        silent.push(TcpStream::connect(running.address).await.unwrap());
    }
    eventually("all were counted", || running.broker.metrics().connections_refused_total == 401).await;
    assert!(running.broker.metrics().connections <= 50 + 128, "{:?}", running.broker.metrics());
    witness.is_well().await;
    for mut stream in silent {
        let mut rest = Vec::new();
        let _ = within("the end of a silent connection", stream.read_to_end(&mut rest)).await;
        assert!(!rest.starts_with(b"HTTP/1.1 101"));
    }
    eventually("no connection is left", || running.broker.metrics().connections == 0).await;
    running.client(Codec::Json).await.ping().await;
    witness.is_well().await;
}

#[tokio::test]
async fn a_flood_from_many_addresses_leaves_slots_for_others() {
    let running = Running::with(|config| {
        config.limits.connections = 4_000;
        config.limits.connections_per_address = 50;
        config.limits.header_ms = 60_000;
    });
    let mut witness = Witness::new(&running).await;
    let mut flood = Vec::new();
    for round in 0..100 {
        for last in 2..22 {
            flood.push(open_from(address(last), running.address).await);
        }
        if round % 10 == 0 {
            witness.is_well().await;
            running.client(Codec::MessagePack).await.ping().await;
        }
    }
    eventually("all 2,000 were counted", || {
        let counted = running.broker.metrics();
        counted.connections + counted.connections_refused_total >= 2_000
    })
    .await;
    assert!(running.broker.metrics().connections_refused_total > 0);
    drop(flood);
    eventually("no connection is left", || running.broker.metrics().connections == 0).await;
    witness.is_well().await;
}

#[tokio::test]
async fn sessions_per_user_are_limited_and_named_after_the_user() {
    let running = Running::with(|config| config.limits.sessions_per_user = 2);
    let enter = async |user: &str, codec| {
        let (near, far) = tokio::io::duplex(4_096);
        running.serve_as(user, far, codec);
        Client::over(near, codec).await
    };
    for codec in Codec::ALL {
        let first = enter("shylock", codec).await;
        let second = enter("shylock", codec).await;
        assert_eq!(first.welcome["user"], "shylock");
        // Requests of a refused session have no effect.
        let (mut near, far) = tokio::io::duplex(4_096);
        let publish = encode(codec, &json!({"type": "publish", "topic": "t", "data": 1}));
        let opcode = if codec == Codec::Json { 1 } else { 2 };
        near.write_all(&masked(FIN | opcode, &publish)).await.unwrap();
        running.serve_as("shylock", far, codec);
        let mut third = Client::over(near, codec).await;
        assert_eq!(third.closed().await, Some(4005));
        let closing = third.push().await;
        assert_eq!((&closing["type"], &closing["code"]), (&json!("closing"), &json!(4005)));
        assert!(closing["retry_after_ms"].is_u64(), "{closing}");
        assert_eq!(running.broker.metrics().messages_published_total, 0);
        let other = enter("antonio", codec).await;
        first.close().await;
        eventually("the session has ended", || running.broker.metrics().sessions == 2).await;
        let mut again = enter("shylock", codec).await;
        again.ping().await;
        for session in [second, other, again] {
            session.close().await;
        }
        running.becomes_empty().await;
    }
}

#[tokio::test]
async fn a_stream_of_an_embedder_over_the_session_limit_is_closed_with_1013() {
    let running = Running::with(|config| config.limits.sessions = 1);
    let (near, far) = tokio::io::duplex(4_096);
    running.serve(far, Codec::Json);
    let _there = Client::over(near, Codec::Json).await;
    let (near, far) = tokio::io::duplex(4_096);
    running.serve(far, Codec::Json);
    assert_eq!(Client::over(near, Codec::Json).await.closed().await, Some(1013));
    assert_eq!(status(&running, address(1)).await.0, 503);
}

#[tokio::test]
async fn the_rate_limit_for_new_sessions_spreads_a_reconnect_storm() {
    let running = Running::with(|config| config.limits.admissions_per_s = 10);
    let connect = |_| async {
        let mut waited = HashSet::new();
        loop {
            let stream = within("a connection", TcpStream::connect(running.address)).await.unwrap();
            let answered = http_over(stream, &upgrade_request(running.address, &[])).await;
            match answered.status {
                101 => return waited,
                503 => {
                    let seconds: u64 = answered.header("retry-after").expect("a hint").parse().expect("seconds");
                    waited.insert(seconds);
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                }
                other => panic!("{other}"),
            }
        }
    };
    let sessions = futures_util::future::join_all((0..60).map(connect)).await;
    let hints: HashSet<u64> = sessions.into_iter().flatten().collect();
    assert!(!hints.is_empty() && hints.iter().all(|hint| (1..=31).contains(hint)), "{hints:?}");
    eventually("all were opened", || running.broker.metrics().sessions_opened_total == 60).await;
    assert!(running.broker.metrics().connections_refused_total > 0);
}

#[tokio::test]
async fn a_refused_session_does_not_count() {
    let running = Running::with(|config| config.limits.connections_per_address = 2);
    for _ in 0..20 {
        let stream = open_from(address(2), running.address).await;
        let wrong = upgrade_request(running.address, &[("Sec-WebSocket-Key", "short")]);
        assert_eq!(http_over(stream, &wrong).await.status, 400);
    }
    eventually("all were closed", || running.broker.metrics().connections == 0).await;
    let mut raw = Raw::connect_from(address(2), running.address, Codec::Json).await;
    raw.request(&json!({"type": "ping", "id": 1})).await;
    assert_eq!(raw.frame_value().await["type"], Value::from("pong"));
}

#[tokio::test]
async fn a_reset_during_the_upgrade_releases_the_permit() {
    let running = Running::with(|config| config.limits.sessions = 50);
    let request = upgrade_request(running.address, &[]);
    for round in 0..3_000 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        // The reset meets the response at every moment.
        (0..round % 7).for_each(|_| std::thread::yield_now());
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(stream);
    }
    running.becomes_empty().await;
    eventually("all slots are released", || running.broker.metrics().connections == 0).await;
    let raw = Raw::connect(running.address, Codec::Json).await;
    drop(raw);
}
