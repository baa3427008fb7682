//! Messages through the chat plugin: sessions over real sockets, each alone in its room, all rooms in one instance. The plugin
//! parses each message, adds its author and publishes it, and the session receives it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use chat::Chat;
use rialto::{Codec, Server};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::{Kind, start};
use crate::support::Raw;
use crate::support::raw::{FIN, TEXT, masked};

/// Concurrent sessions.
const SESSIONS: usize = 8;

/// Messages per write, as of a busy session.
const WRITTEN_AT_ONCE: usize = 64;

/// Messages per second for about so many, from the first that is written to the last that is received.
pub(crate) fn chat_messages_per_second(kind: Kind, messages: usize) -> f64 {
    let (config, broker) = start(kind, "chat", "plugins/dist/chat.wasm", Chat::default);
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, address) = std::sync::mpsc::channel();
    let served = broker.clone();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let server = Server::bind(served.clone(), &config.server).expect("a free port");
            ready.send(server.addresses()[0]).expect("the bench waits");
            server
                .run(async {
                    let _ = stopped.await;
                })
                .await;
            served.shutdown(Duration::ZERO).await;
        });
    });
    let address = address.recv().expect("the server listens");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let batches = messages.div_ceil(SESSIONS * WRITTEN_AT_ONCE);
    let sessions: Vec<Raw> = runtime
        .block_on(async { futures_util::future::join_all((0..SESSIONS).map(|room| enter(address, room))).await });
    let published = broker.metrics().messages_published_total;
    let started = Instant::now();
    // They stay, because a leave is announced by one more message.
    let stayed = runtime.block_on(futures_util::future::join_all(
        sessions.into_iter().enumerate().map(|(room, session)| speak(session, room, batches)),
    ));
    let taken = started.elapsed();
    let said = (batches * SESSIONS * WRITTEN_AT_ONCE) as u64;
    // Nothing was refused, so what was received is what was sent.
    assert_eq!(broker.metrics().messages_published_total - published, said);
    assert_eq!(broker.metrics().plugin_failures_total, 0);
    drop((stop, stayed));
    thread.join().expect("the server ends well");
    said as f64 / taken.as_secs_f64()
}

/// A session in its room with a name.
async fn enter(address: SocketAddr, room: usize) -> Raw {
    let mut raw = Raw::connect(address, Codec::Json).await;
    let topic = format!("chat.{room}");
    raw.request(&json!({"type": "subscribe", "id": 1, "topic": topic})).await;
    raw.request(&json!({"type": "call", "id": 2, "topic": topic, "method": "claim", "data": {"name": "Ada"}})).await;
    // The subscription, the claim, and the announcement that somebody has joined.
    for _ in 0..3 {
        let told = raw.frame_value().await;
        assert_ne!(told["type"], "error", "{told}");
    }
    raw
}

/// Sends its messages as fast as possible, and reads until all are received.
async fn speak(raw: Raw, room: usize, batches: usize) -> TcpStream {
    let (mut reader, mut writer) = raw.into_stream().into_split();
    let text = "I hear and I forget. I see and I remember. I do and I understand.";
    let message = json!({"type": "publish", "topic": format!("chat.{room}"), "data": {"text": text}});
    let batch = masked(FIN | TEXT, message.to_string().as_bytes()).repeat(WRITTEN_AT_ONCE);
    let write = async {
        for _ in 0..batches {
            writer.write_all(&batch).await.expect("sent");
        }
    };
    let read = async {
        let (mut buffer, mut frames) = (Vec::with_capacity(1 << 17), 0);
        while frames < batches * WRITTEN_AT_ONCE {
            assert!(reader.read_buf(&mut buffer).await.expect("bytes") > 0, "the broker hung up");
            let mut at = 0;
            while let Some(length) = frame_length(&buffer[at..]).filter(|length| at + length <= buffer.len()) {
                assert_eq!(buffer[at], FIN | TEXT);
                at += length;
                frames += 1;
            }
            buffer.drain(..at);
        }
    };
    tokio::join!(write, read);
    reader.reunite(writer).expect("both are of one stream")
}

/// How long the frame is that begins here.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    Some(match bytes.get(1)? {
        126 => 4 + usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
        127 => return None,
        short => 2 + usize::from(*short),
    })
}
