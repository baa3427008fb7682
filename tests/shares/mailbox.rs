//! A plugin's mailbox: sessions take turns, and one that fills it leaves room.

use rialto::Codec;
use serde_json::json;

use crate::plugins::hosted::{Hosted, publish};

#[tokio::test]
async fn a_session_that_keeps_a_plugin_busy_does_not_keep_others_out() {
    let hosted = Hosted::with(|config, plugin| {
        plugin.mailbox = 32;
        config.limits.requests_in_flight = 1_000;
    });
    let (mut greedy, mut neighbour) = (hosted.client(Codec::Json).await, hosted.client(Codec::Json).await);
    let mut asked = Vec::new();
    // The first takes its time.
    asked.push(greedy.ask(publish('l')).await);
    for _ in 0..200 {
        asked.push(greedy.ask(json!({"type": "publish", "topic": "hostile.a", "data": "good"})).await);
    }
    for _ in 0..3 {
        neighbour.ok(json!({"type": "publish", "topic": "hostile.b", "data": "good"})).await;
    }
    let mut busy = 0;
    for id in asked {
        busy += usize::from(greedy.reply(id).await["code"] == "busy");
    }
    assert!(busy >= 100, "{busy} of those that filled the mailbox were turned away");
}
