//! A plugin's running copy: calls hooks one at a time under their limits, and begins anew after a trap.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rialto_protocol::Payload;
use wasmtime::{Store, Trap};

use super::convert::{payload_from_guest, payload_to_guest, session};
use super::imports::bindings::rialto::plugin::types;
use super::imports::bindings::{Plugin, PluginPre};
use super::imports::{Guest, Owns};
use super::limits::Exceeded;
use super::mailbox::Jobs;
use super::ticker::Ticker;
use super::{Decision, Done, Event, Failed, HookError, PluginLimits};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::store;
use crate::topic::Topic;

/// A failed start is tried again after this, doubling up to the second value.
const RESTART_FIRST: Duration = Duration::from_millis(100);
const RESTART_LAST: Duration = Duration::from_secs(30);

/// How often the end of a subscription is told to a plugin that fails over it.
const ENDINGS_TRIED: usize = 3;

/// What a plugin's thread is given besides its component.
pub(crate) struct Surroundings {
    pub(crate) name: Arc<str>,
    /// The plugin's table of the configuration, as JSON.
    pub(crate) config: String,
    pub(crate) limits: PluginLimits,
    pub(crate) owns: Owns,
    pub(crate) store: Arc<dyn store::Store>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
}

/// Runs the hooks of one plugin, on the plugin's thread.
pub(super) struct Runner {
    pre: PluginPre<Guest>,
    around: Surroundings,
    ticker: Arc<Ticker>,
    live: Option<Live>,
    restart: Option<Restart>,
    /// Whose subscriptions the plugin has accepted: who is told about again when leaving.
    accepted: HashSet<(Arc<str>, Topic)>,
}

struct Live {
    store: Store<Guest>,
    plugin: Plugin,
}

struct Restart {
    why: String,
    at: Instant,
    wait: Duration,
}

impl Runner {
    pub(super) fn new(pre: PluginPre<Guest>, around: Surroundings, ticker: Arc<Ticker>) -> Self {
        Self { pre, around, ticker, live: None, restart: None, accepted: HashSet::new() }
    }

    /// Handles jobs until nobody can send one any more.
    pub(super) fn run(mut self, jobs: &Jobs) {
        while let Some(job) = jobs.next() {
            let wanted = job.wanted.is_none_or(|wanted| wanted());
            let outcome = if wanted { self.handle(&job.event) } else { Err(HookError::NotWanted) };
            (job.finish)(outcome);
        }
    }

    fn handle(&mut self, event: &Event) -> Result<Done, HookError> {
        let accepted = || Ok(Done { decision: Decision::Accepted, effects: Vec::new() });
        match event {
            Event::Subscribe { session, topic } => {
                let member = (Arc::clone(&session.session), topic.clone());
                if self.accepted.contains(&member) {
                    return accepted();
                }
                let done = self.attempt(event)?;
                self.accepted.insert(member);
                Ok(done)
            }
            Event::Unsubscribe { session, topic } => {
                if !self.accepted.remove(&(Arc::clone(&session.session), topic.clone())) {
                    return accepted();
                }
                let mut outcome = self.attempt(event);
                for _ in 1..ENDINGS_TRIED {
                    if !matches!(outcome, Err(HookError::Failed(_))) {
                        break;
                    }
                    outcome = self.attempt(event);
                }
                outcome
            }
            Event::Publish { .. } | Event::Call { .. } => self.attempt(event),
        }
    }

    /// Calls the hook once. A failure is logged with all that is known, and the instance given up where it may be broken.
    fn attempt(&mut self, event: &Event) -> Result<Done, HookError> {
        self.around.metrics.plugin_hooks.add(1);
        let outcome = match self.ready() {
            // A panic of the host itself must not take the plugin's thread away.
            Ok(()) => catch_unwind(AssertUnwindSafe(|| self.call(event))).unwrap_or_else(|_| {
                self.live = None;
                Err(HookError::Failed(Failed::Trap("the host panicked".to_owned())))
            }),
            Err(failed) => Err(HookError::Failed(failed)),
        };
        if let Err(HookError::Failed(failed)) = &outcome {
            self.around.metrics.plugin_failures.add(1);
            let topic = event.topic().map_or("-", Topic::as_str);
            // The text comes from the guest: quoted, so that it cannot forge lines.
            let error = failed.to_string();
            tracing::error!(plugin = &*self.around.name, hook = event.hook(), topic, ?error, "plugin failed");
        }
        outcome
    }

    fn ready(&mut self) -> Result<(), Failed> {
        match &self.restart {
            _ if self.live.is_some() => Ok(()),
            Some(restart) if Instant::now() < restart.at => Err(Failed::Start(restart.why.clone())),
            _ => self.start(),
        }
    }

    /// Makes a new instance and calls its `start`.
    pub(super) fn start(&mut self) -> Result<(), Failed> {
        match self.instantiate() {
            Ok(live) => {
                self.live = Some(live);
                self.restart = None;
                Ok(())
            }
            Err(failed) => {
                let why = failed.to_string();
                let wait = self.restart.as_ref().map_or(RESTART_FIRST, |last| (last.wait * 2).min(RESTART_LAST));
                self.restart = Some(Restart { why: why.clone(), at: Instant::now() + wait, wait });
                Err(Failed::Start(why))
            }
        }
    }

    fn instantiate(&self) -> Result<Live, Failed> {
        let Surroundings { name, owns, store, limits, .. } = &self.around;
        let guest = Guest::new(Arc::clone(name), Arc::clone(owns), Arc::clone(store), *limits);
        let mut store = Store::new(self.pre.engine(), guest);
        store.limiter(|guest| &mut guest.memory);
        self.arm(&mut store);
        let _watched = self.ticker.watch();
        let plugin = match self.pre.instantiate(&mut store) {
            Ok(plugin) => plugin,
            Err(error) => return Err(self.name_failure(&mut store, &error)),
        };
        self.arm(&mut store);
        match plugin.rialto_plugin_hooks().call_start(&mut store, &self.around.config) {
            Ok(Ok(())) => {
                // What `start` wrote counts like what any other hook wrote; it has nobody to publish to yet.
                drop(store.data_mut().commit());
                Ok(Live { store, plugin })
            }
            Ok(Err(text)) => Err(Failed::Said(text)),
            Err(error) => Err(self.name_failure(&mut store, &error)),
        }
    }

    /// Sets everything that bounds the next call into the guest.
    fn arm(&self, store: &mut Store<Guest>) {
        store.data_mut().begin(self.around.clock.unix_ms());
        store.set_epoch_deadline(Ticker::ticks(self.around.limits.hook_ms));
        store.set_hostcall_fuel(self.around.limits.output_bytes);
    }

    fn call(&mut self, event: &Event) -> Result<Done, HookError> {
        let Some(mut live) = self.live.take() else {
            return Err(HookError::Failed(Failed::Start("no instance".to_owned())));
        };
        self.arm(&mut live.store);
        let watched = self.ticker.watch();
        let answer = invoke(&mut live, event);
        drop(watched);
        match answer {
            Ok(answer) => {
                let outcome = settle(&mut live.store, answer);
                self.live = Some(live);
                outcome
            }
            // A store is never used again after a trap.
            Err(error) => Err(HookError::Failed(self.name_failure(&mut live.store, &error))),
        }
    }

    fn name_failure(&self, store: &mut Store<Guest>, error: &wasmtime::Error) -> Failed {
        if let Some(exceeded) = error.downcast_ref::<Exceeded>() {
            return Failed::Limit(exceeded.to_string());
        }
        let text = format!("{error:#}");
        if text.contains("fuel allocated for hostcalls") {
            return Failed::Limit(format!("output_bytes: more than {} bytes", self.around.limits.output_bytes));
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => return Failed::Deadline { hook_ms: self.around.limits.hook_ms },
            Some(Trap::StackOverflow) => return Failed::Limit("stack: the guest's stack is used up".to_owned()),
            _ => {}
        }
        if store.data().memory.refused {
            return Failed::Limit(format!("memory_bytes: more than {} bytes", self.around.limits.memory_bytes));
        }
        match store.data_mut().last_error_line() {
            Some(line) => Failed::Trap(format!("{line}; {text}")),
            None => Failed::Trap(text),
        }
    }
}

/// What a hook returned, whichever it was.
enum Answer {
    Accept(Result<(), types::Error>),
    Publish(Result<types::Verdict, types::Error>),
    Call(Result<Option<types::Payload>, types::Error>),
}

fn invoke(live: &mut Live, event: &Event) -> wasmtime::Result<Answer> {
    let Live { store, plugin } = live;
    let hooks = plugin.rialto_plugin_hooks();
    Ok(match event {
        Event::Subscribe { session: member, topic } => {
            Answer::Accept(hooks.call_on_subscribe(store, &session(member), topic.as_str())?)
        }
        Event::Unsubscribe { session: member, topic } => {
            Answer::Accept(hooks.call_on_unsubscribe(store, &session(member), topic.as_str())?)
        }
        Event::Publish { session: member, topic, payload } => {
            let member = member.as_ref().map(session);
            Answer::Publish(hooks.call_on_publish(
                store,
                member.as_ref(),
                topic.as_str(),
                &payload_to_guest(payload),
            )?)
        }
        Event::Call { session: member, topic, method, payload } => {
            let (member, topic) = (member.as_ref().map(session), topic.as_ref().map(Topic::as_str));
            let payload = payload.as_ref().map(payload_to_guest);
            Answer::Call(hooks.call_on_call(store, member.as_ref(), topic, method, payload.as_ref())?)
        }
    })
}

/// Turns an answer into an outcome; only here, and only if it is good, the hook's writes are committed.
fn settle(store: &mut Store<Guest>, answer: Answer) -> Result<Done, HookError> {
    let decision = match answer {
        Answer::Accept(Ok(())) => Decision::Accepted,
        Answer::Publish(Ok(types::Verdict::Accept)) => Decision::Publish(None),
        Answer::Publish(Ok(types::Verdict::Replace(payload))) => Decision::Publish(Some(returned(store, payload)?)),
        Answer::Publish(Ok(types::Verdict::Swallow)) => Decision::Swallow,
        Answer::Call(Ok(None)) => Decision::Answer(None),
        Answer::Call(Ok(Some(payload))) => Decision::Answer(Some(returned(store, payload)?)),
        Answer::Accept(Err(error)) | Answer::Publish(Err(error)) | Answer::Call(Err(error)) => {
            return Err(refused(store, error));
        }
    };
    Ok(Done { decision, effects: store.data_mut().commit() })
}

fn refused(store: &mut Store<Guest>, error: types::Error) -> HookError {
    match error {
        types::Error::Failed(text) => HookError::Failed(Failed::Said(text)),
        types::Error::Rejected(types::Rejection { reason, detail }) => {
            match detail.map(|detail| returned(store, detail)).transpose() {
                Ok(detail) => HookError::Rejected { reason, detail },
                Err(error) => error,
            }
        }
    }
}

fn returned(store: &mut Store<Guest>, payload: types::Payload) -> Result<Payload, HookError> {
    let failed = |failed| HookError::Failed(failed);
    let bytes = payload.content.len();
    store.data_mut().returned(bytes).map_err(|exceeded| failed(Failed::Limit(exceeded.to_string())))?;
    payload_from_guest(payload).map_err(|error| failed(Failed::Returned(error.to_string())))
}
