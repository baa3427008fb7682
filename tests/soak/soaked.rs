//! A broker in this process, to be soaked, and what it must have given back when everybody has left.

use std::time::{Duration, Instant};

use rialto::config::{Config, PluginConfig, TopicRule};
use rialto::topic::Pattern;
use rialto_comparison::holding::Holding;
use rialto_comparison::soak::{self, Sample, Soak, Toll};

use crate::support::{DEADLINE, Running, root};

/// Memory may be more than before by a tenth, because an allocator keeps what is scattered…
const GROWTH: f64 = 1.1;
/// … and by this, which is nothing that grows.
const GROWTH_BYTES: f64 = 8.0 * 1_048_576.0;
const LOOK: Duration = Duration::from_millis(20);

/// The broker.
pub(crate) struct Soaked {
    running: Running,
    /// Files that are open when nobody has come yet.
    descriptors: usize,
}

impl Soaked {
    /// Starts one whose topics `chat.*` belong to the chat plugin and whose topics are soon forgotten.
    pub(crate) fn start() -> Self {
        let running = Running::with(|config| {
            config.limits.topic_idle_ms = 500;
            add_chat(config);
        });
        Self { running, descriptors: holding().descriptors }
    }

    /// Lets sessions come and go for so long, then waits until nothing of them is left; tells what this process holds
    /// then, which is no file more than when nobody had come yet.
    pub(crate) fn soak(&self, time: Duration, every: Duration, tell: &mut dyn FnMut(&Sample)) -> (Toll, Holding) {
        let soak = Soak { address: self.running.address, time, every };
        let toll = soak.run(tell).unwrap_or_else(|error| panic!("{error}"));
        self.is_as_if_nobody_had_come();
        (toll, holding())
    }

    /// All that the broker counts and that goes up and down is down, and so are the members of the chat rooms.
    fn is_as_if_nobody_had_come(&self) {
        let address = self.running.address;
        becomes("members of the chat rooms", &0, || soak::members(address).unwrap_or_else(|error| panic!("{error}")));
        becomes("sessions, subscriptions, bytes in outboxes, topics", &[0; 4], || {
            let counted = self.running.broker.metrics();
            [counted.sessions, counted.subscriptions, counted.outbox_bytes, counted.topics]
        });
        assert_eq!(self.running.broker.metrics().plugin_failures_total, 0);
        becomes("open files", &self.descriptors, || holding().descriptors);
    }

    /// Sessions that were closed because they did not read fast enough.
    pub(crate) fn slow(&self) -> u64 {
        self.running.broker.metrics().sessions_slow_total
    }
}

/// Memory is as it was but for what allocators do.
pub(crate) fn is_given_back(before: Holding, after: Holding) {
    let (was, is) = (before.resident_bytes as f64, after.resident_bytes as f64);
    assert!(is <= GROWTH * was + GROWTH_BYTES, "{is:.0} bytes are resident where {was:.0} were");
}

/// Waits until something is as it must be.
fn becomes<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, now: impl Fn() -> T) {
    let begun = Instant::now();
    loop {
        let is = now();
        if is == *expected {
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "{what}: still {is:?} instead of {expected:?} after {DEADLINE:?}");
        std::thread::sleep(LOOK);
    }
}

fn holding() -> Holding {
    Holding::of(std::process::id()).expect("this process runs")
}

fn add_chat(config: &mut Config) {
    let path = root().join("plugins/dist/chat.wasm");
    config.plugins.insert("chat".to_owned(), PluginConfig { path, ..PluginConfig::default() });
    let pattern = Pattern::parse("chat.*").expect("a pattern");
    config.topics.insert(0, TopicRule { pattern, plugin: Some("chat".to_owned()), ..TopicRule::default() });
}
