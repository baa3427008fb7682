//! Replay of a recording in the sandbox: the same host code calls the hooks, and every reply comes from the recording.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rialto_plugin::native::Limited as _;
use rialto_plugin::recording::{self, Difference, Outcome, Player, Recording};
use rialto_plugin::{Entry, Imports, Level, Payload, Raw, Refusal, Session};
use rialto_protocol::Payload as Checked;

use crate::auth::identity::{Identity, Roles, TokenDetails};
use crate::clock::Now;
use crate::plugin::run::convert::payload_from_guest;
use crate::plugin::run::hook_context::{Cause, HookHost};
use crate::plugin::run::instance::{RunningInstance, Start};
use crate::plugin::run::recorder::{answered, failure};
use crate::plugin::{Event, HookEffects, PluginLimits, PluginSession, Source};
use crate::topic::Topic;
use rialto_plugin::host::Exceeded;

/// The outcome of a replay.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Replayed {
    /// Every hook made the same calls and had the same outcome.
    Same { events: usize, ending: Outcome },
    /// A call or an outcome differs.
    Different(Difference),
}

/// An event of a recording that this broker could not have had.
#[derive(Debug, thiserror::Error)]
#[error("event {number} is not valid: {reason}")]
pub(crate) struct BadStep {
    number: u64,
    reason: String,
}

/// Replays a recording with a component.
///
/// # Errors
/// [`BadStep`] for an event that cannot be replayed.
pub(crate) fn replay(source: &dyn Source, recording: &Recording, limits: PluginLimits) -> Result<Replayed, BadStep> {
    let player = PlayerCell::default();
    let mut running: Option<Box<dyn RunningInstance>> = None;
    let (mut events, mut ending) = (0, Outcome::Accepted);
    for step in &recording.steps {
        player.open().begin(step);
        let now = Now { unix_ms: step.now_ms, monotonic_ms: 0 };
        let bad = |reason: String| BadStep { number: step.number, reason };
        let outcome = match (&step.event, &mut running) {
            (recording::Event::Start { config, topic }, None) => {
                let topic = topic.as_deref().map(Topic::parse).transpose().map_err(|error| bad(error.to_string()))?;
                let start = Start { config, topic: topic.as_ref() };
                match source.start(Box::new(player.clone()), &start, limits, now) {
                    Ok((copy, serves)) => {
                        running = Some(copy);
                        Outcome::Serves(serves)
                    }
                    Err(failed) => failure(&failed),
                }
            }
            (event, Some(copy)) => {
                let event = event_of(event).map_err(bad)?;
                copy.call(&event, now).map_or_else(|failed| failure(&failed), |answer| answered(&answer))
            }
            (_, None) => return Err(bad("the instance has not started".to_owned())),
        };
        let player = player.open();
        let reached = player.has_reached_its_end();
        if !reached && step.outcome.is_same_as(&outcome) {
            player.finish();
        } else if !reached {
            player.differs(shown(&step.outcome), shown(&outcome));
        }
        if let Some(difference) = player.difference() {
            return Ok(Replayed::Different(difference));
        }
        events += 1;
        ending = if reached { step.outcome.clone() } else { outcome };
    }
    Ok(Replayed::Same { events, ending })
}

/// An outcome as a line for people.
fn shown(outcome: &Outcome) -> String {
    serde_json::to_string(outcome).unwrap_or_default()
}

fn event_of(event: &recording::Event) -> Result<Event, String> {
    use recording::Event as Recorded;
    let topic = |name: &str| Topic::parse(name).map_err(|error| error.to_string());
    Ok(match event {
        Recorded::Start { .. } => return Err("an instance starts once".to_owned()),
        Recorded::OnConnect { session, endpoint } => {
            Event::Connect { session: plugin_session(session)?, endpoint: endpoint.as_str().into() }
        }
        Recorded::OnDisconnect { session, endpoint } => {
            Event::Disconnect { session: plugin_session(session)?, endpoint: endpoint.as_str().into() }
        }
        Recorded::OnMessage { session, endpoint, message } => {
            let session = plugin_session(session)?;
            Event::Message { session, endpoint: endpoint.as_str().into(), message: message.clone() }
        }
        Recorded::OnAuthenticated { session, refused } => {
            let outcome = refused.clone().map_or(Ok(()), Err);
            Event::Authenticated { session: plugin_session(session)?, outcome }
        }
        Recorded::OnSubscribe { session, topic: name } => {
            Event::Subscribe { session: plugin_session(session)?, topic: topic(name)? }
        }
        Recorded::OnUnsubscribe { session, topic: name } => {
            Event::Unsubscribe { session: plugin_session(session)?, topic: topic(name)? }
        }
        Recorded::OnPublish { session, topic: name, payload: data } => Event::Publish {
            session: session.as_ref().map(plugin_session).transpose()?,
            topic: topic(name)?,
            payload: payload(data)?,
            hops: 0,
        },
        Recorded::OnCall { session, topic: name, method, payload: data } => Event::Call {
            session: session.as_ref().map(plugin_session).transpose()?,
            topic: name.as_deref().map(topic).transpose()?,
            method: method.clone(),
            payload: data.as_ref().map(payload).transpose()?,
        },
        Recorded::OnTimer { name, payload: data } => {
            Event::Timer { topic: None, name: name.clone(), payload: data.as_ref().map(payload).transpose()? }
        }
    })
}

fn payload(payload: &Payload) -> Result<Checked, String> {
    payload_from_guest(payload.clone()).map_err(|error| error.to_string())
}

/// A session as the broker had it. One without a user has neither roles nor `info`.
fn plugin_session(session: &Session) -> Result<PluginSession, String> {
    let info = session.info.as_ref().map(payload).transpose()?.map(Arc::new);
    let roles = Roles::new(session.roles.iter().map(|role| role.as_str().into()).collect()).map(Arc::new);
    let details = TokenDetails { id: None, info };
    let identity = |user: &str| Arc::new(Identity::of_user(user.into(), roles).with_details(details));
    Ok(PluginSession { id: session.id.as_str().into(), identity: session.user.as_deref().map(identity) })
}

/// The player, which the instance holds too.
#[derive(Clone, Default)]
struct PlayerCell {
    player: Arc<Mutex<Player>>,
    last_error_line: Arc<Mutex<Option<String>>>,
}

impl PlayerCell {
    fn open(&self) -> MutexGuard<'_, Player> {
        self.player.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HookHost for PlayerCell {
    fn begin(&self, _: Cause, _: Now) {
        self.last_error_line.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn take(&self) -> HookEffects {
        HookEffects::none("".into())
    }

    fn last_error_line(&self) -> Option<String> {
        self.last_error_line.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn exceeded(&self) -> Option<Exceeded> {
        self.open().is_over().then_some(Exceeded::Replay)
    }

    fn returned(&self, _: usize) -> Result<(), Exceeded> {
        Ok(())
    }
}

impl Imports for PlayerCell {
    fn publish(&self, topic: &str, payload: Payload, exclude: Option<&str>) -> Result<(), Refusal> {
        self.open().publish(topic, payload, exclude)
    }

    fn remove(&self, topic: &str, offset: u64) -> Result<(), Refusal> {
        self.open().remove(topic, offset)
    }

    fn send(&self, session: &str, payload: Payload) -> Result<(), Refusal> {
        self.open().send(session, payload)
    }

    fn send_raw(&self, session: &str, message: Raw) -> Result<(), Refusal> {
        self.open().send_raw(session, message)
    }

    fn sessions(&self, topic: &str, after: Option<&str>, limit: u32) -> Result<Vec<Session>, Refusal> {
        self.open().sessions(topic, after, limit)
    }

    fn session_count(&self, topic: &str) -> Result<u64, Refusal> {
        self.open().session_count(topic)
    }

    fn subscribe(&self, session: &str, topic: &str) -> Result<(), Refusal> {
        self.open().subscribe(session, topic)
    }

    fn unsubscribe(&self, session: &str, topic: &str) -> Result<(), Refusal> {
        self.open().unsubscribe(session, topic)
    }

    fn disconnect(&self, session: &str, reason: &str) -> Result<(), Refusal> {
        self.open().disconnect(session, reason)
    }

    fn set_timer(&self, name: &str, delay_ms: u64, payload: Option<Payload>) -> Result<(), Refusal> {
        self.open().set_timer(name, delay_ms, payload)
    }

    fn cancel_timer(&self, name: &str) -> Result<(), Refusal> {
        self.open().cancel_timer(name)
    }

    fn timer_due_ms(&self, name: &str) -> Result<Option<u64>, Refusal> {
        self.open().timer_due_ms(name)
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
        self.open().get(key)
    }

    fn put(&self, key: &str, value: Vec<u8>) -> Result<(), Refusal> {
        self.open().put(key, value)
    }

    fn delete(&self, key: &str) -> Result<(), Refusal> {
        self.open().delete(key)
    }

    fn scan(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<Entry>, Refusal> {
        self.open().scan(prefix, after, limit)
    }

    fn log(&self, level: Level, text: &str) {
        self.open().log(level, text);
        if level == Level::Error {
            *self.last_error_line.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned());
        }
    }

    fn now_ms(&self) -> u64 {
        Imports::now_ms(&*self.open())
    }

    fn random(&self) -> u64 {
        self.open().random()
    }

    fn authenticate(&self, session: &str, user: &str, secret: &str) -> Result<(), Refusal> {
        self.open().authenticate(session, user, secret)
    }
}
