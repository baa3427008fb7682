//! Encrypted bytes that the socket has not taken yet: all of them are flushed, and they do not keep a slow consumer alive.

use std::time::{Duration, Instant};

use rialto::{Codec, Payload};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::raw::masked;
use crate::support::tls::{Certificate, Files, Hello};
use crate::support::{Client, Running, encode, eventually, upgrade_request, within};
use crate::websocket::witness::Witness;

const URL: &str = "wss://localhost/ws";

fn running(change: impl FnOnce(&mut rialto::config::Config)) -> (Files, Running) {
    let files = Files::with(&Certificate::good());
    let running = Running::with(|config| {
        config.tls = Some(files.settings());
        // No ping may flush what was left.
        config.limits.ping_ms = 600_000;
        change(config);
    });
    (files, running)
}

async fn narrow(running: &Running, receive_bytes: u32) -> TlsStream<TcpStream> {
    let hello = Hello { receive_bytes: Some(receive_bytes), ..Hello::default() };
    hello.connect(running.tls_address.unwrap()).await.unwrap()
}

/// A session that has sent a subscribe; replies are not read.
async fn subscribed(running: &Running, receive_bytes: u32) -> TlsStream<TcpStream> {
    let mut stream = narrow(running, receive_bytes).await;
    let request = encode(Codec::Json, &json!({"type": "subscribe", "topic": "t", "id": 1}));
    stream.write_all(upgrade_request(running.address, &[]).as_bytes()).await.unwrap();
    stream.write_all(&masked(0x81, &request)).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|four| four == b"\"ok\"") {
        assert!(within("the answer", stream.read_buf(&mut answer)).await.unwrap() > 0);
    }
    stream
}

async fn publish(running: &Running, messages: usize, bytes: usize) {
    for index in 0..messages {
        let data = json!([index, "x".repeat(bytes)]);
        running.broker.publish("t", Payload::json(&data).unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn four_mebibytes_reach_a_slow_reader_without_a_further_send() {
    let (_files, running) = running(|config| config.limits.outbox_bytes = 8 << 20);
    let mut readers = Vec::new();
    for codec in Codec::ALL {
        let mut reader = Client::upgraded(narrow(&running, 1).await, URL, codec).await;
        reader.subscribe("t").await;
        readers.push(reader);
    }
    publish(&running, 70, 60_000).await;
    let waits = || running.broker.metrics().outbox_bytes;
    eventually("nearly all of both backlogs is queued", || waits() > 7 << 20).await;
    for reader in &mut readers {
        for index in 0..70 {
            let message = reader.message().await;
            assert_eq!((&message["offset"], &message["data"][0]), (&json!(index + 1), &json!(index)));
            assert_eq!(message["data"][1].as_str().map(str::len), Some(60_000));
        }
    }
    eventually("nothing is queued", || waits() == 0).await;
    for reader in readers {
        reader.close().await;
    }
    running.becomes_empty().await;
}

#[tokio::test]
async fn the_last_bytes_of_a_message_are_flushed() {
    // Around the sizes of a record and of what is encrypted ahead, where a rest could be left.
    let (_files, running) = running(|config| config.limits.unsent_bytes = 4_096);
    for bytes in [16_000, 16_300, 16_384, 32_768, 65_400, 65_536, 65_600, 131_072, 200_000] {
        let mut reader = subscribed(&running, 1).await;
        publish(&running, 1, bytes).await;
        let mut got = Vec::new();
        let end = format!("{}\"]}}", "x".repeat(20));
        // Step by step, so that the socket is full at every position.
        while !got.ends_with(end.as_bytes()) {
            let mut some = [0; 1_000];
            let count = within("more", reader.read(&mut some)).await.unwrap();
            assert!(count > 0, "closed after {} of {bytes}", got.len());
            got.extend_from_slice(&some[..count]);
        }
        assert!(got.len() > bytes && got.len() < bytes + 200, "{} of {bytes}", got.len());
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_a_slow_one_is_not() {
    let (_files, running) = running(|config| {
        config.limits.write_ms = 1_000;
        config.limits.unsent_bytes = 4_096;
    });
    let mut witness = Witness::new(&running).await;
    let mut slow = subscribed(&running, 16_384).await;
    let stalled = subscribed(&running, 16_384).await;
    assert_eq!(running.broker.metrics().sessions, 4);
    publish(&running, 3, 60_000).await;
    let (mut got, mut gone_after) = (0, None);
    let began = Instant::now();
    // What is encrypted at once takes longer to read than the write timeout.
    while got < 180_000 {
        let mut some = [0; 2_048];
        let count = within("more", slow.read(&mut some)).await.expect("a client that reads stays");
        assert!(count > 0, "closed after {got}");
        got += count;
        if gone_after.is_none() && running.broker.metrics().sessions == 3 {
            gone_after = Some(began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(gone_after.is_some_and(|after| after > Duration::from_millis(900)), "{gone_after:?}");
    assert!(began.elapsed() > Duration::from_millis(3_000), "it was slow: {:?}", began.elapsed());
    assert_eq!(running.broker.metrics().sessions, 3);
    witness.is_well().await;
    drop((slow, stalled));
    witness.close().await;
    running.becomes_empty().await;
    assert_eq!(running.broker.metrics().outbox_bytes, 0);
}

#[tokio::test]
async fn delivery_policies_apply_over_tls_too() {
    let (_files, running) = running(|config| config.limits.outbox_bytes = 100_000);
    let mut reader = Client::upgraded(narrow(&running, 1).await, URL, Codec::MessagePack).await;
    reader.ok(json!({"type": "subscribe", "topic": "t", "delivery": "latest"})).await;
    publish(&running, 400, 10_000).await;
    let (mut last, mut skipped) = (0, 0);
    while last < 400 {
        let push = reader.push().await;
        match push["type"].as_str() {
            Some("message") => {
                assert_eq!(push["offset"].as_u64(), Some(last + 1));
                last += 1;
            }
            Some("gap") => {
                assert_eq!(push["from"].as_u64(), Some(last + 1));
                let to = push["to"].as_u64().unwrap();
                skipped += to - last;
                last = to;
            }
            _ => panic!("{push}"),
        }
    }
    assert!(skipped > 200, "{skipped}");
    reader.close().await;
    running.becomes_empty().await;
}
