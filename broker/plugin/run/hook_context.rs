//! The broker's side of a hook call, whatever runs the plugin: applies the rules of [`rialto_plugin::host`] to the plugin's
//! sessions, state and timers. It commits nothing.

use std::ops::Bound;
use std::sync::Arc;

use rialto_plugin::host::Capabilities;
pub(crate) use rialto_plugin::host::Cause;
use rialto_plugin::host::{Exceeded, HookContext, HookLimits, HookTime, HostEnvironment, KnownSession, Permission};
use rialto_plugin::{Imports, Level, Refusal, Session};

use super::convert::session_to_guest;
use super::registry::PluginRegistry;
use super::status::Status;
use crate::clock::Now;
use crate::identity;
use crate::plugin::{HookEffects, PluginLimits, Protocol};
use crate::store::{KeptTimer, StateEntry, StoreError, Writes};
use crate::topic::Topic;

/// Lines of one level that a plugin may log in a second; more are counted and left out.
const GUEST_LINES_PER_S: u32 = 100;

/// Says whether a topic belongs to the plugin.
pub(crate) type Owns = Arc<dyn Fn(&Topic) -> bool + Send + Sync>;

/// What all hooks of one instance work on.
#[derive(Clone)]
pub(in crate::plugin) struct InstanceEnv {
    pub(in crate::plugin) plugin: Arc<str>,
    /// The namespace of the state and timers: the plugin's, or that of one of its topics.
    pub(in crate::plugin) namespace: Arc<str>,
    pub(in crate::plugin) owns: Owns,
    pub(in crate::plugin) may: Arc<Capabilities>,
    pub(in crate::plugin) registry: Arc<PluginRegistry>,
    pub(in crate::plugin) status: Arc<Status>,
    pub(in crate::plugin) limits: PluginLimits,
    /// The version of the protocol that the plugin is for.
    pub(in crate::plugin) protocol: Protocol,
}

/// The host of an instance's hooks: answers their calls, and keeps their effects back until they are taken.
pub(crate) trait HookHost: Imports + Send {
    /// A new hook call begins; what an earlier one left is dropped.
    fn begin(&self, cause: Cause, now: Now);

    /// What the hook asked for, once it has returned `ok`.
    fn take(&self) -> HookEffects;

    /// The last line that the guest logged as an error in this hook: where a panic says its file and line.
    #[cfg_attr(not(feature = "plugins"), allow(dead_code, reason = "only components trap"))]
    fn last_error_line(&self) -> Option<String>;

    /// The limit that ends this hook, if one does.
    fn exceeded(&self) -> Option<Exceeded>;

    /// Charges a payload that the hook returned.
    ///
    /// # Errors
    /// [`Exceeded`] when it is beyond the limit.
    fn returned(&self, bytes: usize) -> Result<(), Exceeded>;
}

impl HookHost for HookContext<InstanceEnv> {
    fn begin(&self, cause: Cause, now: Now) {
        self.begin(cause, HookTime { unix_ms: now.unix_ms, monotonic_ms: now.monotonic_ms });
    }

    fn take(&self) -> HookEffects {
        let output = self.take();
        let timers = output.timers.into_iter().map(|(name, timer)| {
            let timer = timer.map(|timer| KeptTimer { due_unix_ms: timer.due_unix_ms, payload: timer.payload });
            (name, timer)
        });
        let namespace = Arc::clone(&self.environment().namespace);
        let writes = Writes { namespace, values: output.values, timers: timers.collect() };
        HookEffects { requested: output.effects, writes, hops: output.hops }
    }

    fn last_error_line(&self) -> Option<String> {
        self.last_error_line()
    }

    fn exceeded(&self) -> Option<Exceeded> {
        self.exceeded()
    }

    fn returned(&self, bytes: usize) -> Result<(), Exceeded> {
        self.charge_returned(bytes)
    }
}

impl HostEnvironment for InstanceEnv {
    fn limits(&self) -> HookLimits {
        let PluginLimits { state_bytes, output_bytes, host_calls, effects, timers, .. } = self.limits;
        HookLimits { host_calls, output_bytes, effects, state_bytes, timers }
    }

    fn owns(&self, topic: &Topic) -> bool {
        (self.owns)(topic)
    }

    fn may(&self, permission: Permission<'_>) -> bool {
        self.may.may(permission)
    }

    fn session(&self, id: &str) -> Option<KnownSession> {
        let pages = self.registry.open();
        pages.knows(id).then(|| KnownSession { id: id.into(), is_raw: pages.is_raw(id) })
    }

    fn is_authenticating(&self, session: &str) -> bool {
        self.registry.open().is_authenticating(session)
    }

    fn visit_members(
        &self,
        topic: &Topic,
        after: Option<&str>,
        limit: usize,
        visit: &mut dyn FnMut(Session) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let pages = self.registry.open();
        let mut members = pages.members(topic, after).take(limit);
        members.try_for_each(|member| visit(session_to_guest(member, self.protocol)))
    }

    fn member_count(&self, topic: &Topic) -> usize {
        self.registry.open().count(topic)
    }

    fn value(&self, key: &str) -> Result<Option<Arc<[u8]>>, Refusal> {
        self.registry.state().get(&self.namespace, key).map_err(unreadable)
    }

    fn next_entry(&self, from: Bound<&str>) -> Result<Option<StateEntry>, Refusal> {
        self.registry.state().next(&self.namespace, from).map_err(unreadable)
    }

    fn state_bytes(&self) -> Result<usize, Refusal> {
        self.registry.state().bytes(&self.namespace).map_err(unreadable)
    }

    fn timer_due_ms(&self, name: &str, now: HookTime) -> Option<u64> {
        let name = (Arc::clone(&self.namespace), name.to_owned());
        let due_ms = self.registry.open().due_ms(&name)?;
        Some(due_ms.saturating_sub(now.monotonic_ms))
    }

    fn timer_count(&self) -> usize {
        self.registry.open().timer_count()
    }

    fn random(&self) -> u64 {
        identity::random()
    }

    fn log(&self, level: Level, text: &str) {
        let plugin = &*self.plugin;
        let kind = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        // What a client makes a plugin log must not fill a disk.
        let Some(left_out) = self.status.log_pace.take(("guest", kind), GUEST_LINES_PER_S) else { return };
        if left_out > 0 {
            tracing::warn!(plugin, level = kind, left_out, "the plugin logs more than is written");
        }
        match level {
            Level::Debug => tracing::debug!(plugin, "{text:?}"),
            Level::Info => tracing::info!(plugin, "{text:?}"),
            Level::Warn => tracing::warn!(plugin, "{text:?}"),
            Level::Error => tracing::error!(plugin, "{text:?}"),
        }
    }
}

/// A read of the state that failed. The hook has no outcome then, whatever it makes of this.
fn unreadable(_: StoreError) -> Refusal {
    Refusal::Limit("storage is unavailable, try again later".to_owned())
}
