//! Sessions on connections that an embedding program hands over: what it says of them, and what it can do with them.

use std::net::IpAddr;
use std::sync::Arc;

use rialto_protocol::{CloseCode, Codec};

use super::websocket;
use super::websocket::handed_over::{EndReport, SessionEnd, SessionState};
use crate::authorizer::Identity;
use crate::broker::Broker;
use crate::hub::{Duplex, Hub, closing};
use crate::identity;
use crate::limits::seats::SessionPermit;
use crate::shares::network::Network;

/// When a client may come back that was closed with a code that means so.
const RETRY_MS: u64 = 1_000;

/// What an embedding program says of a connection that it hands over.
///
/// ```
/// use std::net::Ipv4Addr;
/// use rialto::{Codec, ConnectionInfo};
///
/// let info = ConnectionInfo::new(Codec::Json).address(Ipv4Addr::new(192, 0, 2, 1)).label("terminal 7");
/// # let _ = info;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    codec: Codec,
    address: Option<IpAddr>,
    label: Option<String>,
}

impl ConnectionInfo {
    /// A connection with the codec that your server has agreed on with the client.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self { codec, address: None, label: None }
    }

    /// The same with the address of the client: rates of an address count for it, and [`Authorize`](crate::Authorize)
    /// is told it. Connections of one address are not limited; that is up to your server.
    #[must_use]
    pub fn address(mut self, address: impl Into<IpAddr>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// The same with a name for the log, at the level `debug`.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }
}

/// A session on a connection that was handed over. Cheap to clone; dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct SessionHandle {
    id: Arc<str>,
    hub: Hub,
    shard: usize,
    state: Arc<SessionState>,
}

impl SessionHandle {
    /// The id of the session, as its client and others know it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Closes the session with a code and a reason, and with a hint to reconnect where the code means that. It is no
    /// error if it has ended already.
    pub fn close(&self, code: CloseCode, reason: &str) {
        let closing = closing(code, reason, code.reconnect().then_some(RETRY_MS));
        let state = Arc::clone(&self.state);
        // The session came to its shard earlier in the same queue.
        self.hub.run_on(self.shard, move |shard| {
            if let Some(key) = state.key.get() {
                shard.end(*key, &closing);
            }
        });
    }

    /// Waits until nothing is left of the session, and returns how it ended.
    pub async fn ended(&self) -> SessionEnd {
        let mut ended = self.state.ended.subscribe();
        let end = ended.wait_for(Option::is_some).await;
        end.ok().and_then(|end| end.clone()).unwrap_or(SessionEnd::Lost)
    }
}

impl Broker {
    /// Starts a session on a stream whose WebSocket upgrade your own server has answered, for a client that your server
    /// has authenticated, or for an anonymous one. Bytes that your server has read beyond the request must come out of
    /// the stream first.
    ///
    /// A session beyond the session limit is closed with 1013, one beyond `sessions_per_user` with 4005, and one whose
    /// identity has ended with 4002.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// use rialto::{Broker, CloseCode, Codec, ConnectionInfo, Identity, SessionEnd};
    ///
    /// let broker = Broker::builder().start()?;
    /// let (client, upgraded) = tokio::io::duplex(4_096);
    /// let ann = Identity::user("ann").role("trader");
    /// let session = broker.serve_websocket(upgraded, ann, ConnectionInfo::new(Codec::Json));
    /// println!("session {}", session.id());
    /// session.close(CloseCode::Kicked, "the desk is closed");
    /// # let mut client = client;
    /// # tokio::spawn(async move { tokio::io::copy(&mut client, &mut tokio::io::sink()).await });
    /// let SessionEnd::Closed { code, reason } = session.ended().await else { panic!("it was not closed") };
    /// assert_eq!((code, &*reason), (4003, "the desk is closed"));
    /// # broker.shutdown(std::time::Duration::ZERO).await;
    /// # Ok::<(), rialto::StartError>(())
    /// # }).unwrap();
    /// ```
    pub fn serve_websocket(
        &self,
        stream: impl Duplex + 'static,
        identity: Identity,
        connection: ConnectionInfo,
    ) -> SessionHandle {
        let core = &self.core;
        let ConnectionInfo { codec, address, label } = connection;
        let id = identity::session_id();
        let now_ms = core.clock.unix_ms();
        let known = identity.to_known(&core.auth, None, now_ms);
        let mut permit = core.session_limits.permit_or_refusal(&core.config.load().limits, known);
        if identity.is_over(now_ms) {
            permit.refused = Some(closing(CloseCode::TokenExpired, "the identity has expired", None));
        }
        // As at the broker's own addresses, this machine is exempt.
        let network = address.filter(|address| !Network::is_this_machine(*address)).map(Network::of);
        let permit = SessionPermit { session: Some(Arc::clone(&id)), address, network, ..permit };
        tracing::debug!(session = &*id, ?label, ?address, "a connection was handed over");
        let (state, shard) = (Arc::new(SessionState::default()), self.next_shard());
        let report = EndReport::new(Arc::clone(&state));
        websocket::start_handed_over(self, shard, Box::new(stream), codec, permit, report);
        SessionHandle { id, hub: core.hub.clone(), shard, state }
    }
}
