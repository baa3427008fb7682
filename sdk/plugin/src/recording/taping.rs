//! The ring in which a host keeps what an instance did last.

use super::event::{Event, HostCall, Outcome, Step};
use super::file::{Header, Recording};
use std::collections::VecDeque;

/// The last events of an instance, and its start.
#[derive(Debug)]
pub struct Tape {
    start: Option<Step>,
    steps: VecDeque<(Step, usize)>,
    events_max: usize,
    bytes_max: usize,
    bytes: usize,
    number: u64,
    lost: bool,
}

impl Tape {
    /// A tape that keeps so many events after the start, of at most so many bytes.
    pub fn new(events_max: usize, bytes_max: usize) -> Self {
        let steps = VecDeque::new();
        Self { start: None, steps, events_max, bytes_max, bytes: 0, number: 0, lost: false }
    }

    /// Adds what a hook did; the first is `start`. The oldest events give way.
    pub fn add(&mut self, now_ms: u64, event: Event, calls: Vec<HostCall>, outcome: Outcome) {
        let step = Step { number: self.number, now_ms, event, calls, outcome };
        self.number += 1;
        if self.start.is_none() {
            self.start = Some(step);
            return;
        }
        let bytes = serde_json::to_vec(&step).map_or(0, |text| text.len());
        self.bytes += bytes;
        self.steps.push_back((step, bytes));
        while self.steps.len() > self.events_max || (self.bytes > self.bytes_max && self.steps.len() > 1) {
            if let Some((_, bytes)) = self.steps.pop_front() {
                self.bytes -= bytes;
                self.lost = true;
            }
        }
    }

    /// What is on the tape.
    pub fn recording(&self, header: Header) -> Recording {
        let header = Header { complete: !self.lost, ..header };
        let steps = self.start.iter().chain(self.steps.iter().map(|(step, _)| step)).cloned().collect();
        Recording { header, steps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_and_the_last_events_are_kept() {
        let mut tape = Tape::new(2, 10_000);
        tape.add(1, Event::Start { config: "{}".to_owned(), topic: None }, Vec::new(), Outcome::Serves(Vec::new()));
        let timer = |name: &str| Event::OnTimer { name: name.to_owned(), payload: None };
        tape.add(2, timer("a"), Vec::new(), Outcome::Accepted);
        assert!(tape.recording(Header::new("p", false)).header.complete);
        tape.add(3, timer("b"), Vec::new(), Outcome::Accepted);
        tape.add(4, timer("c"), Vec::new(), Outcome::Accepted);
        let recording = tape.recording(Header::new("p", true));
        assert!(!recording.header.complete);
        let numbers: Vec<u64> = recording.steps.iter().map(|step| step.number).collect();
        assert_eq!(numbers, [0, 2, 3]);
        tape.add(5, timer(&"x".repeat(20_000)), Vec::new(), Outcome::Accepted);
        assert_eq!(tape.recording(Header::new("p", true)).steps.len(), 2, "the newest stays, however large");
    }
}
