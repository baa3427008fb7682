//! Frames and messages that are announced, begun and never finished: each uses the memory of what has arrived, at most its
//! limit.

use std::time::Duration;

use rialto::Codec;
use rialto_comparison::holding::Holding;
use serde_json::json;

use crate::support::events::Stream;
use crate::support::process::{Process, SERVER};
use crate::support::raw::{CONTINUATION, FIN, masked, promise};
use crate::support::{Client, Raw, eventually};

const MESSAGE_BYTES: u64 = 65_536;
/// The memory of a session, its socket and the frame reader that it has while a frame is incomplete.
const SESSION_BYTES: u64 = 24 * 1024;
/// Memory that threads cache, and that the system counts late: far less than any of these tests makes the broker use.
pub(crate) const SLACK_BYTES: u64 = 12 << 20;

pub(crate) fn resident(process: &Process) -> u64 {
    Holding::of(process.child.id()).unwrap().resident_bytes
}

/// The most that was resident since [`forget_peak`].
pub(crate) fn peak(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux reports it");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

fn forget_peak(process: &Process) {
    std::fs::write(format!("/proc/{}/clear_refs", process.child.id()), "5").unwrap();
}

async fn sessions(process: &Process, count: usize, codec: Codec) -> Vec<Raw> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(Raw::connect(process.address, codec).await);
    }
    sessions
}

async fn is_given_back(process: &Process, before: u64) {
    eventually("memory is given back", || resident(process) < before + before / 10 + SLACK_BYTES).await;
}

#[tokio::test]
async fn an_announced_length_over_the_limit_allocates_nothing() {
    let process = Process::start_frugal(SERVER);
    let mut healthy = Client::connect(process.address, Codec::Json).await;
    let before = resident(&process);
    forget_peak(&process);
    for codec in Codec::ALL {
        for length in [MESSAGE_BYTES + 1, 1 << 32, (1 << 63) + 5, u64::MAX] {
            for mut raw in sessions(&process, 50, codec).await {
                raw.send(&promise(FIN | raw.data_opcode(), length)).await;
                assert_eq!(raw.close_code().await, 1009);
            }
        }
        healthy.ping().await;
    }
    let most = peak(&process).saturating_sub(before);
    assert!(most < 50 * SESSION_BYTES + SLACK_BYTES, "{most} bytes for promises");
    is_given_back(&process, before).await;
}

#[tokio::test]
async fn incomplete_messages_use_at_most_the_limit_per_session() {
    let process = Process::start_frugal(&format!("{SERVER}[limits]\nframe_ms = 3_000\n"));
    let mut healthy = Client::connect(process.address, Codec::MessagePack).await;
    let before = resident(&process);
    const SESSIONS: usize = 200;
    for codec in Codec::ALL {
        let mut held = sessions(&process, SESSIONS, codec).await;
        for (index, raw) in held.iter_mut().enumerate() {
            let data = raw.data_opcode();
            let bytes = match index % 2 {
                // A frame without its last byte.
                0 => {
                    let whole = masked(FIN | data, &vec![b' '; MESSAGE_BYTES as usize]);
                    whole[..whole.len() - 1].to_vec()
                }
                // A message in fragments without its last one.
                _ => {
                    let part = masked(CONTINUATION, &[b' '; 1_000]);
                    [masked(data, b""), part.repeat(65)].concat()
                }
            };
            raw.send(&bytes).await;
        }
        healthy.ping().await;
        let taken = resident(&process).saturating_sub(before);
        // A growing buffer may be twice as large as its content.
        let allowed = SESSIONS as u64 * (2 * MESSAGE_BYTES + SESSION_BYTES) + SLACK_BYTES;
        assert!(taken < allowed, "{taken} bytes for {SESSIONS} sessions, {allowed} at most");
        for mut raw in held {
            assert_eq!(raw.close_code().await, 1008);
        }
        is_given_back(&process, before).await;
    }
}

#[tokio::test]
async fn two_hundred_thousand_fragments_of_a_byte_end_at_the_limit() {
    let process = Process::start_frugal(SERVER);
    let mut healthy = Client::connect(process.address, Codec::Json).await;
    let before = resident(&process);
    for codec in Codec::ALL {
        let mut raw = Raw::connect(process.address, codec).await;
        let data = raw.data_opcode();
        raw.send(&masked(data, b"x")).await;
        let fragments = masked(CONTINUATION, b"x").repeat(1_000);
        for _ in 0..200 {
            raw.try_send(&fragments).await;
        }
        assert_eq!(raw.close_code().await, 1009);
        healthy.ping().await;
    }
    is_given_back(&process, before).await;
}

#[tokio::test]
async fn a_mebibyte_of_small_maps_is_never_built_into_a_tree() {
    let process =
        Process::start_frugal(&format!("{SERVER}[limits]\nmessage_bytes = 1_048_576\noutbox_bytes = 8_388_608\n"));
    let mut healthy = Client::connect(process.address, Codec::Json).await;
    healthy.subscribe("t").await;
    let before = resident(&process);
    let maps = vec![json!({"": 0}); 100_000];
    for codec in Codec::ALL {
        let mut publisher = Client::connect(process.address, codec).await;
        forget_peak(&process);
        for _ in 0..5 {
            publisher.publish("t", json!(maps)).await;
            assert_eq!(healthy.message().await["data"].as_array().unwrap().len(), maps.len());
        }
        let largest = peak(&process).saturating_sub(before);
        // The payload, its frames in both codecs, the buffers of two sessions; a tree of it would take 100 MB.
        assert!(largest < 24 << 20, "{largest} bytes for messages of {} bytes", maps.len() * 7);
        publisher.close().await;
    }
    tokio::time::timeout(Duration::from_secs(1), healthy.ping()).await.unwrap();
}

#[tokio::test]
async fn an_idle_stream_of_events_takes_at_most_six_kib() {
    const BYTES: u64 = 6 * 1024;
    const STREAMS: u64 = 1_500;
    let process = Process::start_frugal(&format!("{SERVER}[limits]\nadmissions_per_s = 100_000\n"));
    let mut streams = Vec::new();
    // The first let the broker's threads come by what they keep.
    for _ in 0..300 {
        streams.push(Stream::open(process.address, "topic=news&topic=weather", None).await);
    }
    let before = resident(&process);
    for _ in 0..STREAMS {
        let mut stream = Stream::open(process.address, "topic=news&topic=weather", None).await;
        stream.event("subscribed").await;
        streams.push(stream);
    }
    let each = resident(&process).saturating_sub(before) / STREAMS;
    assert!(each <= BYTES, "{each} bytes");
    let mut client = Client::connect(process.address, Codec::Json).await;
    client.ok(json!({"type": "publish", "topic": "weather", "data": "sunny"})).await;
    for stream in &mut streams {
        assert_eq!(stream.message().await.data["data"], "sunny");
    }
}
