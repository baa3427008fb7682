//! A real broker with a real server on a free port of 127.0.0.1, on a thread of its own.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use rialto::config::Config;
use rialto::{Broker, Builder, Codec, ConnectionInfo, Duplex, Identity, Server, SessionHandle};
use tokio::sync::oneshot;

use super::{Client, Raw, eventually, log};

/// A broker that stops when this is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    /// Where it speaks TLS, if the settings say so.
    pub(crate) tls_address: Option<SocketAddr>,
    pub(crate) broker: Broker,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts with the default settings but two shards, so that sessions of one topic live on different threads.
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// Starts with changed settings.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::built(change, |builder| builder)
    }

    /// Starts with changed settings and whatever else a builder is told.
    pub(crate) fn built(change: impl FnOnce(&mut Config), tell: impl FnOnce(Builder) -> Builder) -> Self {
        // Benches use this too, and measure.
        if cfg!(test) {
            log::keep();
        }
        let mut config = Config::default();
        config.server.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        config.server.shards = 2;
        // What tests write where the name does not matter.
        config.server.hosts = ["a", "b", "x"].map(str::to_owned).to_vec();
        config.limits.close_ms = 1_000;
        change(&mut config);
        let broker = tell(Broker::builder().config(config.clone())).start().expect("the broker starts");
        let (stop, stopped) = oneshot::channel();
        let (ready, addresses) = std::sync::mpsc::channel();
        let served = broker.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut server = Server::bind(served.clone(), &config.server).expect("a free port");
                if let Some(tls) = &config.tls {
                    server = server.with_tls(tls).expect("a free port and a good certificate");
                }
                if let Some(api) = &config.api {
                    server = server.with_api(api);
                }
                let addresses = (server.addresses()[0], server.tls_addresses().first().copied());
                ready.send(addresses).expect("the test waits");
                server
                    .run(async {
                        let _ = stopped.await;
                    })
                    .await;
                served.shutdown(Duration::from_secs(5)).await;
            });
        });
        let (address, tls_address) = addresses.recv().expect("the server listens");
        Self { address, tls_address, broker, stop: Some(stop), thread: Some(thread) }
    }

    /// A session of the independent client.
    pub(crate) async fn client(&self, codec: Codec) -> Client {
        Client::connect(self.address, codec).await
    }

    /// A session on a stream that the program hands over, of nobody in particular.
    pub(crate) fn serve(&self, stream: impl Duplex + 'static, codec: Codec) -> SessionHandle {
        self.broker.serve_websocket(stream, Identity::anonymous(), ConnectionInfo::new(codec))
    }

    /// The same of a user.
    pub(crate) fn serve_as(&self, user: &str, stream: impl Duplex + 'static, codec: Codec) -> SessionHandle {
        self.broker.serve_websocket(stream, Identity::user(user), ConnectionInfo::new(codec))
    }

    /// A session over a hand-made socket, its welcome already read.
    pub(crate) async fn raw(&self, codec: Codec) -> Raw {
        Raw::connect(self.address, codec).await
    }

    /// Begins to stop, as a signal would make the binary do; does not wait.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until no session and no subscription is left.
    pub(crate) async fn becomes_empty(&self) {
        eventually("sessions and subscriptions are 0", || {
            let counted = self.broker.metrics();
            (counted.sessions, counted.subscriptions) == (0, 0)
        })
        .await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.begin_stop();
        let ended = self.thread.take().map_or(Ok(()), JoinHandle::join);
        log::print_if_failing();
        if !std::thread::panicking() {
            log::assert_no_secret();
            ended.expect("the server's thread ends well");
        }
    }
}
