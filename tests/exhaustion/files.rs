//! The limit of open files: the broker waits without a busy loop, logs it once, and recovers.

use std::time::{Duration, Instant};

use rialto::Codec;
use rialto_load::process::Family;
use tokio::net::TcpStream;

use crate::support::process::{Process, SERVER};
use crate::support::{Client, DEADLINE, eventually};

#[tokio::test]
async fn a_broker_without_free_files_pauses_and_recovers() {
    // Idle connections stay open for the whole test.
    let mut process = Process::start_with_files(&format!("{SERVER}[limits]\nheader_ms = 60_000\n"), 64);
    let mut healthy = Client::connect(process.address, Codec::Json).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        // The system establishes them, but the broker cannot accept them.
        silent.push(TcpStream::connect(process.address).await.unwrap());
    }
    let pid = process.child.id();
    let open = || std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    eventually("no file is left", || open() >= 63).await;
    let family = Family::of(pid).unwrap();
    let (used, begun) = (family.processor().unwrap(), Instant::now());
    let mut round_trips = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        healthy.ping().await;
        round_trips += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let share = family.processor().unwrap().since(&used).as_secs_f64() / begun.elapsed().as_secs_f64();
    assert!(round_trips > 0 && share < 0.2, "{share} of a core for nothing");
    drop(silent);
    let begun = Instant::now();
    let mut back = loop {
        let connected = tokio::spawn(Client::connect(process.address, Codec::MessagePack)).await;
        assert!(begun.elapsed() < DEADLINE, "it accepts no connection any more");
        if let Ok(client) = connected {
            break client;
        }
    };
    back.ping().await;
    process.signal("TERM");
    drop((healthy, back));
    assert!(process.ends().await.success());
    let log = process.log();
    // Once each time that it begins, and not for each attempt.
    assert!((1..=4).contains(&log.matches("cannot accept connections").count()), "{log}");
}

#[tokio::test]
async fn a_flood_of_connections_opens_no_more_files_than_the_limits_allow() {
    let limits = "[limits]\nconnections = 300\nconnections_per_address = 10_000\nsessions = 50\n";
    let process = Process::start_with_files(&format!("{SERVER}{limits}"), 1_024);
    let mut healthy = Client::connect(process.address, Codec::Json).await;
    let pid = process.child.id();
    let mut flood = Vec::new();
    let mut most = 0;
    for index in 0..5_000 {
        flood.push(TcpStream::connect(process.address).await.unwrap());
        if index % 500 == 0 {
            healthy.ping().await;
            most = most.max(std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count());
        }
    }
    // Waiting connections, refused connections, sessions, and the process's own files.
    assert!(most <= 300 + 128 + 50 + 64, "{most} files are open");
    healthy.ping().await;
    drop(flood);
    Client::connect(process.address, Codec::MessagePack).await.ping().await;
}
