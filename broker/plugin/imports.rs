//! The host side of the plugin protocol: what a hook may call. Effects and writes are kept here until the hook returns.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::convert::payload_from_guest;
use super::limits::{Budget, Memory};
use super::{Effect, PluginLimits};
use crate::identity;
use crate::store::{self, Batch, Writes};
use crate::topic::Topic;

/// The code that wasmtime makes of the WIT files.
pub(super) mod bindings {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from sdk/plugin/wit")]

    wasmtime::component::bindgen!({
        path: "sdk/plugin/wit/v1",
        world: "plugin",
        imports: { default: trappable },
    });
}

use bindings::rialto::plugin::{messages, state, system, types};

/// Says whether a topic belongs to the plugin.
pub(super) type Owns = Arc<dyn Fn(&Topic) -> bool + Send + Sync>;

/// Log lines and keys are kept this short.
const LOG_BYTES_MAX: usize = 8 * 1024;
const KEY_BYTES_MAX: usize = 1024;

/// What an entry of a scan costs beyond its key and value, so that many tiny entries are not free.
const ENTRY_BYTES: usize = 64;

/// What an instance's store holds: its identity, and what the current hook has asked for so far.
pub(super) struct Guest {
    pub(super) memory: Memory,
    plugin: Arc<str>,
    owns: Owns,
    store: Arc<dyn store::Store>,
    limits: PluginLimits,
    hook: Hook,
}

/// One hook call in progress.
struct Hook {
    now_ms: u64,
    budget: Budget,
    effects: Vec<Effect>,
    writes: BTreeMap<String, Option<Arc<[u8]>>>,
    /// By how much the writes change the size of the state.
    growth: isize,
    last_error_line: Option<String>,
}

impl Hook {
    fn new(limits: &PluginLimits, now_ms: u64) -> Self {
        Self {
            now_ms,
            budget: Budget::new(limits),
            effects: Vec::new(),
            writes: BTreeMap::new(),
            growth: 0,
            last_error_line: None,
        }
    }
}

impl Guest {
    pub(super) fn new(plugin: Arc<str>, owns: Owns, store: Arc<dyn store::Store>, limits: PluginLimits) -> Self {
        let (memory, hook) = (Memory::new(&limits), Hook::new(&limits, 0));
        Self { memory, plugin, owns, store, limits, hook }
    }

    /// A new hook call begins; whatever an earlier one left is gone.
    pub(super) fn begin(&mut self, now_ms: u64) {
        self.hook = Hook::new(&self.limits, now_ms);
        self.memory.refused = false;
    }

    /// The hook returned `ok`: its writes are committed, its effects given away.
    pub(super) fn commit(&mut self) -> Vec<Effect> {
        let (namespace, values) = (Arc::clone(&self.plugin), std::mem::take(&mut self.hook.writes));
        self.store.commit(Batch { state: Some(Writes { namespace, values }), ..Batch::default() });
        std::mem::take(&mut self.hook.effects)
    }

    /// The last line the guest logged as an error in this hook: where a panic says its file and line.
    pub(super) fn last_error_line(&mut self) -> Option<String> {
        self.hook.last_error_line.take()
    }

    /// What a returned payload costs.
    pub(super) fn returned(&mut self, bytes: usize) -> Result<(), super::limits::Exceeded> {
        self.hook.budget.bytes(bytes)
    }

    fn value(&self, key: &str) -> Option<Arc<[u8]>> {
        match self.hook.writes.get(key) {
            Some(written) => written.clone(),
            None => self.store.get(&self.plugin, key),
        }
    }

    fn write(&mut self, key: String, value: Option<Arc<[u8]>>) -> Result<(), state::Refusal> {
        let size = |key: &str, value: &Option<Arc<[u8]>>| value.as_ref().map_or(0, |value| key.len() + value.len());
        let growth = self.hook.growth + size(&key, &value) as isize - size(&key, &self.value(&key)) as isize;
        let total = self.store.state_bytes(&self.plugin).saturating_add_signed(growth);
        if value.is_some() && total > self.limits.state_bytes {
            let quota = self.limits.state_bytes;
            return Err(state::Refusal::Limit(format!("state_bytes: the state would be larger than {quota} bytes")));
        }
        self.hook.growth = growth;
        self.hook.writes.insert(key, value);
        Ok(())
    }

    /// The first entry from `from` on that this hook sees: what is stored, under what it has written.
    fn next(&self, from: Bound<&str>) -> Option<(String, Arc<[u8]>)> {
        let mut from = from.map(str::to_owned);
        loop {
            let at = from.as_ref().map(String::as_str);
            let stored = self.store.next(&self.plugin, at);
            let written = self.hook.writes.range::<str, _>((at, Bound::Unbounded)).next();
            let (key, value) = match (stored, written) {
                (None, None) => return None,
                (Some((key, _)), Some((over, value))) if *over <= key => (over.clone(), value.clone()),
                (Some((key, value)), _) => (key, Some(value)),
                (None, Some((key, value))) => (key.clone(), value.clone()),
            };
            match value {
                Some(value) => return Some((key, value)),
                None => from = Bound::Excluded(key),
            }
        }
    }
}

impl types::Host for Guest {}

impl messages::Host for Guest {
    fn publish(&mut self, topic: String, payload: types::Payload) -> wasmtime::Result<Result<(), messages::Refusal>> {
        self.hook.budget.call(topic.len() + payload.content.len())?;
        let topic = match Topic::parse(&topic) {
            Ok(topic) => topic,
            Err(error) => return Ok(Err(messages::Refusal::Invalid(error.to_string()))),
        };
        if !(self.owns)(&topic) {
            let text = format!("topic \"{topic}\" does not belong to this plugin");
            return Ok(Err(messages::Refusal::Forbidden(text)));
        }
        let payload = match payload_from_guest(payload) {
            Ok(payload) => payload,
            Err(error) => return Ok(Err(messages::Refusal::Invalid(error.to_string()))),
        };
        if let Err(exceeded) = self.hook.budget.effect() {
            return Ok(Err(messages::Refusal::Limit(exceeded.0)));
        }
        self.hook.effects.push(Effect::Publish { topic, payload });
        Ok(Ok(()))
    }
}

impl state::Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        let value = self.value(&key);
        self.hook.budget.call(key.len() + value.as_ref().map_or(0, |value| value.len()))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn put(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), state::Refusal>> {
        self.hook.budget.call(key.len() + value.len())?;
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            let text = format!("a key has 1 to {KEY_BYTES_MAX} bytes, this one has {}", key.len());
            return Ok(Err(state::Refusal::Invalid(text)));
        }
        Ok(self.write(key, Some(value.into())))
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        self.hook.budget.call(key.len())?;
        // A key that no write can have made needs no entry among the writes.
        if key.len() <= KEY_BYTES_MAX && self.value(&key).is_some() {
            self.write(key, None).expect("removing an entry needs no room");
        }
        Ok(())
    }

    fn scan(&mut self, prefix: String, after: Option<String>, limit: u32) -> wasmtime::Result<Vec<(String, Vec<u8>)>> {
        self.hook.budget.call(prefix.len())?;
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        while found.len() < limit as usize {
            let from = match (found.last(), &after) {
                (Some((key, _)), _) => Bound::Excluded(key.as_str()),
                (None, Some(after)) if *after >= prefix => Bound::Excluded(after.as_str()),
                (None, _) => Bound::Included(prefix.as_str()),
            };
            let Some((key, value)) = self.next(from).filter(|(key, _)| key.starts_with(&prefix)) else { break };
            self.hook.budget.bytes(ENTRY_BYTES + key.len() + value.len())?;
            found.push((key, value.to_vec()));
        }
        Ok(found)
    }
}

impl system::Host for Guest {
    fn log(&mut self, level: system::Level, mut text: String) -> wasmtime::Result<()> {
        self.hook.budget.call(text.len())?;
        text.truncate(text.floor_char_boundary(LOG_BYTES_MAX));
        let plugin = &*self.plugin;
        match level {
            system::Level::Debug => tracing::debug!(plugin, "{text:?}"),
            system::Level::Info => tracing::info!(plugin, "{text:?}"),
            system::Level::Warn => tracing::warn!(plugin, "{text:?}"),
            system::Level::Error => tracing::error!(plugin, "{text:?}"),
        }
        if level == system::Level::Error {
            self.hook.last_error_line = Some(text);
        }
        Ok(())
    }

    fn now(&mut self) -> wasmtime::Result<u64> {
        self.hook.budget.call(0)?;
        Ok(self.hook.now_ms)
    }

    fn random(&mut self) -> wasmtime::Result<u64> {
        self.hook.budget.call(0)?;
        Ok(identity::random())
    }
}
