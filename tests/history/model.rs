//! Recovery against a simple model: a list of messages of which the newest are kept. A session receives what the model
//! says, and a gap for the rest.

use proptest::prelude::*;
use rialto::{Codec, Payload};
use serde_json::json;

use super::{keeping, messages};
use crate::support::Running;

/// One step of the model.
#[derive(Clone, Debug)]
enum Step {
    Publish(u64),
    /// With this offset, of the epoch or of another one, and perhaps `last`.
    ComeBack {
        offset: u64,
        is_same: bool,
        last: Option<u64>,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let come_back = (0_u64..60, prop::bool::weighted(0.8), prop::option::of(0_u64..40));
    let step = prop_oneof![
        (1_u64..12).prop_map(Step::Publish),
        come_back.prop_map(|(offset, is_same, last)| Step::ComeBack { offset, is_same, last }),
    ];
    prop::collection::vec(step, 1..14)
}

async fn check(running: &Running, topic: &str, kept: u64, steps: Vec<Step>) {
    let mut head = 0;
    let mut epoch = String::new();
    for step in steps {
        match step {
            Step::Publish(count) => {
                for _ in 0..count {
                    head += 1;
                    let position = running.broker.publish(topic, Payload::json(&head).unwrap()).await.unwrap().unwrap();
                    assert_eq!(position.offset, head);
                    epoch = position.epoch.to_string();
                }
            }
            Step::ComeBack { offset, is_same, last } => {
                let mut client = running.client(Codec::ALL[usize::from(offset % 2 == 0)]).await;
                let given = if is_same { epoch.as_str() } else { "another" };
                let mut request =
                    json!({"type": "subscribe", "topic": topic, "since": {"epoch": given, "offset": offset}});
                if let Some(last) = last {
                    request["last"] = last.into();
                }
                let reply = client.ok(request.clone()).await;
                // The model.
                let knows = is_same && head > 0 && offset <= head;
                let first = head.saturating_sub(kept) + 1;
                let recovered = knows && offset + 1 >= first;
                let start = match last {
                    _ if recovered => offset,
                    Some(last) => head.saturating_sub(last.min(kept)),
                    None => head,
                };
                let mut expected: Vec<(u64, u64)> = Vec::new();
                if !recovered {
                    let from = if knows { offset + 1 } else { 1 };
                    expected.extend((from <= start).then_some((from, start)));
                }
                expected.extend((start + 1..=head).map(|offset| (offset, 0)));
                assert_eq!(reply["recovered"], json!(recovered), "{request} at {head}");
                let mut got = Vec::new();
                while got.len() <= expected.len() {
                    if got.len() == expected.len() {
                        // Nothing else is sent before live messages.
                        head += 1;
                        running.broker.publish(topic, Payload::json(&head).unwrap()).await.unwrap();
                    }
                    let push = client.push().await;
                    got.push(match &push["type"] {
                        kind if kind == "gap" => (push["from"].as_u64().unwrap(), push["to"].as_u64().unwrap()),
                        _ => {
                            assert_eq!(push["data"], push["offset"], "{push}");
                            (push["offset"].as_u64().unwrap(), 0)
                        }
                    });
                }
                expected.push((head, 0));
                assert_eq!(got, expected, "{request}");
                client.close().await;
            }
        }
    }
}

#[test]
fn recovery_matches_the_model() {
    const KEPT: u64 = 20;
    let running = keeping(messages(20));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let topics = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(mut steps in steps())| {
        topics.set(topics.get() + 1);
        // A topic without messages has no epoch yet.
        steps.insert(0, Step::Publish(1));
        runtime.block_on(check(&running, &format!("t{}", topics.get()), KEPT, steps));
    });
}
