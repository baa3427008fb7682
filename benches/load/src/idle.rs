//! The memory of idle sessions: opens many, reads the server's memory before and after, and checks that they are alive.

use std::time::{Duration, Instant};

use crate::crowd::Crowd;
use crate::error::LoadError;
use crate::load::{Phase, Progress};
use crate::process::{Family, ProcessError};
use crate::scenario::{Codecs, Idle, Pace, Scenario, Target};

/// Sessions opened before the first reading, so that what the process needs once does not count.
const FIRST_SESSIONS: u32 = 200;
/// Memory is quiet when it has not changed by more than this…
const QUIET_BYTES: u64 = 64 * 1024;
/// … for this long…
const QUIET: Duration = Duration::from_secs(1);
/// … which is not waited for longer than this.
const QUIET_TIMEOUT: Duration = Duration::from_secs(15);
/// How long all sessions may take to get one message.
const DELIVER_TIMEOUT: Duration = Duration::from_secs(10);
const PAYLOAD_BYTES: u32 = 128;

/// Opens `sessions` sessions, each subscribed to the same topic (`bench.000000`), and compares the resident user-space
/// memory ([`Family::resident_bytes`]) of the server's process and its descendants when they are quiet with that when
/// only 200 others were there, which stay. Then one message goes to all of them, and memory is read once more. The server
/// should have just been started: memory that it has left over from earlier sessions hides what these take.
pub fn run(
    target: &Target,
    server: &str,
    sessions: u32,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Idle, LoadError> {
    let Some(pid) = target.pid else {
        return Err(LoadError::Scenario("memory cannot be read without the server's process id".to_owned()));
    };
    let family = Family::of(pid)?;
    let first = Crowd::open(target, &scenario(FIRST_SESSIONS), &mut |_| {})?;
    let before = quiet(&family, None)?;
    let mut told = Instant::now();
    let mut crowd = Crowd::open(target, &scenario(sessions), &mut |done| {
        if told.elapsed() > Duration::from_millis(200) {
            told = Instant::now();
            progress(&Progress { phase: Phase::Connecting, done, deliveries_per_second: 0.0 });
        }
    })?;
    let per_session = |bytes: u64| bytes.saturating_sub(before) as f64 / f64::from(sessions);
    progress(&Progress { phase: Phase::Counting, done: 0.0, deliveries_per_second: 0.0 });
    let waiting = per_session(quiet(&family, Some(&mut crowd))?);
    deliver(&mut crowd, sessions)?;
    progress(&Progress { phase: Phase::Counting, done: 0.5, deliveries_per_second: 0.0 });
    let after_message = per_session(quiet(&family, Some(&mut crowd))?);
    drop(first);
    Ok(Idle {
        server: server.to_owned(),
        sessions,
        bytes_per_session: waiting,
        bytes_per_session_after_message: after_message,
    })
}

/// Waits until memory is quiet, and answers pings meanwhile.
fn quiet(family: &Family, mut crowd: Option<&mut Crowd>) -> Result<u64, LoadError> {
    let began = Instant::now();
    let (mut bytes, mut since) = (family.resident_bytes()?, Instant::now());
    while since.elapsed() < QUIET && began.elapsed() < QUIET_TIMEOUT {
        match &mut crowd {
            Some(crowd) => crowd.turn(Some(Duration::from_millis(100)))?,
            None => std::thread::sleep(Duration::from_millis(100)),
        }
        let now: Result<u64, ProcessError> = family.resident_bytes();
        let now = now?;
        if now.abs_diff(bytes) > QUIET_BYTES {
            (bytes, since) = (now, Instant::now());
        }
    }
    Ok(family.resident_bytes()?)
}

/// Sends one message to all.
fn deliver(crowd: &mut Crowd, sessions: u32) -> Result<(), LoadError> {
    let now_ns = crowd.now_ns();
    crowd.publish(0, now_ns);
    crowd.send()?;
    let began = Instant::now();
    while crowd.tally.in_flight > 0 && began.elapsed() < DELIVER_TIMEOUT {
        crowd.turn(Some(Duration::from_millis(50)))?;
    }
    let delivered = crowd.tally.delivered as usize;
    if delivered < sessions as usize || !crowd.faults().none() {
        let (all, what) = (sessions as usize, "sessions did not get the message");
        let missing = all.saturating_sub(delivered);
        return Err(LoadError::TimedOut { missing, all, what, seconds: DELIVER_TIMEOUT.as_secs() });
    }
    Ok(())
}

fn scenario(sessions: u32) -> Scenario {
    Scenario {
        name: "idle".to_owned(),
        topics: 1,
        subscribers: sessions,
        topics_per_connection: 1,
        payload_bytes: PAYLOAD_BYTES,
        codecs: Codecs::Json,
        delivery: None,
        acks: false,
        pace: Pace::Window(1),
        stalled: 0,
        warm_up_seconds: 0.0,
        seconds: 0.0,
    }
}
