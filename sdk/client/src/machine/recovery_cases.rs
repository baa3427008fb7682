//! Runs the recovery cases that every client must pass: `sdk/protocol/cases/recovery.json` says what is in them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rialto_protocol::{Operation, Subscribe};
use serde_json::{Value, json};

use super::simulation::{Simulation, settings};
use super::*;
use crate::topic::Topic;

/// What this client asks for to get all that a topic keeps.
const ALL: u64 = u32::MAX as u64;

/// One case: the client, and the subscribe frames that are not answered yet, with their ids and topics.
struct Case<'n> {
    name: &'n str,
    simulation: Simulation,
    pending: Vec<(u64, Vec<String>)>,
}

impl<'n> Case<'n> {
    fn run(name: &'n str, steps: &[Value]) {
        let mut case = Self { name, simulation: Simulation::open(settings()), pending: Vec::new() };
        for step in steps {
            let (kind, value) = step.as_object().unwrap().iter().next().unwrap();
            match kind.as_str() {
                "subscribe" => case.subscribe(value.as_array().unwrap()),
                "requests" => case.requests(value.as_array().unwrap()),
                "accept" => case.accept(value),
                "receive" => case.simulation.hear_text(&value.to_string()),
                "cut" => case.cut(),
                "reports" => assert_eq!(json!(case.reports()), *value, "{name}"),
                other => panic!("no such step: {other}"),
            }
        }
    }

    fn subscribe(&mut self, topics: &[Value]) {
        let topics = topics.iter().map(|topic| {
            let wanted = Topic::new(topic["topic"].as_str().unwrap());
            topic["last"].as_u64().map_or(wanted.clone(), |last| wanted.last(last))
        });
        self.simulation.subscribe(1, topics);
    }

    fn requests(&mut self, expected: &[Value]) {
        let (mut requests, mut pending) = (Vec::new(), Vec::new());
        for request in self.simulation.sent() {
            if let Operation::Subscribe(topics) = &request.operation {
                pending.push((request.id.unwrap(), topics.iter().map(|topic| topic.topic.to_string()).collect()));
                requests.extend(topics.iter().map(described));
            }
        }
        self.pending = pending;
        assert_eq!(json!(requests), json!(expected), "{}", self.name);
    }

    fn accept(&mut self, outcomes: &Value) {
        for (id, topics) in std::mem::take(&mut self.pending) {
            let mut items: Vec<Value> =
                topics.iter().map(|topic| merged(&json!({ "topic": topic }), &outcomes[topic])).collect();
            let frame = if items.len() > 1 {
                json!({ "type": "ok", "id": id, "topics": items })
            } else if let Some(error) = items[0].get("error") {
                merged(&json!({ "type": "error", "id": id }), error)
            } else {
                merged(&json!({ "type": "ok", "id": id }), &items.remove(0))
            };
            self.simulation.hear_text(&frame.to_string());
        }
    }

    fn cut(&mut self) {
        self.simulation.closed(None);
        self.simulation.wait();
        self.simulation.begin();
    }

    fn reports(&self) -> Vec<String> {
        let reports = self.simulation.items().into_iter().map(|item| match item {
            Item::Message(message) => format!("message {} {}", message.topic, message.offset),
            Item::Gap(gap) => {
                format!("gap {} {}-{} {}", gap.topic, gap.from, gap.to, format!("{:?}", gap.reason).to_lowercase())
            }
            Item::Resumed(resumed) => {
                let position = resumed.position.as_ref().unwrap();
                format!("resumed {} {} {} {}", resumed.topic, resumed.recovered, position.epoch, position.offset)
            }
            Item::Join { topic, member } => format!("join {topic} {}", member.session),
            Item::Leave { topic, member } => format!("leave {topic} {}", member.session),
            Item::Presence { topic, present } => format!("presence {topic} {}", present.count),
            Item::Ended { topic, failure } => format!("ended {topic} {}", failure.code),
        });
        reports.collect()
    }
}

/// A subscription that was asked for, as the cases write it.
fn described(subscribe: &Subscribe<'_>) -> Value {
    let mut request = json!({ "topic": subscribe.topic });
    if let Some(since) = &subscribe.since {
        request["since"] = json!({ "epoch": &*since.epoch, "offset": since.offset });
    }
    if let Some(last) = subscribe.last {
        request["last"] = if last == ALL { json!("all") } else { json!(last) };
    }
    request
}

/// The fields of both; those of the second count.
fn merged(first: &Value, second: &Value) -> Value {
    let fields = first.as_object().unwrap().iter().chain(second.as_object().unwrap());
    Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect())
}

#[test]
fn every_recovery_case_passes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/cases/recovery.json");
    let table: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = table["cases"].as_array().unwrap();
    assert!(cases.len() >= 14, "{}", cases.len());
    for case in cases {
        Case::run(case["name"].as_str().unwrap(), case["steps"].as_array().unwrap());
    }
}
