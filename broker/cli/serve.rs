//! `rialto`: starts a broker from a configuration, prints what it serves and stops it gracefully on a signal.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use super::check::wants_color;
use super::output::Output;
use super::{complain, control, escaped};
use crate::config::{Api, Config, Limits, TopicRule};
use crate::{BindError, Broker, Codec, Delivery, Server, TlsError};

/// The exit code for a configuration with problems, the same as that of `rialto check`.
const BAD_CONFIGURATION: u8 = 2;

/// The plugin of the page at /.
const CHAT: &str = "chat";

/// The plugin of the page at /market.
const MARKET: &str = "market";

/// Most API keys that are named at the start.
const NAMED_MAX: usize = 5;

/// Serves until a signal.
pub(super) fn run(path: &Path) -> ExitCode {
    let config = match Config::load_with_warnings(path) {
        Ok((config, warnings)) => {
            if let Some(warnings) = warnings {
                let _ = writeln!(std::io::stderr(), "{}\n", warnings.render(wants_color()));
            }
            config
        }
        Err(problems) => {
            // If standard error is closed, the exit code still reports the problem.
            let _ = writeln!(std::io::stderr(), "{}", problems.render(wants_color()));
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let said = match Said::start(&config.server.log) {
        Ok(said) => said,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    allow_files();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(serve(path, config, &said)).unwrap_or_else(|error| {
        said.err.say(format!("error: {}\n", escaped::lines(&format!("{error:#}"))).as_bytes());
        ExitCode::FAILURE
    });
    // A thread that is left must not keep the process alive.
    runtime.shutdown_background();
    said.flush();
    code
}

async fn serve(path: &Path, config: Config, said: &Said) -> anyhow::Result<ExitCode> {
    // First of all: a signal that comes before has its usual effect, which of SIGHUP is to end the process.
    let mut signals = Signals::listen()?;
    let hangup = signal(SignalKind::hangup())?;
    let (mut settings, usual_cache, level) = (config.clone(), usual_cache(), said.level.clone());
    settings.sandbox.cache = settings.sandbox.cache.or_else(|| usual_cache.clone());
    let builder = Broker::builder().config(settings).config_file(path).compiler(own_program());
    let builder = builder.usual_cache(usual_cache).on_log_level(move |name| set_level(&level, name));
    // Plugins may take their time to be compiled, and whoever wants to stop does not wait for that.
    let starting = tokio::task::spawn_blocking(move || builder.start());
    let broker = tokio::select! {
        started = starting => started??,
        () = signals.next() => {
            said.print("Stopped before everything was loaded.\n");
            said.flush();
            std::process::exit(0)
        }
    };
    let mut server = Server::bind(broker.clone(), &config.server).map_err(explain)?;
    if let Some(tls) = &config.tls {
        server = server.with_tls(tls).map_err(explain_tls)?;
    }
    if let Some(api) = &config.api {
        server = server.with_api(api);
    }
    open_control(&mut server, config.server.control.as_deref())?;
    said.print(&escaped::lines(&banner(path, &config, &broker, &server)));
    let reloads = tokio::spawn(reload_on_signal(broker.clone(), hangup));
    server.run(signals.next()).await;
    reloads.abort();
    said.print("Stopping: sessions are closed with a request to reconnect. A second signal stops at once.\n");
    let deadline = Duration::from_millis(broker.core.config.load().server.shutdown_ms);
    tokio::select! {
        ended = broker.shutdown(deadline) => {
            said.print(if ended { "Stopped.\n" } else { "Stopped; some sessions did not end in time and were dropped.\n" });
            Ok(ExitCode::SUCCESS)
        }
        () = signals.next() => {
            said.print("Stopped at once.\n");
            said.flush();
            // Threads that hang must not keep the process alive: nothing is left to save.
            std::process::exit(1)
        }
    }
}

/// Opens the control socket. A path from the configuration has to work; without the default one the broker still serves.
fn open_control(server: &mut Server, named: Option<&Path>) -> anyhow::Result<()> {
    let port = server.addresses().iter().chain(server.tls_addresses()).map(SocketAddr::port).next();
    let path = match (named, port) {
        (Some(path), _) if path.as_os_str().is_empty() => return Ok(()),
        (Some(path), _) => return Ok(server.open_control(path)?),
        (None, None) => return Ok(()),
        (None, Some(port)) => control::usual_folder().join(format!("{port}.sock")),
    };
    if let Err(error) = server.open_control(&path) {
        tracing::warn!(%error, "no control socket: commands like `rialto reload` cannot reach this broker");
    }
    Ok(())
}

/// Applies the configuration file again at each SIGHUP. The outcome is logged by the reload itself.
async fn reload_on_signal(broker: Broker, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        let _ = broker.reload_file().await;
    }
}

/// This program, also if its file has been replaced meanwhile.
fn own_program() -> PathBuf {
    let linked = PathBuf::from("/proc/self/exe");
    if linked.exists() { linked } else { std::env::current_exe().unwrap_or(linked) }
}

/// The default folder for compiled plugins.
fn usual_cache() -> Option<PathBuf> {
    // Relative paths here are invalid (XDG Base Directory Specification).
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let caches = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    caches.map(|caches| caches.join("rialto"))
}

/// An error with a hint for an address that cannot be bound.
fn explain(error: BindError) -> anyhow::Error {
    let hint = match error.reason.kind() {
        std::io::ErrorKind::AddrInUse => "another program listens there: stop it, or choose another `listen`",
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need more rights: choose another `listen`",
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address: choose another `listen`",
        _ => return error.into(),
    };
    anyhow::anyhow!("{error}\n  = help: {hint}")
}

fn explain_tls(error: TlsError) -> anyhow::Error {
    match error {
        TlsError::Bind(error) => explain(error),
        other => anyhow::anyhow!("cannot serve with TLS: {other}"),
    }
}

/// The signals that stop the broker.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Raises the limit of open files as far as allowed: every connection is one.
fn allow_files() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// A warning if fewer files may be open than connections are allowed.
fn describe_files(limits: &Limits) -> Option<String> {
    let (files, _) = rlimit::Resource::NOFILE.get().ok()?;
    let connections = (limits.sessions + limits.connections) as u64;
    (files < connections)
        .then(|| format!("{files} may be open: fewer connections than [limits] allows ({connections})"))
}

/// Both standard streams, which the broker never waits for.
struct Said {
    out: Output,
    err: Output,
    level: Level,
}

/// The level from which on lines are logged.
type Level = reload::Handle<LevelFilter, Registry>;

impl Said {
    /// Logs to standard error from now on.
    fn start(level: &str) -> std::io::Result<Self> {
        let out = Output::start("rialto-stdout", std::io::stdout())?;
        let err = Output::start("rialto-log", std::io::stderr())?;
        let (filter, level) = reload::Layer::new(level_filter(level));
        let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let lines = tracing_subscriber::fmt::layer().with_writer(err.clone()).with_ansi(color);
        tracing_subscriber::registry().with(filter).with(lines).init();
        Ok(Self { out, err, level })
    }

    fn print(&self, text: &str) {
        self.out.say(text.as_bytes());
    }

    fn flush(&self) {
        self.out.flush();
        self.err.flush();
    }
}

/// Logs from another level on.
fn set_level(level: &Level, name: &str) {
    if let Err(error) = level.reload(level_filter(name)) {
        tracing::error!(%error, "the log level stays as it was");
    }
}

fn level_filter(name: &str) -> LevelFilter {
    name.parse().unwrap_or(LevelFilter::INFO)
}

fn banner(path: &Path, config: &Config, broker: &Broker, server: &Server) -> String {
    let mut text = format!("Rialto {} serves {}\n\n", env!("CARGO_PKG_VERSION"), path.display());
    let plugins = describe_plugins(broker);
    let has_chat = plugins.iter().any(|(name, _)| name == CHAT);
    let has_market = plugins.iter().any(|(name, _)| name == MARKET);
    let subprotocols = Codec::ALL.map(Codec::subprotocol).join(", ");
    for (s, addresses) in [("", server.addresses()), ("s", server.tls_addresses())] {
        for address in addresses {
            let host = reachable(*address);
            if config.server.page {
                // Without the chat's plugin it is a page for any topics.
                let name = if has_chat { "Chat" } else { "Page" };
                line(&mut text, name, &format!("http{s}://{host}/"));
                if has_market {
                    line(&mut text, "Market", &format!("http{s}://{host}/market"));
                }
            }
            line(&mut text, "WebSocket", &format!("ws{s}://{host}/ws  ({subprotocols})"));
            line(&mut text, "Events", &format!("http{s}://{host}/sse?topic=TOPIC"));
            if let Some(api) = &config.api {
                let keys = describe_keys(api);
                line(&mut text, "HTTP API", &format!("http{s}://{host}/api/v1/openapi.json  ({keys})"));
            }
        }
    }
    let width = config.topics.iter().map(|rule| rule.pattern.as_str().len());
    let width = width.chain(plugins.iter().map(|(name, _)| name.len())).max().unwrap_or(0);
    text.push_str("\n  Plugins\n");
    if plugins.is_empty() {
        text.push_str("    none\n");
    }
    for (name, about) in &plugins {
        let _ = writeln!(text, "    {name:width$}  {about}");
    }
    text.push_str("  Topics\n");
    for rule in &config.topics {
        let _ = writeln!(text, "    {:width$}  {}", rule.pattern.as_str(), describe_rule(rule));
    }
    if let Some(files) = describe_files(&config.limits) {
        let _ = writeln!(text, "  Files\n    {files}");
    }
    let shards = broker.shards();
    let plural = if shards == 1 { "" } else { "s" };
    let _ = writeln!(text, "\n  {shards} shard{plural}. Ctrl-C stops.");
    text
}

fn describe_keys(api: &Api) -> String {
    let names: Vec<&str> = api.keys.iter().take(NAMED_MAX).map(|key| key.name.as_str()).collect();
    let more = if api.keys.len() > NAMED_MAX { ", ..." } else { "" };
    format!("for {}{more}", names.join(", "))
}

fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name:10} {value}");
}

/// An address for a URL: an unspecified one becomes the loopback address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Each plugin's name, and its package, version, size and hash.
fn describe_plugins(broker: &Broker) -> Vec<(String, String)> {
    let describe = |plugin: crate::PluginStatus| {
        let crate::PluginStatus { name, package, version, hash, bytes, .. } = plugin;
        if plugin.health == crate::PluginHealth::NotLoaded {
            return (name, "NOT LOADED: `rialto plugin status` says why".to_owned());
        }
        (name, format!("{package} {version}, {} KiB, sha256 {hash:.16}", bytes.div_ceil(1024)))
    };
    broker.plugins().into_iter().map(describe).collect()
}

fn describe_rule(rule: &TopicRule) -> String {
    let mut text = match &rule.plugin {
        Some(plugin) => format!("plugin {plugin}"),
        None => "open".to_owned(),
    };
    if rule.reveal_publisher {
        text.push_str(", messages name their publisher");
    }
    if rule.delivery != Delivery::Queue {
        text.push_str(&format!(", delivers {}", rule.delivery));
    }
    text
}
