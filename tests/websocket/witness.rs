//! Healthy sessions that check that an abusive one does not affect them.

use rialto::Codec;
use serde_json::json;

use crate::support::{Client, Running};

/// One healthy session per codec, both subscribed to another topic.
pub(crate) struct Witness {
    sessions: Vec<Client>,
    said: u64,
}

const TOPIC: &str = "witness";

impl Witness {
    pub(crate) async fn new(running: &Running) -> Self {
        let mut sessions = Vec::new();
        for codec in Codec::ALL {
            let mut client = running.client(codec).await;
            client.subscribe(TOPIC).await;
            sessions.push(client);
        }
        Self { sessions, said: 0 }
    }

    pub(crate) async fn close(self) {
        for session in self.sessions {
            session.close().await;
        }
    }

    /// Each session publishes, and each receives these messages and no others.
    pub(crate) async fn is_well(&mut self) {
        for speaker in 0..self.sessions.len() {
            self.said += 1;
            let position = self.sessions[speaker].publish(TOPIC, json!({"said": self.said})).await;
            let offset = position["offset"].clone();
            for listener in &mut self.sessions {
                let message = listener.message().await;
                assert_eq!((&message["topic"], &message["offset"]), (&json!(TOPIC), &offset));
                assert_eq!(message["data"], json!({"said": self.said}));
            }
        }
        for session in &mut self.sessions {
            session.ping().await;
            assert_eq!(session.take_all(), Vec::<serde_json::Value>::new());
        }
    }
}
