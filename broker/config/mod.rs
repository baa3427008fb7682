//! The settings of the broker, as plain structs with the documented defaults; nothing here acts on a setting.

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
use rialto_plugin::host::Capability;
use rialto_protocol::{Delivery, Policy};

use crate::topic::Pattern;

pub use self::api::{Api, ApiKey};
pub use self::problem::{Problem, Problems};
pub(crate) use self::rules::CurrentRules;
pub use self::rules::{Rules, TopicOptions};

/// The configuration of a broker. [`Config::load`] and [`Config::parse`] check every value; a program that fills the
/// structs itself must keep to the ranges documented at the fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Addresses, browser origins, proxies and logging: `[server]`.
    pub server: Server,
    /// TLS: `[tls]`. Default none.
    pub tls: Option<Tls>,
    /// The HTTP API and its keys: `[api]`. Default none: the API is off.
    pub api: Option<Api>,
    /// How plugins are compiled: `[sandbox]`.
    pub sandbox: Sandbox,
    /// Limits: sizes, quotas, rate limits and timeouts: `[limits]`.
    pub limits: Limits,
    /// The topic rules: the `[[topic]]` tables in file order, the first match wins. Never empty after a load: a file
    /// without any gets one rule for `>`. At most 1,000.
    pub topics: Vec<TopicRule>,
    /// The plugins to load, by name: the `[plugin.NAME]` tables. At most 256; names are 1 to 64 of `a-z`, `0-9`, `-`.
    pub plugins: BTreeMap<String, PluginConfig>,
    /// The raw endpoints, at most 1,000, each with another path.
    pub endpoints: Vec<Endpoint>,
}

/// Addresses, browser origins, proxies and logging: `[server]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Addresses to listen on without TLS, 1 to 16 different ones; with [`Config::tls`] also none. Port 0 takes any free
    /// port. Default `127.0.0.1:8080`.
    pub listen: Vec<SocketAddr>,
    /// Threads that own sessions, 0 to 256; 0 (the default) means one per core.
    pub shards: usize,
    /// Whether the web pages are served. Default true.
    pub page: bool,
    /// Origin check: browser origins (`scheme://host[:port]`) that may connect besides the broker's own; `*` allows all. At most
    /// 1,000. Default none.
    pub allowed_origins: Vec<String>,
    /// Whether clients that send no `Origin` header, that is clients other than browsers, are rejected. Default false.
    pub require_origin: bool,
    /// Networks of reverse proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are trusted. At most 1,000. Default none.
    pub trusted_proxies: Vec<IpNet>,
    /// How long sessions may take to end when the broker stops, 0 to 600,000 ms. Default 10,000.
    pub shutdown_ms: u64,
    /// Path of the control socket, at most 107 bytes: a process that may open it may do everything. The empty path means none. Default
    /// none given: the `rialto` binary takes `$XDG_RUNTIME_DIR/rialto/PORT.sock` or `/tmp/rialto-UID/PORT.sock`, a program
    /// that embeds the broker none. Relative paths in a file start at the file's folder; after a load they have been joined
    /// with it.
    pub control: Option<PathBuf>,
    /// Least severe level that is logged: `error`, `warn`, `info` (the default), `debug` or `trace`.
    pub log: String,
}

/// The addresses with TLS, and their certificate: `[tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Addresses to listen on, 1 to 16 different ones. Port 0 takes any free port. Default `127.0.0.1:8443`.
    pub listen: Vec<SocketAddr>,
    /// PEM file with the certificate, followed by those that certify it. Relative paths in a file start at the file's folder;
    /// after a load they have been joined with it.
    pub certificate: PathBuf,
    /// PEM file with the key of the certificate (PKCS#8, RSA or SEC1), not encrypted. Paths as above.
    pub key: PathBuf,
    /// From how many days before its expiry the certificate is warned of, 0 to 3,650. Default 14.
    pub expiry_warn_days: u32,
    /// Interval at which the files are checked for changes, 50 to 3,600,000 ms. A change is used for new connections once two
    /// checks have seen it. Default 2,000.
    pub reload_ms: u64,
}

/// How plugins are compiled, and where their recordings are stored: `[sandbox]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Folder of compiled components, so that the next start need not compile them; it is made when it is not there, and
    /// not used when others can write to it. The empty path means none. Default none given: the `rialto` binary takes
    /// `$XDG_CACHE_HOME/rialto` or `~/.cache/rialto`, a program that embeds the broker none. Relative paths in a file start
    /// at the file's folder; after a load they have been joined with it.
    pub cache: Option<PathBuf>,
    /// Folder of recordings, made when the first is written. Default `recordings` beside the configuration. Paths as above.
    pub recordings: PathBuf,
    /// Time to compile one component, 1,000 to 600,000 ms. Default 120,000: while the broker serves, the compiler uses half of
    /// the cores at the lowest priority.
    pub compile_ms: u64,
    /// Address space of the process that compiles, 536,870,912 to 1,099,511,627,776 bytes. Default 2,147,483,648. Without a
    /// process of its own ([`Builder::compiler`](crate::Builder::compiler)) there is no such bound.
    pub compile_bytes: u64,
}

/// Limits: sizes, quotas, rate limits and timeouts: `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest message and frame from a client, 256 to 1,048,576 bytes. Default 65,536.
    pub message_bytes: usize,
    /// Fragments of one WebSocket message, 1 to 65,536. Default 256.
    pub fragments: usize,
    /// Subscriptions of one session, 1 to 1,000,000. Default 1,000.
    pub subscriptions: usize,
    /// Open connections that are not sessions (yet), 1 to 10,000,000; further ones are answered with 503, or closed at once.
    /// Default 10,000.
    pub connections: usize,
    /// Open connections of one address, sessions included, 1 to 10,000,000; of IPv6 addresses the first 64 bits count. Trusted
    /// proxies and this machine itself (127.0.0.1, ::1) are exempt. Default 1,000.
    pub connections_per_address: usize,
    /// Open sessions, 1 to 10,000,000. Default 100,000.
    pub sessions: usize,
    /// Open sessions of one user, 1 to 10,000,000. Default 1,000.
    pub sessions_per_user: usize,
    /// Rate limit: new sessions per second, 1 to 1,000,000; bursts of up to one second's worth. Further ones are answered with
    /// 503. Default 10,000.
    pub admissions_per_s: u32,
    /// Rate limit: TLS handshakes of one address per second, 1 to 1,000,000; bursts of up to one second's worth. Further
    /// connections are closed. Addresses are those of `connections_per_address`. Default 50.
    pub handshakes_per_s: u32,
    /// Topics in memory, 1 to 10,000,000. Default 100,000.
    pub topics: usize,
    /// Slow consumer limit: encoded frames queued for one session, 256 to 1,073,741,824 bytes and not less than `message_bytes`. Default
    /// 1,048,576.
    pub outbox_bytes: usize,
    /// Encoded frames queued for all sessions together, 256 to 1,099,511,627,776 bytes and not less than
    /// `outbox_bytes`; beyond it the largest outboxes are reduced first. Default 268,435,456.
    pub outboxes_bytes: usize,
    /// Unsent bytes that the operating system buffers for one session, 4,096 to
    /// 1,073,741,824; the rest waits in the outbox, where delivery policies apply. Linux and Android only. Default 131,072.
    pub unsent_bytes: u32,
    /// Back-pressure: messages queued for one shard before publishers have to wait, 1 to 1,048,576. Default 4,096.
    pub inbox_messages: usize,
    /// Conflation: different fields that the subscribers of one topic may use with `latest_by`, 0 to 65,536.
    /// Default 16.
    pub conflation_fields: usize,
    /// Memory for the history and idempotency keys of all topics together, 65,536 to 1,099,511,627,776 bytes; beyond it the
    /// least recently published topics lose theirs. Default 268,435,456.
    pub history_bytes: usize,
    /// Idempotency keys of one topic, 1 to 10,000,000; beyond it the oldest are dropped. Default 10,000.
    pub keys: usize,
    /// Different patterns with subscribers, 1 to 10,000,000. Default 100,000.
    pub patterns: usize,
    /// Presence: most members of one topic that are listed, 1 to 100,000; with more, only their count is sent. Default 200.
    pub presence_members: usize,
    /// Presence grace period: a user who reconnects within this time has not left, 0 to 600,000 ms. Default 5,000.
    pub presence_grace_ms: u64,
    /// Back-pressure: requests of one session in flight, 1 to 65,536; at the limit its socket is not read. Default 64.
    pub requests_in_flight: usize,
    /// Rate limit: invalid requests of one session per second, 1 to 1,000,000; bursts of up to one second's worth. Beyond it
    /// the session is closed. Default 100.
    pub bad_requests_per_s: u32,
    /// Rate limit: WebSocket pings and pongs of one session per second, 1 to 1,000,000; bursts of up to one second's worth.
    /// Beyond it the session is closed. Default 100.
    pub control_frames_per_s: u32,
    /// Timeout for the head of an HTTP request and for a TLS handshake, 10 to 600,000 ms. Default 5,000.
    pub header_ms: u64,
    /// Timeout for the rest of a WebSocket message that has begun, 10 to 600,000 ms. Default 10,000.
    pub frame_ms: u64,
    /// Write timeout, without any progress, 10 to 600,000 ms. Default 10,000.
    pub write_ms: u64,
    /// Keep-alive: interval between two pings of a session, 10 to 3,600,000 ms. Default 25,000.
    pub ping_ms: u64,
    /// Keep-alive timeout: how long nothing may arrive after a ping, 10 to 600,000 ms. Default 10,000.
    pub pong_ms: u64,
    /// Timeout for the peer to answer a close, 10 to 600,000 ms. Default 5,000.
    pub close_ms: u64,
    /// How long a topic without subscribers stays in memory, 10 to 86,400,000 ms. Default 60,000.
    pub topic_idle_ms: u64,
}

/// A topic rule: `[[topic]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRule {
    /// The topics that it applies to, unless an earlier rule matches them.
    pub pattern: Pattern,
    /// Name of the plugin that owns them, a key of [`Config::plugins`]; none by default.
    pub plugin: Option<String>,
    /// Whether messages say which session published them. Default false.
    pub reveal_publisher: bool,
    /// The delivery policy of subscriptions that name none. Default `queue`.
    pub delivery: Delivery,
    /// The strongest policy that a subscription may choose, in the order of [`Policy::ALL`]. Default `queue`:
    /// any.
    pub delivery_max: Policy,
    /// History: the past messages that are kept. Default none.
    pub history: Option<History>,
    /// Presence: whether subscribers can see who else is subscribed. Default false.
    pub presence: bool,
    /// Whether subscriptions by pattern select these topics; a plugin is not asked about those. Default none: true for
    /// topics without a plugin.
    pub patterns: Option<bool>,
    /// How long idempotency keys of publishes and calls are kept, 0 to 86,400,000 ms. Default 120,000.
    pub keys_ms: u64,
    /// What happens to requests while the plugin is down. Default `refuse`.
    pub on_failure: OnFailure,
}

/// What happens to requests to a topic whose plugin is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// They are refused with `plugin_failed`.
    #[default]
    Refuse,
    /// They take effect as if the topic had no plugin.
    Pass,
}

/// Isolation: what has its own instance of a plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// The plugin: one instance, one order for all its topics.
    #[default]
    Plugin,
    /// Each topic, with state of its own.
    Topic,
}

/// A raw endpoint, a path whose WebSockets a plugin serves: `[[endpoint]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The path, like `/` or `/feed`. Other requests to it are served as usual.
    pub path: String,
    /// Name of the plugin, a key of [`Config::plugins`].
    pub plugin: String,
}

/// Limits of a topic's history, whichever is reached first. The history is in memory and ends with the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Messages, 1 to 10,000,000. Default 1,000.
    pub messages: usize,
    /// Bytes of their payloads, 256 to 1,099,511,627,776. Default 1,048,576.
    pub bytes: usize,
    /// Age of a message, 10 to 2,592,000,000 ms (30 days). Default 3,600,000.
    pub age_ms: u64,
}

/// One plugin, its limits and its capabilities: `[plugin.NAME]`.
#[derive(Clone, PartialEq)]
pub struct PluginConfig {
    /// The component. Relative paths in a file start at the file's folder; after a load they have been joined with it.
    pub path: PathBuf,
    /// Memory of an instance, 65,536 to 4,294,967,296 bytes. Default 33,554,432.
    pub memory_bytes: u64,
    /// Time for one hook, 1 to 60,000 ms. Default 50.
    pub hook_ms: u64,
    /// Mailbox: events queued for an instance before requests fail with `busy`, 1 to 1,048,576. Default 1,024.
    pub mailbox: usize,
    /// Largest component file, 1,024 to 268,435,456 bytes. Default 8,388,608.
    pub component_bytes: u64,
    /// State it may keep in the store, 0 to 1,099,511,627,776 bytes. Default 67,108,864.
    pub state_bytes: u64,
    /// Bytes that one hook may pass to the host, 1,024 to 268,435,456 bytes. Default 1,048,576.
    pub output_bytes: usize,
    /// Host calls of one hook, 1 to 1,000,000. Default 1,000.
    pub host_calls: usize,
    /// Effects of one hook, 1 to 1,000,000. Default 10,000.
    pub effects: usize,
    /// Pending timers, 0 to 10,000,000. Default 10,000.
    pub timers: usize,
    /// The capabilities that it is granted: `state`, `timers`, `sessions`, `publish PATTERN` and `subscribe PATTERN`. It
    /// may use those that it requests and is granted; a plugin that requests more does not load. Default `state`, `timers`, `sessions`.
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
