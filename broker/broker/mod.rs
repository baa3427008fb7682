//! The broker: connects topics, engine, hub and plugins, with one entry for each operation. It knows sessions by their keys only,
//! and no transport.

pub(crate) mod admin;
mod authentication;
mod call;
mod explain;
pub(crate) mod history;
mod idempotency;
mod kept_past;
mod pattern;
pub(crate) mod plugins;
pub(crate) mod presence;
mod publish;
pub(crate) mod reload;
mod subscribe;
pub(crate) mod topic_logic;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rialto_protocol::{CloseCode, Closing, ErrorCode, Failure, Limits as LimitsFrame};
use rialto_protocol::{Policy, Position, Published, Reply};

pub(crate) use self::call::{CallRequest, CallTarget, PluginCall};
pub(crate) use self::idempotency::{check_key, key_reused, too_many_keys};
use self::plugins::PluginManager;
pub use self::plugins::PluginStatus;
pub use self::publish::PublishOptions;
pub(crate) use self::publish::PublishRequest;
pub use self::reload::{ReloadError, Reloaded};
pub(crate) use self::subscribe::{Departure, SubscribeOptions, SubscribeRequest, presence_of};
use crate::access::{self, Action, Target};
use crate::auth::Authenticator;
use crate::authorizer::Authorizer;
use crate::clock::Clock;
use crate::config::CurrentConfig;
use crate::engine::Engine;
use crate::hub::Hub;
use crate::limits::request_rates::{SharedRates, rates_of};
use crate::limits::seats::SessionLimits;
use crate::metrics::{Metrics, Snapshot};
use crate::request::caller::Caller;
use crate::request::responder::{RequestResult, Responder};
use crate::shares::{Holder, Shares};
use crate::store::Store;
use crate::topic::Topic;
use crate::topics::presence_timer::PresenceTimer;
use crate::topics::{TopicEntry, TopicRegistry};

/// The least time that the broker's threads have to stop, even where sessions have none.
const STOP_WAIT_MIN: Duration = Duration::from_secs(1);

/// A running broker. Cheap to clone; all clones are the same broker.
///
/// Built with [`Broker::builder`](crate::Builder). It runs on threads of its own, so it can be called from any runtime.
#[derive(Clone, Debug)]
pub struct Broker {
    pub(crate) core: Arc<Core>,
}

/// The status of a topic in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicStatus {
    /// The position of its last message.
    pub position: Position,
    /// Subscriptions of all sessions.
    pub subscribers: u64,
    /// Messages that were not delivered because of the subscriber's delivery policy, by [`Policy::index`]: a message counts once
    /// for each such subscriber.
    pub skipped: [u64; Policy::ALL.len()],
}

/// Applies a log level.
#[derive(Clone)]
pub(crate) struct SetLogLevel(pub(crate) Arc<dyn Fn(&str) + Send + Sync>);

impl fmt::Debug for SetLogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetLogLevel")
    }
}

/// What all clones of a [`Broker`] share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Arc<CurrentConfig>,
    /// The file that a reload reads again.
    pub(crate) config_file: Option<PathBuf>,
    /// The folder for compiled plugins where the configuration names none.
    pub(crate) usual_cache: Option<PathBuf>,
    /// Applies another log level; the program that embeds the broker has one of its own.
    pub(crate) set_log_level: Option<SetLogLevel>,
    /// Held during a reload.
    pub(crate) reloading: Mutex<()>,
    pub(crate) hub: Hub,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    pub(crate) node: Arc<str>,
    /// The features that clients are told.
    pub(crate) features: &'static [&'static str],
    pub(crate) engine: Engine,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) topics: TopicRegistry,
    pub(crate) plugins: Arc<dyn PluginManager>,
    pub(crate) auth: Authenticator,
    /// Asks the program that embeds the broker, where that wants to be asked.
    pub(crate) authorizer: Option<Arc<Authorizer>>,
    pub(crate) session_limits: SessionLimits,
    /// The rates that sessions of a user or an address share.
    pub(crate) rates: SharedRates,
    /// The memory of idempotency keys.
    pub(crate) key_shares: Arc<Shares>,
    pub(crate) next_shard: AtomicUsize,
    /// Whether `shutdown` has begun.
    pub(crate) is_stopping: AtomicBool,
    pub(crate) presence_timer: PresenceTimer,
}

impl Drop for Core {
    fn drop(&mut self) {
        // The last clone may be dropped on one of the broker's own threads, which cannot wait for themselves.
        self.plugins.signal_stop();
        self.hub.signal_stop();
    }
}

impl Broker {
    /// The metrics at this moment.
    pub fn metrics(&self) -> Snapshot {
        self.core.metrics.snapshot()
    }

    /// The status of a topic; none if it is not in memory, or not a valid topic.
    pub fn topic(&self, topic: &str) -> Option<TopicStatus> {
        let entry = self.core.topics.peek(&Topic::parse(topic).ok()?)?;
        let mut position = None;
        // A stream that was retired meanwhile is not in memory any more.
        entry.stream.join(|view| position = Some(view.position())).ok()?;
        let (subscribers, skipped) = (entry.reach.audience().subscribers(), entry.reach.audience().skipped());
        Some(TopicStatus { position: position?, subscribers, skipped })
    }

    /// How many threads own sessions.
    pub fn shards(&self) -> usize {
        self.core.hub.shards()
    }

    /// Ends all sessions with close code 1001 and a hint to reconnect, waits until they are gone or `deadline` has
    /// passed, and stops all threads. Must be called within a tokio runtime. Returns whether every session ended in time.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        self.core.is_stopping.store(true, SeqCst);
        self.core.hub.close_all(&Closing {
            code: CloseCode::GoingAway.number(),
            message: "the broker is stopping".to_owned(),
            retry_after_ms: Some(1_000),
        });
        let ended = tokio::time::timeout(deadline, async {
            while self.core.metrics.sessions.get() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let ended = ended.await.is_ok();
        // Joined on another thread and with a time limit, because a hook may be running.
        let core = Arc::clone(&self.core);
        let stopped = tokio::task::spawn_blocking(move || {
            core.plugins.stop();
            core.hub.stop();
        });
        if tokio::time::timeout(deadline.max(STOP_WAIT_MIN), stopped).await.is_err() {
            tracing::warn!("a plugin's hook is still running; its thread is left behind");
        }
        ended
    }

    /// Whether requests of the embedding program are still carried out.
    ///
    /// # Errors
    /// `unavailable` once [`Broker::shutdown`] has begun: nobody would get what is published.
    fn check_running(&self) -> Result<(), Failure> {
        match self.core.is_stopping.load(SeqCst) {
            true => Err(Failure::new(ErrorCode::Unavailable, "the broker is stopping")),
            false => Ok(()),
        }
    }

    /// Decides whether a caller may do something in a topic. Each operation asks this before it brings the topic into memory.
    ///
    /// # Errors
    /// `forbidden`.
    fn check(&self, caller: Caller<'_>, action: Action<'_>, topic: &Topic) -> Result<(), Failure> {
        access::check(caller, action, Target::Topic { topic, options: &|| self.core.topics.options(topic) })
    }

    /// The topic, if the caller may do something in it.
    ///
    /// # Errors
    /// `forbidden`, and where the topic cannot be brought into memory.
    fn admit(&self, caller: Caller<'_>, action: Action<'_>, topic: &Topic) -> Result<Arc<TopicEntry>, Failure> {
        let topics = &self.core.topics;
        let Some(entry) = topics.used(topic) else {
            self.check(caller, action, topic)?;
            return topics.entry(topic, &self.core.engine, || caller.holder());
        };
        let options = || Some(entry.stream.rule_to_decide());
        access::check(caller, action, Target::Topic { topic, options: &options })?;
        Ok(entry)
    }

    /// The shard that gets the next session: each in turn.
    pub(crate) fn next_shard(&self) -> usize {
        self.core.next_shard.fetch_add(1, Relaxed) % self.core.hub.shards()
    }

    /// The limits in the `welcome` frame of a session of this holder.
    pub(crate) fn welcome_limits(&self, holder: &Holder) -> LimitsFrame {
        let config = self.core.config.load();
        let limits = &config.limits;
        LimitsFrame {
            message_bytes: limits.message_bytes,
            subscriptions: limits.subscriptions,
            outbox_bytes: limits.outbox_bytes,
            rates: rates_of(holder, &config.rates),
        }
    }
}

/// Reads a topic's name.
///
/// # Errors
/// `forbidden` for a topic of the broker's own, `bad_request` for a name that is no topic.
pub(crate) fn parse_topic(name: &str) -> Result<Topic, Failure> {
    Topic::parse(name).map_err(|error| {
        let code = match error {
            crate::topic::TopicError::Reserved { .. } => ErrorCode::Forbidden,
            _ => ErrorCode::BadRequest,
        };
        Failure::new(code, error.to_string())
    })
}

/// Answers a publish.
pub(crate) fn answer_published(responder: Responder, published: Result<Published, Failure>) {
    match published {
        Ok(published) => responder.ok(Reply::Published(published)),
        Err(failure) => responder.fail(failure),
    }
}

async fn wait(outcome: tokio::sync::oneshot::Receiver<RequestResult>) -> RequestResult {
    outcome.await.unwrap_or_else(|_| Err(Failure::new(ErrorCode::Internal, "the request was dropped")))
}
