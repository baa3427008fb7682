//! Clients that take whatever they can get, each in one way, as fast as they are answered; and clients that do as many ordinary
//! requests.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rialto::Codec;
use rialto_load::process::pin_self;
use serde_json::{Value, json};

use crate::support::Client;
use crate::support::raw::open_from;

/// Requests that an ordinary client has in flight.
const IN_FLIGHT: u64 = 32;

/// Topics of the largest list.
const LISTED: u64 = rialto_protocol::REQUEST_TOPICS_MAX as u64;

/// Lists that come at once.
const LISTS: u64 = 8;

/// Topics with a past.
const PAST: u64 = 900;

/// One way of taking more than one's share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    Patterns,
    ListsBeyond,
    ListsNameless,
    ListsOfThePast,
    Rooms,
    Symbols,
    Junk,
    Topics,
    /// Ordinary requests.
    Nothing,
}

/// Attackers on a thread of their own, until they are told to end.
pub(crate) struct Crowd {
    over: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    begun: Instant,
    thread: JoinHandle<()>,
}

impl Attack {
    pub(crate) const ALL: [Self; 8] = [
        Self::Patterns,
        Self::ListsBeyond,
        Self::ListsNameless,
        Self::ListsOfThePast,
        Self::Rooms,
        Self::Symbols,
        Self::Junk,
        Self::Topics,
    ];

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Patterns => "A1 1,000 patterns that select every topic they publish to",
            Self::ListsBeyond => "A2 lists of topics beyond the limit",
            Self::ListsNameless => "A2 lists of topics without a name",
            Self::ListsOfThePast => "A2 lists of topics with the past of each",
            Self::Rooms => "A3 into a thousand rooms of a plugin and out again",
            Self::Symbols => "A3 new symbols of a plugin, and the list of all",
            Self::Junk => "A4 keys and messages of 4 KB",
            Self::Topics => "A5 topics that nobody needs",
            Self::Nothing => "ordinary requests",
        }
    }

    /// The topic of the neighbour, which is where the attack hurts.
    pub(crate) fn neighbour(self) -> &'static str {
        if self == Self::Rooms { "room.neighbour" } else { "neighbour" }
    }

    /// Before the attack begins.
    async fn prepare(self, client: &mut Client, number: usize) {
        match self {
            Self::Patterns => {
                for pattern in 0..900 {
                    // Each selects all topics below its first token, by another name.
                    let stars = ["*"; 4].map(str::to_owned);
                    let pattern = format!(
                        "p{number}.{}.{}",
                        stars[..pattern % 3].join("."),
                        if pattern % 2 == 0 { ">" } else { "*" }
                    );
                    client.request(json!({"type": "subscribe", "topic": pattern.replace("..", ".")})).await;
                }
            }
            Self::ListsOfThePast => {
                for topic in 0..PAST {
                    client
                        .request(json!({"type": "publish", "topic": format!("past.{number}.{topic}"), "data": "x"}))
                        .await;
                }
            }
            _ => {}
        }
    }

    /// One step; returns how many requests it was.
    async fn step(self, client: &mut Client, number: usize, step: u64) -> u64 {
        let Some((request, topics)) = self.request(number, step) else { return ordinary(client, number).await };
        let at_once = if topics > 1 { LISTS } else { 1 };
        let mut asked = Vec::new();
        for _ in 0..at_once {
            asked.push(client.ask(request.clone()).await);
        }
        for id in asked {
            client.reply(id).await;
        }
        client.take_all();
        at_once * topics
    }

    /// The request of a step, and how many topics it is about; none for ordinary ones.
    fn request(self, number: usize, step: u64) -> Option<(Value, u64)> {
        let listed = |one: &dyn Fn(u64) -> Value| {
            let topics = (0..LISTED).map(one).collect::<Vec<_>>();
            (json!({"type": "subscribe", "topics": topics}), LISTED)
        };
        let publish = |topic: String, data: Value| (json!({"type": "publish", "topic": topic, "data": data}), 1);
        Some(match self {
            Self::Patterns => publish(format!("p{number}.{step}"), json!("x")),
            Self::ListsBeyond => listed(&|topic| json!({"topic": format!("l.{}.{topic}", step % 20)})),
            Self::ListsNameless => listed(&|_| json!({"topic": ""})),
            Self::ListsOfThePast => listed(&|topic| {
                let topic = (step * LISTED + topic) % PAST;
                json!({"topic": format!("past.{number}.{topic}"), "last": 10})
            }),
            Self::Rooms => {
                let room = format!("room.{number}x{}", step / 2 % 1_000);
                let kind = if step.is_multiple_of(2) { "subscribe" } else { "unsubscribe" };
                (json!({"type": kind, "topic": room}), 1)
            }
            Self::Symbols if step.is_multiple_of(2) => {
                (json!({"type": "subscribe", "topic": format!("market.S{number}X{step}")}), 1)
            }
            Self::Symbols => (json!({"type": "call", "plugin": "market", "method": "symbols"}), 1),
            Self::Junk => {
                let (mut request, topics) =
                    publish(format!("junk.{number}.{}", step % 10_000), json!("x".repeat(4_000)));
                request["key"] = format!("{number}-{step}").into();
                (request, topics)
            }
            Self::Topics => publish(format!("t.{number}.{step}"), json!(1)),
            Self::Nothing => return None,
        })
    }
}

/// Lets the neighbour, who has the same core, run at once whenever it has something to do: between two threads of other policies
/// the scheduler waits until a slice of some milliseconds is over, and that would be measured.
fn step_back() {
    // The link is `PID/task/TID`.
    let this = std::fs::read_link("/proc/thread-self").unwrap();
    let set = Command::new("chrt").args(["--idle", "--pid", "0"]).arg(this.file_name().unwrap()).output();
    assert!(set.unwrap().status.success(), "chrt is part of util-linux");
}

/// As many requests as a client may have in flight, and their answers.
async fn ordinary(client: &mut Client, number: usize) -> u64 {
    let mut asked = Vec::new();
    for _ in 0..IN_FLIGHT {
        asked.push(client.ask(json!({"type": "publish", "topic": format!("own.{number}"), "data": "x"})).await);
    }
    for id in asked {
        client.reply(id).await;
    }
    client.take_all();
    IN_FLIGHT
}

impl Crowd {
    /// Lets so many clients begin, each from an address of its own; with a rate, they do no more together in a second.
    pub(crate) fn begin(address: SocketAddr, clients: usize, attack: Attack, per_s: Option<u64>) -> Self {
        let (over, requests) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (ended, counted) = (Arc::clone(&over), Arc::clone(&requests));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let _ = pin_self(1);
            step_back();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let tasks = tokio::task::LocalSet::new();
            tasks.block_on(&runtime, async {
                let mut running = Vec::new();
                for number in 0..clients {
                    let stream = open_from(Ipv4Addr::new(127, 0, 0, 2 + number as u8), address).await;
                    let mut client = Client::upgraded(stream, &format!("ws://{address}/ws"), Codec::Json).await;
                    attack.prepare(&mut client, number).await;
                    let (over, counted) = (Arc::clone(&ended), Arc::clone(&counted));
                    let every = per_s.map(|per_s| {
                        Duration::from_secs_f64((clients as u64 * IN_FLIGHT) as f64 / per_s.max(1) as f64)
                    });
                    running.push(tokio::task::spawn_local(async move {
                        let (begun, mut step) = (Instant::now(), 0);
                        while !over.load(Relaxed) {
                            counted.fetch_add(attack.step(&mut client, number, step).await, Relaxed);
                            step += 1;
                            if let Some(every) = every {
                                let due = begun + every.mul_f64(step as f64);
                                tokio::time::sleep_until(due.into()).await;
                            }
                        }
                    }));
                }
                ready.send(()).unwrap();
                for task in running {
                    task.await.unwrap();
                }
            });
        });
        is_ready.recv().unwrap();
        Self { over, requests, begun: Instant::now(), thread }
    }

    /// Ends them; returns how many requests they made in a second.
    pub(crate) fn end(self) -> u64 {
        let per_s = self.requests.load(Relaxed) as f64 / self.begun.elapsed().as_secs_f64();
        self.over.store(true, Relaxed);
        self.thread.join().unwrap();
        per_s as u64
    }
}
