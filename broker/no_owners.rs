//! Stands in for `topic_plugins.rs` where the feature `plugins` is off: no topic has an owner.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, OnceLock, Weak};

use rialto_protocol::Payload;

use crate::broker::{Broker, CallRequest, Core, SubscribeOptions};
use crate::clock::Clock;
use crate::config::{CurrentRules, Endpoint, PluginConfig, Sandbox, TopicRule};
use crate::engine::KeyedRequest;
use crate::hub::{InFlightGuard, SessionKey};
use crate::metrics::Metrics;
use crate::request::caller::CallerSession;
use crate::request::responder::Responder;
use crate::store::Store;
use crate::topic::Topic;
use crate::topics::TopicEntry;

/// No plugins.
#[derive(Debug)]
pub(crate) struct TopicPlugins;

/// What was wanted when the broker started.
#[allow(dead_code, reason = "no plugin is loaded, now or later")]
pub(crate) struct InitialPlugins {
    pub(crate) plugins: BTreeMap<String, PluginConfig>,
    pub(crate) topics: Vec<TopicRule>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) file: Option<PathBuf>,
}

/// What plugins would be made with.
#[allow(dead_code, reason = "no plugin is made")]
pub(crate) struct Loading {
    pub(crate) sandbox: Sandbox,
    pub(crate) compiler: Option<PathBuf>,
    pub(crate) rules: Arc<CurrentRules>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    pub(crate) late: Arc<OnceLock<Weak<Core>>>,
}

/// Why a plugin does not run.
#[allow(dead_code, reason = "no sandbox is asked for")]
pub(crate) enum LoadFailure {
    Sandbox(String),
    Plugin { name: String, path: String, reason: String },
}

/// A message of a socket on a raw endpoint.
#[derive(Debug)]
#[allow(dead_code, reason = "nobody is there to take it")]
pub(crate) enum Bare {
    Text(String),
    Binary(Vec<u8>),
}

/// A plugin that owns topics: there is none.
pub(crate) struct PluginHandle(Infallible);

/// There are no files to watch.
///
/// # Errors
/// None.
pub(crate) fn watch(_: Weak<Core>, _: Receiver<()>) -> std::io::Result<()> {
    Ok(())
}

impl TopicPlugins {
    /// # Errors
    /// [`LoadFailure`] when any plugin is wanted.
    pub(crate) fn start(wanted: InitialPlugins, _: Loading, _: SyncSender<()>) -> Result<Self, LoadFailure> {
        let Some((name, plugin)) = wanted.plugins.into_iter().next() else { return Ok(Self) };
        let reason = "this build of Rialto has no plugins (Cargo feature `plugins`)".to_owned();
        Err(LoadFailure::Plugin { name, path: plugin.path.display().to_string(), reason })
    }

    pub(crate) fn get(&self, _: &str) -> Option<Arc<PluginHandle>> {
        None
    }

    pub(crate) fn signal_stop(&self) {}

    pub(crate) fn stop(&self) {}
}

impl PluginHandle {
    pub(crate) fn publish(
        &self,
        _: &Broker,
        _: &Arc<TopicEntry>,
        _: (Option<&CallerSession>, Option<SessionKey>, u8),
        _: Payload,
        _: Option<KeyedRequest>,
        _: Responder,
    ) {
        match self.0 {}
    }

    pub(crate) fn subscribe(
        &self,
        _: &Broker,
        _: Arc<TopicEntry>,
        _: &CallerSession,
        _: SubscribeOptions,
        _: Responder,
    ) {
        match self.0 {}
    }

    pub(crate) fn unsubscribe(&self, _: &Broker, _: &Topic, _: &CallerSession, _: Option<Responder>) {
        match self.0 {}
    }

    pub(crate) fn is_down(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn has_let_in(&self, _: &Topic, _: &str) -> bool {
        match self.0 {}
    }

    pub(crate) fn connect(&self, _: &Broker, _: &CallerSession, _: &Arc<str>) -> Result<(), String> {
        match self.0 {}
    }

    pub(crate) fn message(
        &self,
        _: &Broker,
        _: &CallerSession,
        _: &Arc<str>,
        _: Bare,
        _: InFlightGuard,
    ) -> Result<(), Bare> {
        match self.0 {}
    }

    pub(crate) fn disconnect(&self, _: &Broker, _: &CallerSession, _: &Arc<str>) {
        match self.0 {}
    }

    pub(crate) fn call(
        &self,
        _: &Broker,
        _: Option<&CallerSession>,
        _: Option<Arc<TopicEntry>>,
        _: CallRequest,
        _: Responder,
    ) {
        match self.0 {}
    }
}
