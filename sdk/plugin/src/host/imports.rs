//! The rules of each host call: what it charges, checks and refuses, in this order.

use std::ops::Bound;

use rialto_protocol::Payload as Checked;

use super::context::{HOPS_MAX, parse};
use super::{Credentials, Effect, HookContext, HostEnvironment, Permission, SessionMessage, TimerWrite};
use crate::{Entry, Imports, Level, Payload, Raw, Refusal, Session};

/// The longest log line that is kept, in bytes, and the longest key, name of a timer and reason of a disconnect.
const LOG_BYTES_MAX: usize = 8 * 1024;
const KEY_BYTES_MAX: usize = 1024;
const TIMER_BYTES_MAX: usize = 255;
const REASON_BYTES_MAX: usize = 123;

/// The longest delay of a timer: a year.
const DELAY_MS_MAX: u64 = 365 * 24 * 3_600_000;

/// What an entry of a list costs beyond its texts, so that many tiny entries are not free.
const ENTRY_BYTES: usize = 64;

fn check(payload: Payload) -> Result<Checked, Refusal> {
    Checked::try_from(payload).map_err(|error| Refusal::Invalid(error.to_string()))
}

/// The bytes of all that a session says of itself.
fn session_bytes(session: &Session) -> usize {
    let Session { id, user, roles, info } = session;
    let info = info.as_ref().map_or(0, |info| info.content.len());
    id.len() + user.as_ref().map_or(0, String::len) + roles.iter().map(String::len).sum::<usize>() + info
}

/// What a frame says of itself. A `type` that stands twice is an error here: clients would differ in which one they take.
#[derive(serde::Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

/// Whether a payload may be a frame of the protocol: a map whose `type` is a plugin's, and cannot be taken for anything else
/// where frames are written as lines.
fn is_frame(payload: &Checked) -> bool {
    // A list would be read as the fields in their order.
    let is_map = payload.to_json().trim_ascii_start().starts_with(b"{");
    let is_own = |Kind { kind }: Kind| kind.starts_with("x-") && !kind.contains(char::is_control);
    is_map && payload.parse().is_ok_and(is_own)
}

impl<E: HostEnvironment> Imports for HookContext<E> {
    fn publish(&self, topic: &str, payload: Payload, exclude: Option<&str>) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(topic.len() + payload.content.len() + exclude.map_or(0, str::len))?;
        hook.refuse_in_start("publish")?;
        let topic = parse(topic)?;
        let own = self.environment.owns(&topic);
        if !own {
            self.require(Permission::Publish(&topic))?;
        }
        if !own && hook.cause.hops >= HOPS_MAX {
            let text = format!("hops: this message came through {HOPS_MAX} plugins already");
            return Err(Refusal::Limit(text));
        }
        let exclude = exclude.map(|session| self.known(hook, session)).transpose()?.map(|session| session.id);
        hook.effect(Effect::Publish { topic, payload: check(payload)?, exclude, own })
    }

    fn remove(&self, topic: &str, offset: u64) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(topic.len())?;
        hook.refuse_in_start("remove")?;
        let topic = self.own(topic)?;
        hook.effect(Effect::Remove { topic, offset })
    }

    fn send(&self, session: &str, payload: Payload) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(session.len() + payload.content.len())?;
        let session = self.known(hook, session)?;
        let payload = check(payload)?;
        if !session.is_raw && !is_frame(&payload) {
            let text = "a frame is one map whose `type`, once and without control characters, begins with \"x-\"";
            return Err(Refusal::Invalid(text.to_owned()));
        }
        hook.effect(Effect::Send { session: session.id, what: SessionMessage::Payload(payload) })
    }

    fn send_raw(&self, session: &str, message: Raw) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        let bytes = match &message {
            Raw::Text(text) => text.len(),
            Raw::Binary(bytes) => bytes.len(),
        };
        hook.call(session.len() + bytes)?;
        let session = self.known(hook, session)?;
        if !session.is_raw {
            return Err(Refusal::Forbidden("the session is not on a raw endpoint".to_owned()));
        }
        let what = match message {
            Raw::Text(text) => SessionMessage::Text(text),
            Raw::Binary(bytes) => SessionMessage::Binary(bytes.into()),
        };
        hook.effect(Effect::Send { session: session.id, what })
    }

    fn sessions(&self, topic: &str, after: Option<&str>, limit: u32) -> Result<Vec<Session>, Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(topic.len() + after.map_or(0, str::len))?;
        self.require(Permission::Sessions)?;
        let topic = self.own(topic)?;
        let mut found = Vec::new();
        self.environment.visit_members(&topic, after, limit as usize, &mut |session| {
            hook.bytes(ENTRY_BYTES + session_bytes(&session))?;
            found.push(session);
            Ok(())
        })?;
        Ok(found)
    }

    fn session_count(&self, topic: &str) -> Result<u64, Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(topic.len())?;
        self.require(Permission::Sessions)?;
        let topic = self.own(topic)?;
        Ok(self.environment.member_count(&topic) as u64)
    }

    fn subscribe(&self, session: &str, topic: &str) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        let (session, topic, own) = self.subscription(hook, session, topic)?;
        hook.effect(Effect::Subscribe { session, topic, own })
    }

    fn unsubscribe(&self, session: &str, topic: &str) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        let (session, topic, own) = self.subscription(hook, session, topic)?;
        hook.effect(Effect::Unsubscribe { session, topic, own })
    }

    fn disconnect(&self, session: &str, reason: &str) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(session.len() + reason.len())?;
        self.require(Permission::Sessions)?;
        let session = self.known(hook, session)?.id;
        let reason = reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned();
        hook.effect(Effect::Disconnect { session, reason })
    }

    fn set_timer(&self, name: &str, delay_ms: u64, payload: Option<Payload>) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(name.len() + payload.as_ref().map_or(0, |payload| payload.content.len()))?;
        self.require(Permission::Timers)?;
        if !(1..=TIMER_BYTES_MAX).contains(&name.len()) {
            let text = format!("the name of a timer has 1 to {TIMER_BYTES_MAX} bytes, this one has {}", name.len());
            return Err(Refusal::Invalid(text));
        }
        if delay_ms > DELAY_MS_MAX {
            return Err(Refusal::Invalid(format!(
                "a delay is at most {DELAY_MS_MAX} ms, a year, this one is {delay_ms}"
            )));
        }
        let payload = payload.map(check).transpose()?;
        let is_new = self.due_ms(hook, name).is_none();
        let most = self.environment.limits().timers;
        let waiting = self.environment.timer_count().saturating_add_signed(hook.timer_growth);
        if is_new && waiting >= most {
            return Err(Refusal::Limit(format!("timers: the plugin has {most} timers already")));
        }
        hook.timer_growth += isize::from(is_new);
        let due_unix_ms = hook.now.unix_ms + delay_ms.max(1);
        hook.timers.insert(name.to_owned(), Some(TimerWrite { due_unix_ms, payload }));
        Ok(())
    }

    fn cancel_timer(&self, name: &str) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(name.len())?;
        self.require(Permission::Timers)?;
        if self.due_ms(hook, name).is_some() {
            hook.timer_growth -= 1;
            hook.timers.insert(name.to_owned(), None);
        }
        Ok(())
    }

    fn timer_due_ms(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(name.len())?;
        self.require(Permission::Timers)?;
        Ok(self.due_ms(hook, name))
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        self.require(Permission::State)?;
        let value = self.value(hook, key)?;
        hook.call(key.len() + value.as_ref().map_or(0, |value| value.len()))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn put(&self, key: &str, value: Vec<u8>) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(key.len() + value.len())?;
        self.require(Permission::State)?;
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            let text = format!("a key has 1 to {KEY_BYTES_MAX} bytes, this one has {}", key.len());
            return Err(Refusal::Invalid(text));
        }
        self.write(hook, key, Some(value.into()))
    }

    fn delete(&self, key: &str) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(key.len())?;
        self.require(Permission::State)?;
        // A key that no write can have made needs no entry among the writes.
        if key.len() <= KEY_BYTES_MAX && self.value(hook, key)?.is_some() {
            self.write(hook, key, None)?;
        }
        Ok(())
    }

    fn scan(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<Entry>, Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(prefix.len() + after.map_or(0, str::len))?;
        self.require(Permission::State)?;
        let mut found: Vec<Entry> = Vec::new();
        while found.len() < limit as usize {
            let from = match (found.last(), after) {
                (Some((key, _)), _) => Bound::Excluded(key.as_str()),
                (None, Some(after)) if after >= prefix => Bound::Excluded(after),
                (None, _) => Bound::Included(prefix),
            };
            let next = self.next_entry(hook, from)?;
            let Some((key, value)) = next.filter(|(key, _)| key.starts_with(prefix)) else { break };
            hook.bytes(ENTRY_BYTES + key.len() + value.len())?;
            found.push((key, value.to_vec()));
        }
        Ok(found)
    }

    fn log(&self, level: Level, text: &str) {
        let hook = &mut *self.hook.borrow_mut();
        if hook.call(text.len()).is_ok() {
            self.log_line(hook, level, &text[..text.floor_char_boundary(LOG_BYTES_MAX)]);
        }
    }

    fn now_ms(&self) -> u64 {
        let hook = &mut *self.hook.borrow_mut();
        // Beyond the limit the hook ends, whatever this returns.
        let _ = hook.call(0);
        hook.now.unix_ms
    }

    fn random(&self) -> u64 {
        let _ = self.hook.borrow_mut().call(0);
        self.environment.random()
    }

    fn authenticate(&self, session: &str, user: &str, secret: &str) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(session.len() + user.len() + secret.len())?;
        self.require(Permission::Sessions)?;
        let session = self.known(hook, session)?;
        if !session.is_raw {
            return Err(Refusal::Forbidden("the session is not on a raw endpoint".to_owned()));
        }
        if hook.authenticates(&session.id) || self.environment.is_authenticating(&session.id) {
            return Err(Refusal::Limit("authenticate: the session is being authenticated already".to_owned()));
        }
        let credentials = Credentials { user: user.to_owned(), secret: secret.to_owned() };
        hook.effect(Effect::Authenticate { session: session.id, credentials })
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::Encoding;

    use super::*;

    #[test]
    fn a_frame_says_once_what_it_is() {
        for (text, expected) in [
            (r#"{"type":"x-note","n":1}"#, true),
            (r#" {"n":{"type":"message"},"type":"x-note"}"#, true),
            (r#"{"type":"message"}"#, false),
            (r#"{"type":"x-note","type":"message"}"#, false),
            (r#"{"type":"message","type":"x-note"}"#, false),
            (r#"{"t\u0079pe":"message","type":"x-note"}"#, false),
            (r#"{"type":"x-a\nevent: message\ndata: {}"}"#, false),
            (r#"{"type":"x-a\rid: 1"}"#, false),
            (r#"["x-note"]"#, false),
            (r#""x-note""#, false),
            (r#"{"type":1}"#, false),
            ("{}", false),
        ] {
            let payload = Checked::new(Encoding::Json, text.to_owned()).expect("JSON");
            assert_eq!(is_frame(&payload), expected, "{text}");
        }
    }
}
