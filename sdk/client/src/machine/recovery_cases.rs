//! Runs the cases that every client must pass: `sdk/protocol/cases/recovery.json`, `close_codes.json` and `rates.json` there
//! say what is in them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rialto_protocol::{Frame, Gap, Operation, Payload, Position, Publish, Published, Subscribe};
use serde_json::{Value, json};

use super::simulation::{Simulation, settings};
use super::*;
use crate::topic::Topic;

/// What this client asks for to get all that a topic keeps.
const ALL: u64 = u32::MAX as u64;

/// One case: the client, the subscribe frames that are not answered yet, with their ids and topics, and the last publish.
struct Case<'n> {
    name: &'n str,
    simulation: Simulation,
    pending: Vec<(u64, Vec<String>)>,
    published: Option<u64>,
    streams: u64,
}

impl<'n> Case<'n> {
    fn run(name: &'n str, steps: &[Value]) {
        let simulation = Simulation::open(settings());
        let mut case = Self { name, simulation, pending: Vec::new(), published: None, streams: 0 };
        for step in steps {
            let (kind, value) = step.as_object().unwrap().iter().next().unwrap();
            match kind.as_str() {
                "subscribe" => case.subscribe(value.as_array().unwrap()),
                "requests" => case.requests(value.as_array().unwrap()),
                "accept" => case.accept(value),
                "refuse" => case.refuse(value),
                "receive" => case.simulation.hear_text(&value.to_string()),
                "flood" => case.flood(value),
                "publish" => case.publish(value.as_str().unwrap()),
                "published" => case.publish_answered(value),
                "cut" => case.cut(),
                "wait_ms" => case.wait(value.as_u64().unwrap()),
                "reports" => assert_eq!(json!(case.reports()), *value, "{name}"),
                "report_count" => assert_eq!(json!(case.reports().len()), *value, "{name}"),
                "events" => assert_eq!(json!(case.events()), *value, "{name}"),
                other => panic!("no such step: {other}"),
            }
        }
    }

    fn subscribe(&mut self, topics: &[Value]) {
        let topics = topics.iter().map(|topic| {
            let wanted = Topic::new(topic["topic"].as_str().unwrap());
            topic["last"].as_u64().map_or(wanted.clone(), |last| wanted.last(last))
        });
        self.streams += 1;
        self.simulation.subscribe(self.streams, topics);
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

    fn refuse(&mut self, error: &Value) {
        for (id, _) in std::mem::take(&mut self.pending) {
            self.simulation.hear_text(&merged(&json!({ "type": "error", "id": id }), error).to_string());
        }
    }

    fn flood(&mut self, messages: &Value) {
        let offsets = messages["from"].as_u64().unwrap()..=messages["to"].as_u64().unwrap();
        for offset in offsets {
            let (topic, payload) = (messages["topic"].as_str().unwrap(), Payload::json(&offset).unwrap());
            self.simulation.hear(&Frame::Message { topic, offset, time: 0, from: None, payload: &payload });
        }
    }

    fn publish(&mut self, topic: &str) {
        let payload = Payload::json(&0).unwrap();
        let publish = Publish { topic: topic.to_owned().into(), payload, key: Some("k".into()), echo: false };
        let (operation, within) = (Operation::Publish(publish), Duration::from_secs(30));
        let request = NewRequest { ticket: 1_000, operation, within, retry: Retry::Allowed };
        self.simulation.machine.ask(self.simulation.now(), request);
        self.simulation.collect();
        self.published = self.simulation.sent()[0].id;
    }

    fn publish_answered(&mut self, position: &Value) {
        let (epoch, offset) = (position["epoch"].as_str().unwrap().into(), position["offset"].as_u64().unwrap());
        let published = Published { position: Some(Position { epoch, offset }), duplicate: false };
        let reply = rialto_protocol::Reply::Published(published);
        self.simulation.hear(&Frame::Ok { id: self.published.unwrap(), reply: &reply });
    }

    fn wait(&mut self, ms: u64) {
        self.simulation.ms += ms;
        self.simulation.tick();
    }

    fn cut(&mut self) {
        self.simulation.closed(None);
        self.simulation.wait();
        self.simulation.begin();
    }

    /// What the client as a whole reported, without what concerns the connection.
    fn events(&self) -> Vec<String> {
        let events = self.simulation.actions.iter().filter_map(|action| match action {
            Action::Emit(Event::Gap(gap)) => Some(described_gap(gap)),
            Action::Emit(Event::Pushed { kind, .. }) => Some(format!("pushed {kind}")),
            _ => None,
        });
        events.collect()
    }

    fn reports(&self) -> Vec<String> {
        let reports = self.simulation.items().into_iter().map(|item| match item {
            Item::Message(message) => format!("message {} {}", message.topic, message.offset),
            Item::Gap(gap) => described_gap(gap),
            Item::Resumed(resumed) => {
                let position = resumed.position.as_ref();
                let position = position.map_or(String::new(), |at| format!(" {} {}", at.epoch, at.offset));
                format!("resumed {} {}{position}", resumed.topic, resumed.recovered)
            }
            Item::Join { topic, member } => format!("join {topic} {}", member.session),
            Item::Leave { topic, member } => format!("leave {topic} {}", member.session),
            Item::Presence { topic, present } => format!("presence {topic} {}", present.count),
            Item::Removed { topic, offset } => format!("removed {topic} {offset}"),
            Item::Ended { topic, failure } => format!("ended {topic} {}", failure.code),
        });
        reports.collect()
    }
}

fn described_gap(gap: &Gap) -> String {
    format!("gap {} {}-{} {}", gap.topic, gap.from, gap.to, gap.reason.as_str())
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

/// A file of `sdk/protocol/cases`.
fn table(name: &str) -> Value {
    let path = format!("{}/../protocol/cases/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn every_recovery_case_passes() {
    let table = table("recovery.json");
    let cases = table["cases"].as_array().unwrap();
    assert!(cases.len() >= 39, "{}", cases.len());
    for case in cases {
        Case::run(case["name"].as_str().unwrap(), case["steps"].as_array().unwrap());
    }
}

#[test]
fn every_close_code_means_what_the_table_says() {
    let table = table("close_codes.json");
    let codes = table["codes"].as_array().unwrap();
    assert!(codes.len() >= 26, "{}", codes.len());
    for row in codes {
        let code = u16::try_from(row["code"].as_u64().unwrap()).unwrap();
        let mut simulation = Simulation::open(settings());
        simulation.closed(Some(code));
        assert_eq!(json!(simulation.machine.ending().is_none()), row["reconnect"], "{code}");
    }
}

#[test]
fn every_rate_that_the_broker_says_is_shown() {
    let table = table("rates.json");
    let cases = table["cases"].as_array().unwrap();
    assert!(cases.len() >= 6, "{}", cases.len());
    for case in cases {
        let mut simulation = Simulation::new(Settings { sign_in: SignIn::Connect, ..settings() }, 1);
        simulation.token("token");
        simulation.machine.opened(simulation.now());
        let mut limits = json!({"message_bytes": 65_536, "subscriptions": 1_000, "outbox_bytes": 1_048_576});
        let mut connected = json!({"type": "ok", "user": "ann"});
        for (frame, rates) in [(&mut limits, &case["welcome"]), (&mut connected, &case["connected"])] {
            if !rates.is_null() {
                frame["rates"] = rates.clone();
            }
        }
        let welcome = json!({"type": "welcome", "session": "s", "user": null, "ping_ms": 25_000, "limits": limits});
        simulation.hear_text(&welcome.to_string());
        connected["id"] = simulation.sent()[0].id.unwrap().into();
        simulation.hear_text(&connected.to_string());
        let shown = simulation.actions.iter().find_map(|action| match action {
            Action::Emit(Event::Connected(session)) => Some(session.limits.rates),
            _ => None,
        });
        let RequestRates { publishes, bytes, subscribes, calls } = shown.unwrap();
        let shown = [("publishes", publishes), ("bytes", bytes), ("subscribes", subscribes), ("calls", calls)];
        let shown = shown.into_iter().filter_map(|(name, rate)| Some((name.to_owned(), json!(rate?))));
        let shown: serde_json::Map<String, Value> = shown.collect();
        let expected = case["shown"].as_object().cloned().unwrap_or_default();
        assert_eq!(shown, expected, "{}", case["name"]);
    }
}
