//! One run of a scenario against one server: warm up, count, wait for the rest.

use std::time::{Duration, Instant};

use crate::crowd::Crowd;
use crate::error::LoadError;
use crate::pace::Pacer;
use crate::process::Family;
use crate::scenario::{Measurement, Scenario, Target};

/// The run is over when nothing has come in for so long.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long doubles are waited for when everything has come.
const AFTERWARDS: Duration = Duration::from_millis(50);
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// How much of that is done, from 0 to 1.
    pub done: f64,
    /// Messages received per second, of late.
    pub deliveries_per_second: f64,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Connections are opened and subscribed.
    Connecting,
    /// Nothing counts yet.
    WarmingUp,
    /// This is what is measured.
    Counting,
    /// Nothing is published any more; the rest comes in.
    Draining,
}

/// Runs a scenario. `server` is the name that the measurement bears; `round` counts repetitions from 0. Connections are
/// opened before and closed after, so the server should be as it was. Blocks the calling thread, which had better have a
/// core to itself.
pub fn run(
    target: &Target,
    server: &str,
    scenario: &Scenario,
    round: u32,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Measurement, LoadError> {
    let mut show = Show { progress, shown: Instant::now(), delivered: 0 };
    // A wrong process id should be told before a thousand connections are opened.
    target.pid.map(Family::of).transpose()?;
    let crowd = Crowd::open(target, scenario, &mut |done| show.connecting(done))?;
    let family = target.pid.map(Family::of).transpose()?;
    let mut run = Run { pacer: Pacer::new(scenario, crowd.now_ns()), crowd, show, progressed: Instant::now(), seen: 0 };
    run.publish(scenario.warm_up_seconds, Phase::WarmingUp)?;

    let used_before = family.as_ref().map(Family::processor).transpose()?;
    let (delivered, published) = (run.crowd.tally.delivered, run.crowd.tally.published);
    let from_ns = run.crowd.now_ns();
    run.crowd.tally.counted_ns = from_ns..u64::MAX;
    run.publish(scenario.seconds, Phase::Counting)?;
    let to_ns = run.crowd.now_ns();
    run.crowd.tally.counted_ns = from_ns..to_ns;
    let used_after = family.as_ref().map(Family::processor).transpose()?;
    let (delivered, published) = (run.crowd.tally.delivered - delivered, run.crowd.tally.published - published);

    run.drain()?;
    let tally = &run.crowd.tally;
    Ok(Measurement {
        server: server.to_owned(),
        scenario: scenario.clone(),
        round,
        seconds: (to_ns - from_ns) as f64 / 1e9,
        published,
        delivered,
        cpu_seconds: used_after.zip(used_before).map(|(after, before)| after.since(&before).as_secs_f64()),
        resident_bytes: family.as_ref().map(Family::resident_bytes).transpose()?,
        latency: tally.percentiles(),
        faults: run.crowd.faults(),
        skipped: tally.skipped,
        disconnected: tally.disconnected,
    })
}

/// A run whose connections are open.
struct Run<'p> {
    crowd: Crowd,
    pacer: Pacer,
    show: Show<'p>,
    /// When something last came in.
    progressed: Instant,
    /// What had come in by then.
    seen: u64,
}

impl Run<'_> {
    /// Publishes for so long; ends early when nobody listens or nothing comes any more.
    fn publish(&mut self, seconds: f64, phase: Phase) -> Result<(), LoadError> {
        let from_ns = self.crowd.now_ns();
        let length_ns = (seconds * 1e9) as u64;
        self.progressed = Instant::now();
        loop {
            let now_ns = self.crowd.now_ns();
            let passed_ns = now_ns - from_ns;
            if passed_ns >= length_ns || !self.crowd.listens() || self.stands() {
                return Ok(());
            }
            let mut offered = false;
            while let Some(due_ns) = self.pacer.due(self.crowd.tally.in_flight, now_ns) {
                let topic = self.pacer.topic();
                self.crowd.publish(topic, due_ns);
                offered = true;
            }
            if offered {
                self.crowd.send()?;
            }
            let left = Duration::from_nanos(length_ns - passed_ns);
            self.crowd.turn(Some(self.pacer.wait(now_ns).min(left)))?;
            self.show.tell(phase, passed_ns as f64 / length_ns as f64, self.crowd.tally.delivered);
        }
    }

    /// Waits until everything has come in, or nothing more does.
    fn drain(&mut self) -> Result<(), LoadError> {
        let all = self.crowd.tally.in_flight;
        self.progressed = Instant::now();
        while self.crowd.tally.in_flight > 0 && self.crowd.listens() && !self.stands() {
            self.crowd.turn(Some(Duration::from_millis(50)))?;
            let done = 1.0 - self.crowd.tally.in_flight as f64 / all as f64;
            self.show.tell(Phase::Draining, done, self.crowd.tally.delivered);
        }
        let end = Instant::now() + AFTERWARDS;
        while Instant::now() < end {
            self.crowd.turn(Some(end.saturating_duration_since(Instant::now())))?;
        }
        Ok(())
    }

    /// Whether nothing has come in for long although something should.
    fn stands(&mut self) -> bool {
        let tally = &self.crowd.tally;
        let seen = tally.delivered + tally.skipped + tally.disconnected;
        if seen != self.seen || tally.in_flight == 0 {
            (self.seen, self.progressed) = (seen, Instant::now());
        }
        self.progressed.elapsed() > PATIENCE
    }
}

/// Tells the caller now and then how far the run is.
struct Show<'p> {
    progress: &'p mut dyn FnMut(&Progress),
    shown: Instant,
    delivered: u64,
}

impl Show<'_> {
    fn connecting(&mut self, done: f64) {
        self.tell(Phase::Connecting, done, 0);
    }

    fn tell(&mut self, phase: Phase, done: f64, delivered: u64) {
        let passed = self.shown.elapsed();
        if passed < PROGRESS_EVERY {
            return;
        }
        let deliveries_per_second = (delivered - self.delivered) as f64 / passed.as_secs_f64();
        (self.progress)(&Progress { phase, done, deliveries_per_second });
        (self.shown, self.delivered) = (Instant::now(), delivered);
    }
}
