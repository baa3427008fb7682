//! The load against servers that do right and servers that do wrong, through real sockets.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use rialto_load::scenario::{Codecs, Dialect, Faults, Measurement, Pace, Scenario, Target};
use rialto_load::{LoadError, floor, load};

const SUBSCRIBERS: u32 = 5;

fn scenario(pace: Pace) -> Scenario {
    Scenario {
        name: "test".to_owned(),
        topics: 1,
        subscribers: SUBSCRIBERS,
        topics_per_connection: 1,
        payload_bytes: 60,
        codecs: Codecs::Json,
        delivery: None,
        acks: false,
        pace,
        stalled: 0,
        warm_up_seconds: 0.05,
        seconds: 0.2,
    }
}

fn run(address: SocketAddr, scenario: &Scenario) -> Result<Measurement, LoadError> {
    let target = Target { address, dialect: Dialect::Plain, pid: Some(std::process::id()) };
    load::run(&target, "test", scenario, 0, &mut |_| {})
}

fn serve(serve: impl FnOnce(TcpListener) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || serve(listener));
    address
}

#[test]
fn both_baselines_deliver_without_faults() {
    for batched in [true, false] {
        let address = serve(move |listener| floor::serve(listener, batched).unwrap());
        for (pace, topics, stalled) in [(Pace::Window(8), 1, 0), (Pace::PerSecond(100), 3, 0), (Pace::Window(4), 1, 1)]
        {
            let scenario = Scenario { topics, stalled, ..scenario(pace) };
            let measured = run(address, &scenario).unwrap();
            assert!(measured.faults.none() && measured.skipped + measured.disconnected == 0, "{measured:?}");
            assert!(measured.published > 10 && measured.latency.count > 10, "{measured:?}");
            assert!(measured.delivered.abs_diff(measured.published * u64::from(SUBSCRIBERS)) < 1000, "{measured:?}");
            assert!(measured.cpu_seconds.unwrap() > 0.0 && measured.resident_bytes.unwrap() > 0);
        }
    }
}

#[test]
fn large_messages_arrive_in_fragments() {
    let address = serve(|listener| floor::serve(listener, true).unwrap());
    let measured = run(address, &Scenario { payload_bytes: 700_000, ..scenario(Pace::Window(1)) }).unwrap();
    assert!(measured.faults.none() && measured.published > 1, "{measured:?}");
}

#[test]
fn wrongs_are_found() {
    let subscribers = u64::from(SUBSCRIBERS);
    for (wrong, faults, disconnected) in [
        (Wrong::Lost, Faults { lost: 1, ..Faults::default() }, 0),
        (Wrong::Doubled, Faults { doubled: subscribers, ..Faults::default() }, 0),
        (Wrong::Disordered, Faults { disordered: subscribers, ..Faults::default() }, 0),
        (Wrong::Altered, Faults { altered: subscribers, lost: subscribers, ..Faults::default() }, 0),
        (Wrong::Closed, Faults::default(), 1),
    ] {
        let address = serve(move |listener| relay(&listener, wrong));
        let measured = run(address, &scenario(Pace::Window(3))).unwrap();
        assert_eq!((measured.faults, measured.disconnected), (faults, disconnected), "{wrong:?}");
    }
}

#[test]
fn a_missing_measurement_has_a_reason() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let busy = serve(|listener| {
        for stream in listener.incoming() {
            stream.unwrap().write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap();
        }
    });
    let small = Scenario { payload_bytes: 20, ..scenario(Pace::Window(1)) };
    for (address, scenario, expected) in [
        (nobody, scenario(Pace::Window(1)), "= help: start the server"),
        (busy, scenario(Pace::Window(1)), "it answers \"HTTP/1.1 503 Service Unavailable\""),
        (nobody, small, "payloads need at least 28 bytes"),
    ] {
        let error = run(address, &scenario).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// What a relay does with the message of sequence 5.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    /// The first subscriber does not get it.
    Lost,
    Doubled,
    /// It comes after the next one.
    Disordered,
    Altered,
    /// The first subscriber is disconnected instead.
    Closed,
}

/// A server that does one thing wrong. The publisher connects last.
fn relay(listener: &TcpListener, wrong: Wrong) {
    let mut subscribers: Vec<TcpStream> = Vec::new();
    let mut publisher = loop {
        let (mut stream, _) = listener.accept().unwrap();
        let head = head(&mut stream);
        let accept = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        stream.write_all(accept.as_bytes()).unwrap();
        if head.starts_with("GET /pub/") {
            break stream;
        }
        subscribers.push(stream);
    };
    let mut frame = [0; 66];
    let mut late: Option<[u8; 66]> = None;
    while publisher.read_exact(&mut frame).is_ok() {
        let is_fifth = &frame[12..22] == b"0000000005";
        if is_fifth && wrong == Wrong::Altered {
            frame[65] ^= 1;
        }
        if is_fifth && wrong == Wrong::Closed {
            subscribers.remove(0);
        }
        if is_fifth && wrong == Wrong::Disordered {
            late = Some(frame);
            continue;
        }
        let skipped = usize::from(is_fifth && wrong == Wrong::Lost);
        let times = if is_fifth && wrong == Wrong::Doubled { 2 } else { 1 };
        for frame in std::iter::repeat_n(frame, times).chain(late.take()) {
            // A server's frame has no mask: here the key of zeros between header and payload is left out.
            let message = [&[0x81, 60], &frame[6..]].concat();
            subscribers.iter_mut().skip(skipped).for_each(|one| drop(one.write_all(&message)));
        }
    }
}

fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}
