//! What an operator can set, as plain structs with the documented defaults; nothing here acts on a setting.

mod api;
mod check;
mod endpoints;
mod hide;
mod limits;
mod load;
mod plugins;
mod problem;
mod rules;
mod sandbox;
mod section;
mod server;
mod syntax;
mod tls;
mod topics;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use rialto_protocol::{Delivery, Policy};

use crate::capability::Capability;
use crate::topic::Pattern;

pub use self::api::{Api, ApiKey};
pub use self::problem::{Problem, Problems};
pub(crate) use self::rules::CurrentRules;
pub use self::rules::{Rules, TopicOptions};

/// Everything a broker is told before it starts. [`Config::load`] and [`Config::parse`] check every value; whoever
/// fills the structs by hand keeps to the ranges written at the fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where and how it serves: `[server]`.
    pub server: Server,
    /// Where and how it serves with TLS: `[tls]`. Default none.
    pub tls: Option<Tls>,
    /// Which programs may use the HTTP API: `[api]`. Default none: there is no such API.
    pub api: Option<Api>,
    /// Where and how plugins are compiled: `[sandbox]`.
    pub sandbox: Sandbox,
    /// Bounds of every queue, map and wait: `[limits]`.
    pub limits: Limits,
    /// What each topic is: the `[[topic]]` tables in file order, the first match wins. Never empty after a load: a file
    /// without any gets one rule for `>`. At most 1,000.
    pub topics: Vec<TopicRule>,
    /// The plugins to load, by name: the `[plugin.NAME]` tables. At most 256; names are 1 to 64 of `a-z`, `0-9`, `-`.
    pub plugins: BTreeMap<String, PluginConfig>,
    /// The raw endpoints, at most 1,000, each with another path.
    pub endpoints: Vec<Endpoint>,
}

/// Where and how the broker serves: `[server]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Addresses to listen on without TLS, 1 to 16 different ones; with [`Config::tls`] also none. Port 0 takes any free
    /// port. Default `127.0.0.1:8080`.
    pub listen: Vec<SocketAddr>,
    /// Threads that own sessions, 0 to 256; 0 (the default) means one per core.
    pub shards: usize,
    /// Whether the web pages are served. Default true.
    pub page: bool,
    /// Browser origins (`scheme://host[:port]`) that may connect besides the broker's own; `*` allows all. At most
    /// 1,000. Default none.
    pub allowed_origins: Vec<String>,
    /// Whether clients that send no `Origin`, which are no browsers, are turned away. Default false.
    pub require_origin: bool,
    /// Networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed. At most 1,000. Default none.
    pub trusted_proxies: Vec<IpNet>,
    /// How long sessions may take to end when the broker stops, 0 to 600,000 ms. Default 10,000.
    pub shutdown_ms: u64,
    /// Path of the control socket, at most 107 bytes: whoever may open it may do all. The empty path means none. Default
    /// none given: the `rialto` binary takes `$XDG_RUNTIME_DIR/rialto/PORT.sock` or `/tmp/rialto-UID/PORT.sock`, a program
    /// that embeds the broker none. Relative paths in a file start at the file's folder; after a load they have been joined
    /// with it.
    pub control: Option<PathBuf>,
    /// Least severe level that is logged: `error`, `warn`, `info` (the default), `debug` or `trace`.
    pub log: String,
}

/// Where the broker serves with TLS, and what it shows for it: `[tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Addresses to listen on, 1 to 16 different ones. Port 0 takes any free port. Default `127.0.0.1:8443`.
    pub listen: Vec<SocketAddr>,
    /// PEM file with the certificate, followed by those that certify it. Relative paths in a file start at the file's folder;
    /// after a load they have been joined with it.
    pub certificate: PathBuf,
    /// PEM file with the key of the certificate (PKCS#8, RSA or SEC1), not encrypted. Paths as above.
    pub key: PathBuf,
    /// Days before the certificate expires from which on that is warned of, 0 to 3,650. Default 14.
    pub expiry_warn_days: u32,
    /// Time between two looks at the files, 50 to 3,600,000 ms. What has changed is used for new connections once two
    /// looks have seen the same. Default 2,000.
    pub reload_ms: u64,
}

/// Where and how plugins are compiled, and where recordings of them go: `[sandbox]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Folder of compiled components, so that the next start need not compile them; it is made when it is not there, and
    /// not used when others can write to it. The empty path means none. Default none given: the `rialto` binary takes
    /// `$XDG_CACHE_HOME/rialto` or `~/.cache/rialto`, a program that embeds the broker none. Relative paths in a file start
    /// at the file's folder; after a load they have been joined with it.
    pub cache: Option<PathBuf>,
    /// Folder of recordings, made when the first is written. Default `recordings` beside the configuration. Paths as above.
    pub recordings: PathBuf,
    /// Time to compile one component, 1,000 to 600,000 ms. Default 120,000: while the broker serves, the compiler has half of
    /// the cores and stands back behind everything else on them.
    pub compile_ms: u64,
    /// Address space of the process that compiles, 536,870,912 to 1,099,511,627,776 bytes. Default 2,147,483,648. Without a
    /// process of its own ([`Builder::compiler`](crate::Builder::compiler)) there is no such bound.
    pub compile_bytes: u64,
}

/// Bounds of every queue, map and wait: `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest message and frame from a client, 256 to 1,048,576 bytes. Default 65,536.
    pub message_bytes: usize,
    /// Fragments of one WebSocket message, 1 to 65,536. Default 256.
    pub fragments: usize,
    /// Subscriptions of one session, 1 to 1,000,000. Default 1,000.
    pub subscriptions: usize,
    /// Connections that are no sessions, or not yet, 1 to 10,000,000; later ones are told to come again, or hung up on.
    /// Default 10,000.
    pub connections: usize,
    /// Connections of one address, sessions included, 1 to 10,000,000; of IPv6 addresses the first 64 bits count. Trusted
    /// proxies and this machine itself (127.0.0.1, ::1) have no such limit. Default 1,000.
    pub connections_per_address: usize,
    /// Sessions at a time, 1 to 10,000,000. Default 100,000.
    pub sessions: usize,
    /// Sessions of one user at a time, 1 to 10,000,000. Default 1,000.
    pub sessions_per_user: usize,
    /// Sessions that begin in a second, 1 to 1,000,000, a second's worth of them at once; later ones are told to come again.
    /// Default 10,000.
    pub admissions_per_s: u32,
    /// TLS handshakes of one address in a second, 1 to 1,000,000, a second's worth of them at once; later ones are hung up
    /// on. Addresses are those of `connections_per_address`. Default 50.
    pub handshakes_per_s: u32,
    /// Topics in memory, 1 to 10,000,000. Default 100,000.
    pub topics: usize,
    /// Encoded frames that wait for one session, 256 to 1,073,741,824 bytes and not less than `message_bytes`. Default
    /// 1,048,576.
    pub outbox_bytes: usize,
    /// Encoded frames that wait for all sessions together, 256 to 1,099,511,627,776 bytes and not less than
    /// `outbox_bytes`; beyond it the largest outboxes give way. Default 268,435,456.
    pub outboxes_bytes: usize,
    /// Bytes that the operating system takes for one session beyond those on their way through the network, 4,096 to
    /// 1,073,741,824; the rest waits in the outbox, where delivery policies act. Linux and Android only. Default 131,072.
    pub unsent_bytes: u32,
    /// Messages that wait for one shard before the publishers of more are made to wait, 1 to 1,048,576. Default 4,096.
    pub inbox_messages: usize,
    /// Different fields by which the subscribers of one topic may ask for the latest messages (`latest_by`), 0 to 65,536.
    /// Default 16.
    pub conflation_fields: usize,
    /// What the histories and idempotency keys of all topics together take in memory, 65,536 to 1,099,511,627,776 bytes;
    /// beyond it the topics that were published to longest ago lose theirs. Default 268,435,456.
    pub history_bytes: usize,
    /// Idempotency keys of one topic, 1 to 10,000,000; beyond it the oldest are forgotten. Default 10,000.
    pub keys: usize,
    /// Different patterns that are subscribed to, 1 to 10,000,000. Default 100,000.
    pub patterns: usize,
    /// Members of one topic that are listed, 1 to 100,000; of more only the count is told. Default 200.
    pub presence_members: usize,
    /// Time within which a user whose session ended may come back without having left, 0 to 600,000 ms. Default 5,000.
    pub presence_grace_ms: u64,
    /// Requests of one session under way at once, 1 to 65,536; beyond it its socket is not read. Default 64.
    pub requests_in_flight: usize,
    /// Frames of one session in a second that are no requests, 1 to 1,000,000, a second's worth of them at once; beyond it
    /// the session is closed. Default 100.
    pub bad_requests_per_s: u32,
    /// WebSocket pings and pongs of one session in a second, 1 to 1,000,000, a second's worth of them at once; beyond it
    /// the session is closed. Default 100.
    pub control_frames_per_s: u32,
    /// Time for the head of an HTTP request, 10 to 600,000 ms. Default 5,000.
    pub header_ms: u64,
    /// Time for a started frame to finish, 10 to 600,000 ms. Default 10,000.
    pub frame_ms: u64,
    /// Time for a write to make progress, 10 to 600,000 ms. Default 10,000.
    pub write_ms: u64,
    /// Time between two pings of a session, 10 to 3,600,000 ms. Default 25,000.
    pub ping_ms: u64,
    /// Time after a ping without any frame until the session counts as dead, 10 to 600,000 ms. Default 10,000.
    pub pong_ms: u64,
    /// Time for the other side to answer a close, 10 to 600,000 ms. Default 5,000.
    pub close_ms: u64,
    /// Time until a topic without subscribers is forgotten, 10 to 86,400,000 ms. Default 60,000.
    pub topic_idle_ms: u64,
}

/// What the topics of one pattern are: `[[topic]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRule {
    /// The topics it is for, unless an earlier rule has them.
    pub pattern: Pattern,
    /// Name of the plugin that owns them, a key of [`Config::plugins`]; none by default.
    pub plugin: Option<String>,
    /// Whether messages say which session published them. Default false.
    pub reveal_publisher: bool,
    /// The delivery policy of subscriptions that name none. Default `queue`.
    pub delivery: Delivery,
    /// The policy that keeps most among those a subscription may choose, in the order of [`Policy::ALL`]. Default `queue`:
    /// any.
    pub delivery_max: Policy,
    /// The past messages that are kept. Default none.
    pub history: Option<History>,
    /// Whether it is known and told who is subscribed. Default false.
    pub presence: bool,
    /// Whether subscriptions by pattern select these topics; a plugin is not asked about those. Default none: true for
    /// topics without a plugin.
    pub patterns: Option<bool>,
    /// How long idempotency keys of publishes and calls are remembered, 0 to 86,400,000 ms. Default 120,000.
    pub keys_ms: u64,
    /// What becomes of requests while the plugin is down. Default `refuse`.
    pub on_failure: OnFailure,
}

/// What becomes of requests about a topic whose plugin is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// They are refused with `plugin_failed`.
    #[default]
    Refuse,
    /// They are done as if no plugin owned the topic.
    Pass,
}

/// What has an instance of a plugin of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// The plugin: one instance, one order for all its topics.
    #[default]
    Plugin,
    /// Each topic, with state of its own.
    Topic,
}

/// A path whose WebSockets belong to a plugin: `[[endpoint]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The path, like `/` or `/feed`. What is no WebSocket there is served as without this.
    pub path: String,
    /// Name of the plugin, a key of [`Config::plugins`].
    pub plugin: String,
}

/// How much of a topic's past is kept: whatever of these is reached first. Kept in memory: it ends with the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Messages, 1 to 10,000,000. Default 1,000.
    pub messages: usize,
    /// Bytes of their payloads, 256 to 1,099,511,627,776. Default 1,048,576.
    pub bytes: usize,
    /// Age of a message, 10 to 2,592,000,000 ms (30 days). Default 3,600,000.
    pub age_ms: u64,
}

/// One plugin and what it may use: `[plugin.NAME]`.
#[derive(Clone, PartialEq)]
pub struct PluginConfig {
    /// The component. Relative paths in a file start at the file's folder; after a load they have been joined with it.
    pub path: PathBuf,
    /// Memory of an instance, 65,536 to 4,294,967,296 bytes. Default 33,554,432.
    pub memory_bytes: u64,
    /// Time for one hook, 1 to 60,000 ms. Default 50.
    pub hook_ms: u64,
    /// Events that wait for an instance before callers are told `busy`, 1 to 1,048,576. Default 1,024.
    pub mailbox: usize,
    /// Largest component file, 1,024 to 268,435,456 bytes. Default 8,388,608.
    pub component_bytes: u64,
    /// State it may keep in the store, 0 to 1,099,511,627,776 bytes. Default 67,108,864.
    pub state_bytes: u64,
    /// What one hook may hand to the host, 1,024 to 268,435,456 bytes. Default 1,048,576.
    pub output_bytes: usize,
    /// Host calls of one hook, 1 to 1,000,000. Default 1,000.
    pub host_calls: usize,
    /// Effects of one hook, 1 to 1,000,000. Default 10,000.
    pub effects: usize,
    /// Timers that wait, 0 to 10,000,000. Default 10,000.
    pub timers: usize,
    /// The capabilities that it is granted: `state`, `timers`, `sessions`, `publish PATTERN` and `subscribe PATTERN`. It
    /// may what it asks for and is granted; one that asks for more does not load. Default `state`, `timers`, `sessions`.
    pub grants: Vec<String>,
    /// Whether its topics share an instance or each has its own. Default `plugin`.
    pub isolation: Isolation,
    /// Instances of single topics, 1 to 1,000,000; beyond it the one used longest ago begins anew when it is needed
    /// again. Default 1,000.
    pub instances: usize,
    /// Time until the instance of a topic that nothing happens in is dropped, 10 to 86,400,000 ms. Default 600,000.
    pub instance_idle_ms: u64,
    /// So many failures, 1 to 1,000,000, … Default 500: a client that makes a plugin fail on purpose must not get it
    /// quarantined easily.
    pub failures: usize,
    /// … within so long, 10 to 86,400,000 ms, bring quarantine: no hook is called … Default 10,000.
    pub failures_ms: u64,
    /// … for so long, 0 to 86,400,000 ms; 0: until it is loaded again. Default 10,000.
    pub quarantine_ms: u64,
    /// Events that each instance keeps, 0 to 100,000: when a hook traps or exceeds a limit they are written into the folder
    /// [`Sandbox::recordings`], to be replayed. They hold what clients sent. Default 0: none.
    pub record: usize,
    /// Whether it is loaded again when its file changes. Default false.
    pub watch: bool,
    /// The plugin's own settings, always an object: `[plugin.NAME.config]`. May hold secrets, so `Debug` leaves it out.
    pub config: serde_json::Value,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            server: Server::default(),
            tls: None,
            api: None,
            sandbox: Sandbox::default(),
            limits: Limits::default(),
            topics: vec![TopicRule::default()],
            plugins: BTreeMap::new(),
            endpoints: Vec::new(),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Server {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            shards: 0,
            page: true,
            allowed_origins: Vec::new(),
            require_origin: false,
            trusted_proxies: Vec::new(),
            shutdown_ms: 10_000,
            control: None,
            log: "info".to_owned(),
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Tls {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8443))],
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            expiry_warn_days: 14,
            reload_ms: 2_000,
        }
    }
}

impl Tls {
    /// Largest file of either kind, in bytes.
    pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;
}

impl Sandbox {
    /// The defaults for a configuration in this folder.
    fn beside(folder: &Path) -> Self {
        let recordings = folder.join("recordings");
        Sandbox { cache: None, recordings, compile_ms: 120_000, compile_bytes: 2_147_483_648 }
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Sandbox::beside(Path::new(""))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            message_bytes: 65_536,
            fragments: 256,
            subscriptions: 1_000,
            connections: 10_000,
            connections_per_address: 1_000,
            sessions: 100_000,
            sessions_per_user: 1_000,
            admissions_per_s: 10_000,
            handshakes_per_s: 50,
            topics: 100_000,
            outbox_bytes: 1_048_576,
            outboxes_bytes: 268_435_456,
            unsent_bytes: 131_072,
            inbox_messages: 4_096,
            conflation_fields: 16,
            history_bytes: 268_435_456,
            keys: 10_000,
            patterns: 100_000,
            presence_members: 200,
            presence_grace_ms: 5_000,
            requests_in_flight: 64,
            bad_requests_per_s: 100,
            control_frames_per_s: 100,
            header_ms: 5_000,
            frame_ms: 10_000,
            write_ms: 10_000,
            ping_ms: 25_000,
            pong_ms: 10_000,
            close_ms: 5_000,
            topic_idle_ms: 60_000,
        }
    }
}

impl Default for TopicRule {
    /// The rule of a file without rules: every topic, no plugin.
    fn default() -> Self {
        TopicRule {
            pattern: Pattern::parse(">").expect("`>` is a pattern"),
            plugin: None,
            reveal_publisher: false,
            delivery: Delivery::Queue,
            delivery_max: Policy::Queue,
            history: None,
            presence: false,
            patterns: None,
            keys_ms: 120_000,
            on_failure: OnFailure::Refuse,
        }
    }
}

impl Default for History {
    fn default() -> Self {
        History { messages: 1_000, bytes: 1_048_576, age_ms: 3_600_000 }
    }
}

impl Default for PluginConfig {
    fn default() -> Self {
        PluginConfig {
            path: PathBuf::new(),
            memory_bytes: 33_554_432,
            hook_ms: 50,
            mailbox: 1_024,
            component_bytes: 8_388_608,
            state_bytes: 67_108_864,
            output_bytes: 1_048_576,
            host_calls: 1_000,
            effects: 10_000,
            timers: 10_000,
            grants: Capability::OWN.iter().map(ToString::to_string).collect(),
            isolation: Isolation::Plugin,
            instances: 1_000,
            instance_idle_ms: 600_000,
            failures: 500,
            failures_ms: 10_000,
            quarantine_ms: 10_000,
            record: 0,
            watch: false,
            config: serde_json::Value::Object(serde_json::Map::new()),
        }
    }
}

impl fmt::Debug for PluginConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginConfig")
            .field("path", &self.path)
            .field("memory_bytes", &self.memory_bytes)
            .field("hook_ms", &self.hook_ms)
            .field("mailbox", &self.mailbox)
            .field("component_bytes", &self.component_bytes)
            .field("state_bytes", &self.state_bytes)
            .field("output_bytes", &self.output_bytes)
            .field("host_calls", &self.host_calls)
            .field("effects", &self.effects)
            .finish_non_exhaustive()
    }
}
