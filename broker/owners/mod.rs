//! Plugins as owners of topics: turns requests into hooks, and what a hook decided into messages and answers. The sandbox
//! itself is the business of `plugin`.

mod asking;
mod owner;
mod people;
mod settling;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;

pub(crate) use self::owner::Owner;
use self::settling::{First, Settling};
use crate::broker::{Broker, PluginStatus};
use crate::plugin::{Done, Host, Manifest};

type ByName = BTreeMap<Arc<str>, Arc<Owner>>;

/// All plugins of a broker, by name.
#[derive(Default)]
pub(crate) struct Owners {
    by_name: ArcSwap<ByName>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Keeps the engine's watchdog alive as long as hooks can run.
    host: Option<Host>,
}

impl Owners {
    pub(crate) fn new(host: Option<Host>) -> Self {
        Self { by_name: ArcSwap::default(), threads: Mutex::default(), host }
    }

    /// The engine, if there is any.
    pub(crate) fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// Takes a plugin in that runs.
    pub(crate) fn add(&self, owner: Owner, thread: JoinHandle<()>) {
        let owner = Arc::new(owner);
        self.by_name.rcu(|by_name| {
            let mut by_name = ByName::clone(by_name);
            by_name.insert(Arc::clone(owner.name()), Arc::clone(&owner));
            by_name
        });
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Owner>> {
        self.by_name.load().get(name).cloned()
    }

    pub(crate) fn status(&self, broker: &Broker) -> Vec<PluginStatus> {
        self.by_name.load().values().map(|owner| owner.status(broker)).collect()
    }

    /// Tells the plugins' threads to end.
    pub(crate) fn signal_stop(&self) {
        for owner in self.by_name.load().values() {
            owner.stop();
        }
    }

    /// Ends the plugins' threads after the hook that each is in; what still waits is dropped.
    pub(crate) fn stop(&self) {
        self.signal_stop();
        for thread in std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner)) {
            if thread.join().is_err() {
                tracing::error!("a plugin's thread panicked");
            }
        }
    }
}

impl fmt::Debug for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_name.load().keys()).finish()
    }
}

/// Does what a hook wanted that nobody waits for, of the plugin of this name. Whether it is kept.
pub(crate) fn settle_alone(broker: &Broker, plugin: &str, done: Done) -> bool {
    let Some(owner) = broker.core.owners.get(plugin) else { return false };
    let settling = Settling { broker, owner: &owner, by: None };
    match settling.settle(First::Nothing, Vec::new(), done.wanted) {
        Ok(_) => true,
        Err(failure) => {
            tracing::error!(plugin, %failure, "what a timer's hook wanted could not be done");
            false
        }
    }
}

/// A message of a socket on a raw endpoint.
#[derive(Debug)]
pub(crate) enum Bare {
    Text(String),
    Binary(Vec<u8>),
}

/// What is known of the version that runs.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) manifest: Manifest,
    pub(crate) grants: Vec<String>,
}
