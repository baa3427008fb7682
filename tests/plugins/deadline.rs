//! Time: a hook that loops costs its caller little, others nothing, and whoever comes while it is busy is told so.

use std::time::{Duration, Instant};

use rialto::Codec;
use serde_json::{Value, json};

use crate::plugins::hosted::{Hosted, call, publish};
use crate::support::{Client, eventually};

/// The promise of the issue: one error within this.
const PROMISED: Duration = Duration::from_millis(100);

/// The shortest of several times from request to error: a busy machine may delay some, but not all.
async fn fastest(client: &mut Client, requests: impl IntoIterator<Item = Value>) -> Duration {
    let mut best = Duration::MAX;
    for request in requests {
        let started = Instant::now();
        let error = client.refused(request, "plugin_failed").await;
        assert!(error["message"].as_str().unwrap().contains("within 50 ms"), "{error}");
        best = best.min(started.elapsed());
    }
    best
}

#[tokio::test]
async fn an_endless_loop_costs_its_caller_one_error_within_100_ms_and_others_nothing() {
    let hosted = Hosted::start();
    let mut client = hosted.client(Codec::Json).await;
    let mut other = hosted.client(Codec::MessagePack).await;
    other.subscribe("open").await;
    let (done, mut finished) = tokio::sync::oneshot::channel();
    let looping = async {
        let subscribe = |_| json!({"type": "subscribe", "topic": "hostile.l"});
        let taken = [
            ("publish", fastest(&mut client, (0..7).map(|_| publish('l'))).await),
            ("call", fastest(&mut client, (0..7).map(|_| call('l'))).await),
            ("subscribe", fastest(&mut client, (0..7).map(subscribe)).await),
        ];
        done.send(()).unwrap();
        taken
    };
    let round_trips = async {
        let mut times = Vec::new();
        while finished.try_recv().is_err() {
            let started = Instant::now();
            other.publish("open", json!(1)).await;
            other.message().await;
            times.push(started.elapsed());
        }
        times.sort();
        times
    };
    let (taken, times) = tokio::join!(looping, round_trips);
    for (what, taken) in taken {
        assert!(taken >= Duration::from_millis(50), "{what}: the hook had its time: {taken:?}");
        assert!(taken < PROMISED, "{what}: the caller waited {taken:?}");
    }
    let median = times[times.len() / 2];
    assert!(times.len() > 20 && median < Duration::from_millis(20), "{} round trips, median {median:?}", times.len());
}

#[tokio::test]
async fn a_shorter_deadline_is_kept_too() {
    let hosted = Hosted::with(|_, plugin| plugin.hook_ms = 10);
    let mut client = hosted.client(Codec::Json).await;
    for request in [publish('l'), call('l')] {
        let error = client.refused(request, "plugin_failed").await;
        assert!(error["message"].as_str().unwrap().contains("within 10 ms"), "{error}");
    }
}

#[tokio::test]
async fn who_comes_to_a_full_mailbox_is_told_busy_and_when_to_come_back() {
    let hosted = Hosted::with(|_, plugin| plugin.mailbox = 2);
    for codec in Codec::ALL {
        let (mut client, mut other) = (hosted.client(codec).await, hosted.client(codec).await);
        let before = hosted.broker.metrics().plugin_busy_total;
        let mut ids = Vec::new();
        for _ in 0..12 {
            ids.push(client.ask(publish('l')).await);
        }
        other.publish("open", json!(1)).await;
        let (mut busy, mut failed) = (0, 0);
        for id in ids {
            let reply = client.reply(id).await;
            match reply["code"].as_str() {
                Some("busy") => {
                    assert!(reply["retry_after_ms"].as_u64().unwrap() > 0, "{reply}");
                    busy += 1;
                }
                Some("plugin_failed") => failed += 1,
                _ => panic!("{reply}"),
            }
        }
        assert!(busy >= 1 && failed >= 1, "{busy} were turned away, {failed} were tried");
        assert_eq!(hosted.broker.metrics().plugin_busy_total - before, busy);
        client.publish("hostile.a", json!("good")).await;
    }
}

#[tokio::test]
async fn back_pressure_stops_reading_at_the_limit_of_requests_in_flight() {
    let hosted = Hosted::with(|config, _| config.limits.requests_in_flight = 1);
    let mut client = hosted.client(Codec::Json).await;
    let slow = [client.ask(publish('l')).await, client.ask(publish('l')).await];
    client.ping().await;
    let told = client.take_all();
    let ids: Vec<&Value> = told.iter().map(|reply| &reply["id"]).collect();
    assert_eq!(ids, slow.map(Value::from).iter().collect::<Vec<_>>(), "both were answered before the ping was read");
}

#[tokio::test]
async fn a_caller_that_leaves_in_the_middle_of_a_hook_changes_nothing_for_others() {
    let hosted = Hosted::start();
    for letter in ['l', 'y', 'e'] {
        let mut raw = hosted.raw(Codec::Json).await;
        raw.request(&publish(letter)).await;
        raw.reset();
    }
    let mut client = hosted.client(Codec::Json).await;
    client.publish("hostile.a", json!("good")).await;
    client.close().await;
    hosted.becomes_empty().await;
}

#[tokio::test]
async fn the_broker_stops_while_a_hook_loops() {
    let hosted = Hosted::start();
    let mut client = hosted.client(Codec::Json).await;
    client.ask(publish('l')).await;
    let hooks = || hosted.broker.metrics().plugin_hooks_total > 0;
    eventually("the hook runs", hooks).await;
    drop(hosted);
    assert_eq!(client.closed().await, Some(1001));
}
