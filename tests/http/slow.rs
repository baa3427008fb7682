//! Clients that do not read their stream: they are closed as slow consumers, and others are not affected.

use std::time::Duration;

use rialto::Codec;
use serde_json::json;

use crate::http::start_with;
use crate::support::events::Stream;
use crate::support::{eventually, within};

#[tokio::test]
async fn a_stream_that_is_not_read_is_closed_as_a_slow_consumer() {
    let (running, program) = start_with(|config| {
        config.limits.outbox_bytes = 65_536;
        config.limits.unsent_bytes = 4_096;
        config.limits.write_ms = 600_000;
        config.limits.ping_ms = 3_600_000;
    });
    let mut idle = Stream::open_narrow(running.address, "topic=a").await;
    let mut reader = Stream::open(running.address, "topic=a", None).await;
    let mut client = running.client(Codec::Json).await;
    client.subscribe("a").await;
    let text = "x".repeat(10_000);
    let mut offset = 0;
    while running.broker.metrics().sessions_slow_total == 0 {
        offset += 1;
        assert!(offset < 10_000, "the broker keeps everything");
        program.ok("publish", json!({"topic": "a", "data": text})).await;
        assert_eq!(reader.message().await.data["offset"], offset);
        assert_eq!(client.message().await["offset"], offset);
    }
    eventually("its session has ended", || running.broker.metrics().sessions == 2).await;
    // It can still read what was sent; then `closing` and the end of the stream, if it reads in time for that.
    idle.may_be_cut = true;
    let (mut last, mut closing) = (0, None);
    while let Some(event) = idle.next().await {
        match &*event.name {
            "message" => {
                last += 1;
                assert_eq!(event.data["offset"], last);
                assert_eq!(closing, None);
            }
            "closing" => closing = Some(event.data["code"].clone()),
            _ => {}
        }
    }
    assert!(last < offset);
    assert!(closing.is_none_or(|code| code == 4000));
}

#[tokio::test]
async fn a_connection_without_any_write_progress_times_out() {
    let (running, program) = start_with(|config| {
        config.limits.write_ms = 300;
        config.limits.unsent_bytes = 4_096;
        config.limits.ping_ms = 3_600_000;
    });
    let _idle = Stream::open_narrow(running.address, "topic=a&delivery=latest").await;
    let text = "x".repeat(60_000);
    let publish = async {
        while running.broker.metrics().sessions > 0 {
            program.ok("publish", json!({"topic": "a", "data": text})).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within("the end", publish).await;
    within("the end", running.becomes_empty()).await;
}
