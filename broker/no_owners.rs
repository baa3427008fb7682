//! Stands in for `owners.rs` where the feature `plugins` is off: no topic has an owner.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, OnceLock, Weak};

use rialto_protocol::Payload;

use crate::broker::{Broker, Core, Question, Wish};
use crate::clock::Clock;
use crate::config::{CurrentRules, Endpoint, PluginConfig, Sandbox, TopicRule};
use crate::engine::Keyed;
use crate::hub::{SessionKey, UnderWay};
use crate::metrics::Metrics;
use crate::request::caller::Client;
use crate::request::responder::Answer;
use crate::store::Store;
use crate::topic::Topic;
use crate::topics::Entry;

/// No plugins.
#[derive(Debug)]
pub(crate) struct Owners;

/// What was wanted when the broker started.
#[allow(dead_code, reason = "no plugin is loaded, now or later")]
pub(crate) struct Wanted {
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
pub(crate) struct Owner(Infallible);

/// There are no files to watch.
///
/// # Errors
/// None.
pub(crate) fn watch(_: Weak<Core>, _: Receiver<()>) -> std::io::Result<()> {
    Ok(())
}

impl Owners {
    /// # Errors
    /// [`LoadFailure`] when any plugin is wanted.
    pub(crate) fn start(wanted: Wanted, _: Loading, _: SyncSender<()>) -> Result<Self, LoadFailure> {
        let Some((name, plugin)) = wanted.plugins.into_iter().next() else { return Ok(Self) };
        let reason = "this build of Rialto has no plugins (Cargo feature `plugins`)".to_owned();
        Err(LoadFailure::Plugin { name, path: plugin.path.display().to_string(), reason })
    }

    pub(crate) fn get(&self, _: &str) -> Option<Arc<Owner>> {
        None
    }

    pub(crate) fn signal_stop(&self) {}

    pub(crate) fn stop(&self) {}
}

impl Owner {
    pub(crate) fn publish(
        &self,
        _: &Broker,
        _: &Arc<Entry>,
        _: (Option<&Client>, Option<SessionKey>, u8),
        _: Payload,
        _: Option<Keyed>,
        _: Answer,
    ) {
        match self.0 {}
    }

    pub(crate) fn subscribe(&self, _: &Broker, _: Arc<Entry>, _: &Client, _: Wish, _: Answer) {
        match self.0 {}
    }

    pub(crate) fn unsubscribe(&self, _: &Broker, _: &Topic, _: &Client, _: Option<Answer>) {
        match self.0 {}
    }

    pub(crate) fn is_down(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn has_let_in(&self, _: &Topic, _: &str) -> bool {
        match self.0 {}
    }

    pub(crate) fn connect(&self, _: &Broker, _: &Client, _: &Arc<str>) -> Result<(), String> {
        match self.0 {}
    }

    pub(crate) fn message(&self, _: &Broker, _: &Client, _: &Arc<str>, _: Bare, _: UnderWay) -> Result<(), Bare> {
        match self.0 {}
    }

    pub(crate) fn disconnect(&self, _: &Broker, _: &Client, _: &Arc<str>) {
        match self.0 {}
    }

    pub(crate) fn call(&self, _: &Broker, _: Option<&Client>, _: Option<Arc<Entry>>, _: Question, _: Answer) {
        match self.0 {}
    }
}
