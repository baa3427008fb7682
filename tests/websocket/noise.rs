//! Random damage to valid sessions: the broker closes the session or goes on, sends only valid frames and never panics.

use rialto::Codec;
use serde_json::json;

use crate::support::raw::{CONTINUATION, FIN, PING, masked};
use crate::support::{Raw, Running, encode};
use crate::websocket::witness::Witness;

/// A small generator with a fixed seed, so that failures are reproducible.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }

    /// Flips, removes, repeats or inserts something, a few times.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let place = self.below(bytes.len());
            match self.below(4) {
                0 => bytes[place] ^= 1 << self.below(8),
                1 => drop(bytes.drain(place..bytes.len().min(place + 3))),
                2 => bytes.insert(place, self.0 as u8),
                _ => bytes.extend_from_within(place..),
            }
        }
    }
}

/// The requests of a valid session, as bytes on the wire.
fn valid(codec: Codec) -> Vec<u8> {
    let data = if codec == Codec::Json { 1 } else { 2 };
    let mut bytes = Vec::new();
    for request in [
        json!({"type": "connect", "id": 1, "client": "noise/1"}),
        json!({"type": "subscribe", "id": 2, "topics": [{"topic": "noise.a"}, {"topic": "noise.b"}]}),
        json!({"type": "publish", "id": 3, "topic": "noise.a", "data": {"a": [1, -2, 3.5, null, "é"]}}),
        json!({"type": "ping", "id": 4, "data": "x".repeat(200)}),
        json!({"type": "unsubscribe", "id": 5, "topic": "noise.b"}),
    ] {
        let request = encode(codec, &request);
        let (one, two) = request.split_at(request.len() / 2);
        bytes.extend(masked(data, one));
        bytes.extend(masked(FIN | PING, b"noise"));
        bytes.extend(masked(FIN | CONTINUATION, two));
    }
    bytes
}

/// Sends what `make` returns on so many connections of each codec, while a healthy session checks that it is not affected.
async fn hurts_nobody(rounds: usize, mut make: impl FnMut(&Raw) -> Vec<u8>) {
    let running = Running::start();
    let mut witness = Witness::new(&running).await;
    for codec in Codec::ALL {
        for round in 0..rounds {
            let mut raw = running.raw(codec).await;
            let bytes = make(&raw);
            raw.try_send(&bytes).await;
            raw.finish().await;
            raw.rest().await;
            if round % 20 == 0 {
                witness.is_well().await;
            }
        }
    }
    witness.is_well().await;
    witness.close().await;
    running.becomes_empty().await;
}

#[tokio::test]
async fn damaged_sessions_do_not_affect_other_sessions() {
    let mut noise = Noise(0x5eed_0123_4567_89ab);
    hurts_nobody(300, |raw| {
        let mut bytes = valid(raw.codec);
        noise.damage(&mut bytes);
        bytes
    })
    .await;
}

#[tokio::test]
async fn random_bytes_do_not_affect_other_sessions() {
    let mut noise = Noise(0xfeed_0123_4567_89ab);
    hurts_nobody(200, |raw| {
        let length = noise.below(400);
        let bytes = noise.bytes(length);
        [masked(FIN | raw.data_opcode(), &bytes), bytes].concat()
    })
    .await;
}
