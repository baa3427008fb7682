//! Sessions that come and go for hours, publishers that go on meanwhile, and witnesses that must get every message once
//! and in order. It says what was seen; what a broker holds afterwards is for its owner to judge.

mod churner;
mod leave;
pub mod options;
mod publisher;
pub mod slope;
mod witness;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rialto_protocol::Codec;
use serde_json::json;

use crate::client::{self, Client};
use crate::holding::Holding;
use churner::Churner;
use leave::Leave;
use publisher::Publisher;
use rialto_load::LoadError;
use witness::Witness;

/// The topic on which publishers go on and which all who come subscribe to.
const NEWS: &str = "news";
/// Rooms of the chat plugin, which must own the topics `chat.*`.
const ROOMS: u64 = 8;
/// Clients that come and go at the same time, each with several sessions.
const CHURNERS: [char; 4] = ['a', 'b', 'c', 'd'];
/// Looks at the clock.
const LOOK: Duration = Duration::from_millis(20);
/// Waits are noted in nanoseconds, up to a minute.
const HIGHEST_NS: u64 = 60_000_000_000;

/// How long it is done.
#[derive(Clone, Copy, Debug)]
pub struct Soak {
    /// The broker.
    pub address: SocketAddr,
    /// How long sessions come and go.
    pub time: Duration,
    /// Time between two samples.
    pub every: Duration,
}

/// What happened in one interval, and what this process holds at its end.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Since the beginning.
    pub elapsed: Duration,
    /// Sessions that came, per second.
    pub sessions_per_second: f64,
    /// Messages of the publishers that were acked, per second.
    pub messages_per_second: f64,
    /// Within this 99 in 100 round trips of the witnesses were over, in microseconds.
    pub witness_p99_micros: f64,
    /// The longest of them.
    pub witness_max_micros: f64,
    /// Open files and memory of this process.
    pub holding: Holding,
}

/// What all of it came to.
#[derive(Clone, Debug, Default)]
pub struct Toll {
    /// Sessions that came.
    pub sessions: u64,
    /// How often clients left in each way, with its name.
    pub left: Vec<(&'static str, u64)>,
    /// Messages of the publishers that were acked.
    pub acked: u64,
    /// How many of them each witness got, every one once and in order.
    pub witnessed: Vec<u64>,
    /// Round trips of the witnesses.
    pub round_trips: u64,
    /// Regular samples.
    pub samples: Vec<Sample>,
}

/// What all threads share.
#[derive(Debug)]
struct Ground {
    address: SocketAddr,
    sessions: AtomicU64,
    messages: AtomicU64,
    waits: Mutex<Histogram<u64>>,
    /// Nobody comes and nobody publishes any more.
    over: AtomicBool,
    /// How many messages the witnesses must have got; unknown as long as somebody publishes.
    all: AtomicU64,
}

impl Ground {
    fn new(address: SocketAddr) -> Self {
        let (sessions, messages, waits) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::new(waits()));
        Self { address, sessions, messages, waits, over: AtomicBool::new(false), all: AtomicU64::new(u64::MAX) }
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Relaxed)
    }

    fn waited(&self, wait: Duration) {
        self.waits.lock().expect("nobody panics with it").saturating_record(wait.as_nanos() as u64);
    }

    fn take_waits(&self) -> Histogram<u64> {
        std::mem::replace(&mut *self.waits.lock().expect("nobody panics with it"), waits())
    }
}

impl Soak {
    /// Does it all and tells each sample. Afterwards every session of its has left.
    ///
    /// # Errors
    /// When a client is refused or not answered in time, or a witness gets anything but each message once and in order.
    pub fn run(&self, tell: &mut dyn FnMut(&Sample)) -> Result<Toll, LoadError> {
        let ground = &Ground::new(self.address);
        // All listen before anybody publishes, so that all must get the same.
        let witnesses = each_codec(|codec| Witness::connect(ground, codec))?;
        let publishers = each_codec(|codec| Publisher::connect(ground, codec))?;
        thread::scope(|scope| {
            let publishers: Vec<_> = publishers.into_iter().map(|one| scope.spawn(move || one.run(ground))).collect();
            let churners: Vec<_> =
                CHURNERS.map(|name| scope.spawn(move || Churner::new(name).run(ground))).into_iter().collect();
            let witnesses: Vec<_> = witnesses.into_iter().map(|one| scope.spawn(move || one.run(ground))).collect();
            let is_well = || {
                let ended = publishers.iter().any(ScopedJoinHandle::is_finished);
                !ended
                    && !churners.iter().any(ScopedJoinHandle::is_finished)
                    && !witnesses.iter().any(ScopedJoinHandle::is_finished)
            };
            let samples = self.watch(ground, &is_well, tell);
            ground.over.store(true, Relaxed);
            let (published, left) = (all(publishers), all(churners));
            // Without it the witnesses give up in time.
            if let Ok(published) = &published {
                ground.all.store(published.iter().sum(), Relaxed);
            }
            let witnessed = all(witnesses);
            let (published, left, witnessed) = (published?, left?, witnessed?);
            Ok(Toll {
                sessions: ground.sessions.load(Relaxed),
                left: Leave::sum(&left),
                acked: published.iter().sum(),
                round_trips: witnessed.iter().map(|one| one.round_trips).sum(),
                witnessed: witnessed.iter().map(|one| one.messages).collect(),
                samples: samples?,
            })
        })
    }

    fn watch(
        &self,
        ground: &Ground,
        is_well: &dyn Fn() -> bool,
        tell: &mut dyn FnMut(&Sample),
    ) -> Result<Vec<Sample>, LoadError> {
        let mut samples = Vec::new();
        let begun = Instant::now();
        let (mut since, mut counted) = (begun, [0, 0]);
        loop {
            thread::sleep(LOOK);
            let is_last = begun.elapsed() >= self.time || !is_well();
            if since.elapsed() < self.every && !is_last {
                continue;
            }
            let seconds = since.elapsed().as_secs_f64();
            let counts = [&ground.sessions, &ground.messages].map(|count| count.load(Relaxed));
            let waits = ground.take_waits();
            let sample = Sample {
                elapsed: begun.elapsed(),
                sessions_per_second: (counts[0] - counted[0]) as f64 / seconds,
                messages_per_second: (counts[1] - counted[1]) as f64 / seconds,
                witness_p99_micros: waits.value_at_quantile(0.99) as f64 / 1_000.0,
                witness_max_micros: waits.max() as f64 / 1_000.0,
                holding: Holding::of(std::process::id())?,
            };
            (since, counted) = (Instant::now(), counts);
            tell(&sample);
            samples.push(sample);
            if is_last {
                return Ok(samples);
            }
        }
    }
}

/// How many members the chat plugin believes to be in the rooms.
///
/// # Errors
/// When it cannot be asked.
pub fn members(address: SocketAddr) -> Result<usize, LoadError> {
    let mut client = Client::connect(address, Codec::Json, None)?;
    let mut count = 0;
    for number in 0..ROOMS {
        let reply = client.ok("call", json!({"type": "call", "topic": room(number), "method": "members"}))?;
        let members = reply["data"]["members"].as_array().map(Vec::len);
        count += members.ok_or_else(|| client::strange(Some(reply)))?;
    }
    client.close()?;
    Ok(count)
}

fn room(number: u64) -> String {
    format!("chat.room{}", number % ROOMS)
}

fn waits() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST_NS, 3).expect("the bounds are in order")
}

fn each_codec<T>(make: impl FnMut(Codec) -> Result<T, LoadError>) -> Result<Vec<T>, LoadError> {
    Codec::ALL.into_iter().map(make).collect()
}

/// What all threads found; all have ended then.
fn all<T>(threads: Vec<ScopedJoinHandle<'_, Result<T, LoadError>>>) -> Result<Vec<T>, LoadError> {
    let found: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect();
    found.into_iter().collect()
}
