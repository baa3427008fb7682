//! Gauges after every kind of disconnect: all resources of a client are released.

use rialto::Codec;
use serde_json::json;

use crate::support::raw::{FIN, masked, promise};
use crate::support::{Raw, Running, eventually};
use crate::websocket::witness::Witness;

async fn subscribed(running: &Running, codec: Codec) -> Raw {
    let mut raw = running.raw(codec).await;
    for (id, topic) in ["a", "b", "c"].iter().enumerate() {
        raw.request(&json!({"type": "subscribe", "topic": topic, "id": id + 1})).await;
        assert_eq!(raw.frame_value().await["type"], "ok");
    }
    raw
}

#[tokio::test]
async fn gauges_return_to_zero_after_every_kind_of_disconnect() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut closing = subscribed(&running, codec).await;
        let reset = subscribed(&running, codec).await;
        let mut reset_inside = subscribed(&running, codec).await;
        let mut finished = subscribed(&running, codec).await;
        let mut finished_inside = subscribed(&running, codec).await;
        let mut finished_in_fragments = subscribed(&running, codec).await;
        let dropped = subscribed(&running, codec).await;
        let counted = running.broker.metrics();
        assert_eq!((counted.sessions, counted.subscriptions), (7, 21));

        closing.send(&masked(FIN | 0x8, &1000_u16.to_be_bytes())).await;
        assert_eq!(closing.close_code().await, 1000);
        reset.reset();
        reset_inside.send(&promise(FIN | reset_inside.data_opcode(), 1_000)).await;
        reset_inside.reset();
        finished.finish().await;
        finished_inside.send(&promise(FIN | finished_inside.data_opcode(), 1_000)).await;
        finished_inside.finish().await;
        finished_in_fragments.send(&masked(finished_in_fragments.data_opcode(), b"x")).await;
        finished_in_fragments.finish().await;
        drop(dropped);
        running.becomes_empty().await;
    }
    assert_eq!(running.broker.metrics().sessions_opened_total, 14);
}

#[tokio::test]
async fn disconnects_during_the_upgrade_release_everything() {
    let running = Running::start();
    let mut witness = Witness::new(&running).await;
    let request = crate::support::upgrade_request(running.address, &[]);
    for length in [0, 1, 20, request.len() - 1, request.len()] {
        for reset in [true, false] {
            let mut stream = tokio::net::TcpStream::connect(running.address).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, &request.as_bytes()[..length]).await.unwrap();
            if reset {
                socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            }
            drop(stream);
            witness.is_well().await;
        }
    }
    witness.close().await;
    running.becomes_empty().await;
}

#[tokio::test]
async fn many_come_and_go_at_once() {
    let running = Running::start();
    for round in 0..5 {
        let mut there = Vec::new();
        for index in 0..40 {
            let raw = subscribed(&running, Codec::ALL[index % 2]).await;
            if (index + round) % 3 == 0 { raw.reset() } else { there.push(raw) }
        }
        drop(there);
    }
    running.becomes_empty().await;
    eventually("all were counted", || running.broker.metrics().sessions_opened_total == 200).await;
}
