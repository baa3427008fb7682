//! What the clients of a reconnect storm went through, in numbers.

use std::collections::BTreeMap;
use std::time::Instant;

use rialto_checker::Event;

/// When a member was back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Return {
    /// Its subscriptions were answered.
    pub(crate) back: Instant,
    /// It had all that there was when they were.
    pub(crate) caught_up: Instant,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) log: Vec<Event>,
    pub(crate) killed: Instant,
    /// The next broker listens.
    pub(crate) listens: Instant,
    pub(crate) returns: Vec<Return>,
    /// Attempts that the broker turned away, by status.
    pub(crate) turned_away: BTreeMap<u16, u64>,
    /// Attempts that found nobody.
    pub(crate) nobody: u64,
    /// Resident before the kill.
    pub(crate) before_bytes: u64,
    /// The most that was resident after it.
    pub(crate) peak_bytes: u64,
}

impl Told {
    /// Milliseconds from when the broker listened again until members were back: the median, the 99th of a hundred, the last.
    pub(crate) fn back_ms(&self) -> (u64, u64, u64) {
        self.spread(|one| one.back)
    }

    /// The same until they had everything.
    pub(crate) fn caught_up_ms(&self) -> (u64, u64, u64) {
        self.spread(|one| one.caught_up)
    }

    /// All figures, a line each.
    pub(crate) fn text(&self) -> String {
        let spread = |(middle, most, last): (u64, u64, u64)| format!("p50 {middle} ms, p99 {most} ms, last {last} ms");
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / 1_048_576.0);
        let away = (self.listens - self.killed).as_millis();
        let mut text = format!("{} came back; the broker was away for {away} ms\n", self.returns.len());
        text += &format!("subscribed again after it listened:  {}\n", spread(self.back_ms()));
        text += &format!("caught up after it listened:         {}\n", spread(self.caught_up_ms()));
        text +=
            &format!("resident before the kill {}, peak after it {}\n", mib(self.before_bytes), mib(self.peak_bytes));
        let turned_away: Vec<String> =
            self.turned_away.iter().map(|(status, count)| format!("{count} with {status}")).collect();
        let turned_away = if turned_away.is_empty() { "none".to_owned() } else { turned_away.join(", ") };
        text + &format!("attempts turned away: {turned_away}; {} found nobody\n", self.nobody)
    }

    fn spread(&self, when: impl Fn(&Return) -> Instant) -> (u64, u64, u64) {
        let since = |one: &Return| when(one).saturating_duration_since(self.listens).as_millis() as u64;
        let mut all: Vec<u64> = self.returns.iter().map(since).collect();
        all.sort_unstable();
        let part = |part: f64| all.get(((all.len() as f64 * part).ceil() as usize).saturating_sub(1)).copied();
        (part(0.5).unwrap_or(0), part(0.99).unwrap_or(0), all.last().copied().unwrap_or(0))
    }
}
