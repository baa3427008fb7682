//! What a subscriber by pattern costs that may see half of the topics that it selects, compared with one that may see all
//! of them: as many messages are published, and as many are delivered. Rounds of both alternate, pair by pair.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rialto::config::{Auth, Config, Permission, TopicRule};
use rialto::topic::Pattern;
use rialto::{Broker, Codec, ConnectionInfo, Identity};
use rialto_comparison::pairs::median_interval;
use rialto_load::statistics::median;
use rialto_load::table::{Side, Table};
use serde_json::json;

use super::{Client, put, serve, shards_time, text};

const TOPICS: usize = 10_000;
/// How often a round publishes to each topic.
const TURNS: usize = 20;
const PAIRS: usize = 21;
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The most that a message may cost to the one, compared with the other.
pub(super) const RATIO_MAX: f64 = 1.1;

/// The pattern of both, and the role that both have.
const PATTERN: &str = "a.*.*";
const ROLE: &str = "viewer";

/// A broker with one subscriber, to whom half of what is published is delivered.
struct Watched {
    broker: Broker,
    requests: Arc<Vec<u8>>,
    /// Microseconds of the shard for each delivery, round by round.
    costs: Vec<f64>,
}

impl Watched {
    /// `rules` are patterns and who may subscribe; half of the topics begin with each of `beginnings`.
    fn new(rules: &[(&str, &str)], beginnings: [&str; 2]) -> Self {
        let mut config = Config::default();
        config.server.shards = 1;
        config.limits.topics = 2 * TOPICS;
        config.limits.inbox_messages = 1 << 20;
        config.limits.outbox_bytes = 64 << 20;
        config.limits.ping_ms = 3_600_000;
        config.limits.topic_idle_ms = 3_600_000;
        config.auth = Some(Auth { anonymous: true, ..Auth::default() });
        let rule = |(pattern, subscribe): &(&str, &str)| TopicRule {
            pattern: Pattern::parse(pattern).unwrap(),
            subscribe: Some(Permission::parse([*subscribe]).unwrap()),
            publish: Some(Permission::parse(["anyone"]).unwrap()),
            history: None,
            ..TopicRule::default()
        };
        config.topics = rules.iter().map(rule).collect();
        let broker = Broker::builder().config(config).start().unwrap();
        let viewer = Identity::user("ann").role(ROLE);
        let client = Client::subscribed(&[PATTERN.to_owned()]);
        broker.serve_websocket(client, viewer, ConnectionInfo::new(Codec::Json));
        let started = Instant::now();
        while broker.metrics().subscriptions < 1 {
            assert!(started.elapsed() < WAIT_MAX, "{:?}", broker.metrics());
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut requests = Vec::new();
        for (id, number) in (1..).zip(order()) {
            let topic = format!("{}.{}", beginnings[number % 2], number / 2);
            put(&mut requests, &json!({"type": "publish", "id": id, "topic": topic, "data": text()}));
        }
        let mut watched = Self { broker, requests: Arc::new(requests), costs: Vec::new() };
        // Loads all topics, and the patterns that select them.
        watched.round();
        watched.costs.clear();
        watched
    }

    /// Publishes to all topics and waits until everything was handled.
    fn round(&mut self) {
        let (before, used) = (self.broker.metrics(), shards_time());
        let published = before.messages_published_total + (TURNS * TOPICS) as u64;
        let delivered = before.messages_delivered_total + (TURNS * TOPICS / 2) as u64;
        serve(&self.broker, Client { requests: Arc::clone(&self.requests), sent: 0 });
        let started = Instant::now();
        loop {
            let now = self.broker.metrics();
            if now.messages_published_total >= published && now.messages_delivered_total >= delivered {
                assert_eq!(now.messages_delivered_total, delivered, "exactly half is delivered");
                break;
            }
            assert!(started.elapsed() < WAIT_MAX, "{now:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        self.costs.push((shards_time() - used).as_secs_f64() * 1e6 / (TURNS * TOPICS / 2) as f64);
    }
}

/// The topics by number in the order of publishing: each so many times, shuffled.
fn order() -> Vec<usize> {
    let mut order: Vec<usize> = (0..TURNS * TOPICS).map(|place| place % TOPICS).collect();
    let mut seed = 1_u64;
    for place in (1..order.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(place, (seed >> 33) as usize % (place + 1));
    }
    order
}

/// Measures both in pairs, whose order changes, and prints them. Returns the median of the ratios.
pub(super) fn compare() -> f64 {
    let (permitted, other) = (format!("role:{ROLE}"), "role:other");
    // Both have three rules, and as many topics that the subscriber is not sent.
    let all = [("a.open.*", "anyone"), ("a.shut.*", "anyone"), ("b.open.*", "anyone")];
    let half = [("a.open.*", &*permitted), ("a.shut.*", other), ("b.open.*", other)];
    let mut all = Watched::new(&all, ["a.open", "b.open"]);
    let mut half = Watched::new(&half, ["a.open", "a.shut"]);
    for pair in 0..PAIRS {
        let [first, second] = if pair % 2 == 0 { [&mut all, &mut half] } else { [&mut half, &mut all] };
        first.round();
        second.round();
    }
    let ratios: Vec<f64> = half.costs.iter().zip(&all.costs).map(|(half, all)| half / all).collect();
    let ratio = median(&ratios).unwrap();
    let interval = median_interval(&ratios).unwrap();
    let columns = [
        ("a subscriber by pattern that may see", Side::Left),
        ("CPU µs/delivery", Side::Right),
        ("ratio", Side::Right),
        ("95 % interval", Side::Right),
    ];
    let mut table = Table::new(&columns);
    let cost = |watched: &Watched| format!("{:.3}", median(&watched.costs).unwrap());
    table.push(vec!["all topics that it selects".to_owned(), cost(&all), String::new(), String::new()]);
    let spread = format!("{:.3} … {:.3}", interval.low, interval.high);
    table.push(vec!["half of them".to_owned(), cost(&half), format!("{ratio:.3}"), spread]);
    let publishes = TURNS * TOPICS;
    println!("\n{TOPICS} topics, {publishes} publishes a round, half of them delivered; {PAIRS} pairs of rounds");
    println!("{}", table.text(60));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for watched in [&all, &half] {
        runtime.block_on(watched.broker.shutdown(Duration::ZERO));
    }
    ratio
}
