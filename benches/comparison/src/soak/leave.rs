//! How a client leaves: well, badly, or without ever having been a session.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::json;

use super::NEWS;
use crate::client::Client;
use rialto_load::LoadError;

/// So many answers are under way when a client goes that reads none of them.
const FLOOD: usize = 200;
/// As much of a request for an upgrade as is said before leaving.
const HALF_REQUEST: &[u8] = b"GET /ws HTTP/1.1\r\nHost: soak\r\nUpgrade: web";

/// A way to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// With a Close, waiting for the broker's.
    Close,
    /// With a FIN, as a program that ends.
    Finish,
    /// With a RST, as a machine that crashed.
    Reset,
    /// With a FIN in the middle of a frame.
    FinishInside,
    /// With a RST in the middle of a frame.
    ResetInside,
    /// With answers under way that it never read.
    Unread,
    /// With a RST after a long sleep in which it has read nothing.
    Sleep,
    /// In the middle of its request for an upgrade: it is never a session.
    BeforeUpgrade,
}

impl Leave {
    /// All of them.
    pub(super) const ALL: [Self; 8] = [
        Self::Close,
        Self::Finish,
        Self::Reset,
        Self::FinishInside,
        Self::ResetInside,
        Self::Unread,
        Self::Sleep,
        Self::BeforeUpgrade,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Finish => "FIN",
            Self::Reset => "RST",
            Self::FinishInside => "FIN in a frame",
            Self::ResetInside => "RST in a frame",
            Self::Unread => "unread answers",
            Self::Sleep => "asleep",
            Self::BeforeUpgrade => "before the upgrade",
        }
    }

    /// Adds up how often clients left in which way; `counts` are in the order of [`Leave::ALL`].
    pub(super) fn sum(counts: &[[u64; Self::ALL.len()]]) -> Vec<(&'static str, u64)> {
        let sum = |place: usize| counts.iter().map(|one| one[place]).sum();
        Self::ALL.iter().enumerate().map(|(place, leave)| (leave.name(), sum(place))).collect()
    }

    /// Leaves.
    pub(super) fn go(self, mut client: Client) -> Result<(), LoadError> {
        let request = json!({"type": "publish", "topic": NEWS, "data": "never said to its end"});
        match self {
            Self::Close => client.close(),
            Self::Finish => client.finish(),
            Self::Reset | Self::Sleep => client.reset(),
            Self::FinishInside => {
                client.begin(&request);
                client.finish()
            }
            Self::ResetInside => {
                client.begin(&request);
                client.reset()
            }
            Self::Unread => {
                client.flood(&json!({"type": "ping"}), FLOOD);
                client.finish()
            }
            Self::BeforeUpgrade => Ok(()),
        }
    }
}

/// Connects, says half of what makes a session, and goes.
pub(super) fn before_upgrade(address: SocketAddr) -> Result<(), LoadError> {
    let said = TcpStream::connect(address).and_then(|mut stream| {
        stream.write_all(HALF_REQUEST)?;
        stream.shutdown(Shutdown::Both)
    });
    said.map_err(|reason| LoadError::Connect { address, reason })
}
