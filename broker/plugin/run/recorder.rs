//! The recorder of one instance: its events and host calls, and the file written when a hook fails. It decides nothing.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rialto_plugin::recording::{self, Header, HostCall, HostReply, HostRequest, Outcome, Tape};
use rialto_plugin::{Entry, Error, Imports, Level, Payload, Raw, Refusal, Session, Verdict};

use crate::clock::Now;
use crate::plugin::run::convert::{payload_to_guest, session_to_guest};
use crate::plugin::run::hook_context::{Cause, HookHost};
use crate::plugin::run::instance::HookReturn;
use crate::plugin::{Event, Failed, HookEffects, PluginSession, Protocol};
use rialto_plugin::host::Exceeded;

/// The most memory that the events of one instance take.
const BYTES_MAX: usize = 16 << 20;

/// How many recordings a folder keeps: the newest.
const FILES_MAX: usize = 100;

/// The tape of one instance.
pub(in crate::plugin) struct Recorder {
    calls: Calls,
    tape: Tape,
    /// The version of the protocol in which the plugin sees sessions.
    protocol: Protocol,
}

type Calls = Arc<Mutex<Vec<HostCall>>>;

impl Recorder {
    /// A recorder of so many events of a plugin for this version of the protocol, and a host that records the calls to
    /// `host`.
    pub(in crate::plugin) fn new(
        events: usize,
        protocol: Protocol,
        host: Box<dyn HookHost>,
    ) -> (Self, Box<dyn HookHost>) {
        let calls = Calls::default();
        let recording = RecordingHost { host, calls: Arc::clone(&calls) };
        (Self { calls, tape: Tape::new(events, BYTES_MAX), protocol }, Box::new(recording))
    }

    /// The instance has started, or has not.
    pub(in crate::plugin) fn started(
        &mut self,
        config: &str,
        topic: Option<String>,
        now: Now,
        outcome: Result<&Vec<String>, &Failed>,
    ) {
        let outcome = match outcome {
            Ok(serves) => Outcome::Serves(serves.clone()),
            Err(failed) => failure(failed),
        };
        self.note(recording::Event::Start { config: config.to_owned(), topic }, now, outcome);
    }

    /// A hook has returned, or has not.
    pub(in crate::plugin) fn called(
        &mut self,
        event: &Event,
        now: Now,
        answer: &Result<Result<HookReturn, Error>, Failed>,
    ) {
        let outcome = match answer {
            Ok(answer) => answered(answer),
            Err(failed) => failure(failed),
        };
        self.note(described(event, self.protocol), now, outcome);
    }

    fn note(&mut self, event: recording::Event, now: Now, outcome: Outcome) {
        let calls = std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner));
        self.tape.add(now.unix_ms, event, calls, outcome);
    }

    /// Writes the recording into a folder that only its owner may read, and removes the oldest files beyond the bound.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub(in crate::plugin) fn save(&self, folder: &Path, header: Header, now: Now) -> io::Result<PathBuf> {
        let mut maker = fs::DirBuilder::new();
        maker.recursive(true);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
            maker.mode(0o700);
            options.mode(0o600);
        }
        maker.create(folder)?;
        let plugin = header.plugin.clone();
        let is_own = |name: &str| is_of(&plugin, name);
        let text = self.tape.recording(header).to_text();
        // Two failures within a millisecond are two files.
        for number in 0.. {
            let path = folder.join(format!("{plugin}-{}-{number}.jsonl", now.unix_ms));
            match options.open(&path) {
                Ok(mut file) => {
                    file.write_all(text.as_bytes())?;
                    tidy(folder, &is_own)?;
                    return Ok(path);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < FILES_MAX => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// Whether a file has the name of a recording of this plugin: `PLUGIN-UNIX_MS-NUMBER.jsonl`.
fn is_of(plugin: &str, name: &str) -> bool {
    let rest = name.strip_prefix(plugin).and_then(|rest| rest.strip_prefix('-'));
    let Some((time, number)) = rest.and_then(|rest| rest.strip_suffix(".jsonl")?.split_once('-')) else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number(time) && is_number(number)
}

/// Removes the oldest recordings of a plugin beyond the bound. Whatever else is in the folder is somebody else's.
fn tidy(folder: &Path, is_own: &dyn Fn(&str) -> bool) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_own) && entry.file_type()?.is_file() {
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    files.sort();
    for (_, path) in files.iter().rev().skip(FILES_MAX) {
        fs::remove_file(path)?;
    }
    Ok(())
}

pub(in crate::plugin) fn answered(answer: &Result<HookReturn, Error>) -> Outcome {
    match answer.clone() {
        Ok(HookReturn::Accepted | HookReturn::Verdict(Verdict::Accept)) => Outcome::Accepted,
        Ok(HookReturn::Verdict(Verdict::Replace(payload))) => Outcome::Replaced(payload),
        Ok(HookReturn::Verdict(Verdict::Swallow)) => Outcome::Swallowed,
        Ok(HookReturn::Reply(payload)) => Outcome::Reply(payload),
        Err(Error::Rejected { reason, detail }) => Outcome::Rejected { reason, detail },
        Err(Error::Failed(text)) => Outcome::Failed(text),
    }
}

pub(in crate::plugin) fn failure(failed: &Failed) -> Outcome {
    match failed {
        Failed::Deadline { .. } => Outcome::Deadline,
        Failed::Limit(text) => Outcome::Limit(text.clone()),
        Failed::Trap(text) => Outcome::Trap(text.clone()),
        Failed::Returned(text) | Failed::Said(text) | Failed::Start(text) => Outcome::Failed(text.clone()),
        Failed::Quarantined => Outcome::Failed("quarantined".to_owned()),
    }
}

fn described(event: &Event, protocol: Protocol) -> recording::Event {
    use recording::Event as Recorded;
    let guest = |session: &PluginSession| session_to_guest(session, protocol);
    match event {
        Event::Connect { session, endpoint } => {
            Recorded::OnConnect { session: guest(session), endpoint: endpoint.to_string() }
        }
        Event::Disconnect { session, endpoint } => {
            Recorded::OnDisconnect { session: guest(session), endpoint: endpoint.to_string() }
        }
        Event::Message { session, endpoint, message } => {
            Recorded::OnMessage { session: guest(session), endpoint: endpoint.to_string(), message: message.clone() }
        }
        Event::Authenticated { session, outcome } => {
            Recorded::OnAuthenticated { session: guest(session), refused: outcome.clone().err() }
        }
        Event::Subscribe { session, topic } => {
            Recorded::OnSubscribe { session: guest(session), topic: topic.to_string() }
        }
        Event::Unsubscribe { session, topic } => {
            Recorded::OnUnsubscribe { session: guest(session), topic: topic.to_string() }
        }
        Event::Publish { session, topic, payload, .. } => Recorded::OnPublish {
            session: session.as_ref().map(guest),
            topic: topic.to_string(),
            payload: payload_to_guest(payload),
        },
        Event::Call { session, topic, method, payload } => Recorded::OnCall {
            session: session.as_ref().map(guest),
            topic: topic.as_ref().map(ToString::to_string),
            method: method.clone(),
            payload: payload.as_ref().map(payload_to_guest),
        },
        Event::Timer { name, payload, .. } => {
            Recorded::OnTimer { name: name.clone(), payload: payload.as_ref().map(payload_to_guest) }
        }
    }
}

/// A host that records every call and its result.
struct RecordingHost {
    host: Box<dyn HookHost>,
    calls: Calls,
}

impl RecordingHost {
    fn note(&self, request: HostRequest, reply: HostReply) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(HostCall { request, reply });
    }

    fn noted<T>(
        &self,
        request: HostRequest,
        reply: Result<T, Refusal>,
        describe: impl FnOnce(&T) -> HostReply,
    ) -> Result<T, Refusal> {
        // The call that exceeded a limit has no reply: the limit is the hook's outcome.
        if self.host.exceeded().is_none() {
            self.note(request, reply.as_ref().map_or_else(|refusal| HostReply::Refused(refusal.clone()), describe));
        }
        reply
    }
}

impl HookHost for RecordingHost {
    fn begin(&self, cause: Cause, now: Now) {
        self.host.begin(cause, now);
    }

    fn take(&self) -> HookEffects {
        self.host.take()
    }

    fn last_error_line(&self) -> Option<String> {
        self.host.last_error_line()
    }

    fn exceeded(&self) -> Option<Exceeded> {
        self.host.exceeded()
    }

    fn returned(&self, bytes: usize) -> Result<(), Exceeded> {
        self.host.returned(bytes)
    }
}

fn text(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

impl Imports for RecordingHost {
    fn publish(&self, topic: &str, payload: Payload, exclude: Option<&str>) -> Result<(), Refusal> {
        let request =
            HostRequest::Publish { topic: topic.to_owned(), payload: payload.clone(), exclude: text(exclude) };
        self.noted(request, self.host.publish(topic, payload, exclude), |()| HostReply::Done)
    }

    fn remove(&self, topic: &str, offset: u64) -> Result<(), Refusal> {
        let request = HostRequest::Remove { topic: topic.to_owned(), offset };
        self.noted(request, self.host.remove(topic, offset), |()| HostReply::Done)
    }

    fn send(&self, session: &str, payload: Payload) -> Result<(), Refusal> {
        let request = HostRequest::Send { session: session.to_owned(), payload: payload.clone() };
        self.noted(request, self.host.send(session, payload), |()| HostReply::Done)
    }

    fn send_raw(&self, session: &str, message: Raw) -> Result<(), Refusal> {
        let request = HostRequest::SendRaw { session: session.to_owned(), message: message.clone() };
        self.noted(request, self.host.send_raw(session, message), |()| HostReply::Done)
    }

    fn sessions(&self, topic: &str, after: Option<&str>, limit: u32) -> Result<Vec<Session>, Refusal> {
        let request = HostRequest::Sessions { topic: topic.to_owned(), after: text(after), limit };
        self.noted(request, self.host.sessions(topic, after, limit), |all| HostReply::Sessions(all.clone()))
    }

    fn session_count(&self, topic: &str) -> Result<u64, Refusal> {
        let request = HostRequest::SessionCount { topic: topic.to_owned() };
        self.noted(request, self.host.session_count(topic), |count| HostReply::Number(*count))
    }

    fn subscribe(&self, session: &str, topic: &str) -> Result<(), Refusal> {
        let request = HostRequest::Subscribe { session: session.to_owned(), topic: topic.to_owned() };
        self.noted(request, self.host.subscribe(session, topic), |()| HostReply::Done)
    }

    fn unsubscribe(&self, session: &str, topic: &str) -> Result<(), Refusal> {
        let request = HostRequest::Unsubscribe { session: session.to_owned(), topic: topic.to_owned() };
        self.noted(request, self.host.unsubscribe(session, topic), |()| HostReply::Done)
    }

    fn disconnect(&self, session: &str, reason: &str) -> Result<(), Refusal> {
        let request = HostRequest::Disconnect { session: session.to_owned(), reason: reason.to_owned() };
        self.noted(request, self.host.disconnect(session, reason), |()| HostReply::Done)
    }

    fn set_timer(&self, name: &str, delay_ms: u64, payload: Option<Payload>) -> Result<(), Refusal> {
        let request = HostRequest::SetTimer { name: name.to_owned(), delay_ms, payload: payload.clone() };
        self.noted(request, self.host.set_timer(name, delay_ms, payload), |()| HostReply::Done)
    }

    fn cancel_timer(&self, name: &str) -> Result<(), Refusal> {
        let request = HostRequest::CancelTimer { name: name.to_owned() };
        self.noted(request, self.host.cancel_timer(name), |()| HostReply::Done)
    }

    fn timer_due_ms(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let request = HostRequest::TimerDue { name: name.to_owned() };
        self.noted(request, self.host.timer_due_ms(name), |due_ms| HostReply::Due(*due_ms))
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
        self.noted(HostRequest::Get { key: key.to_owned() }, self.host.get(key), |value| {
            HostReply::Value(value.clone())
        })
    }

    fn put(&self, key: &str, value: Vec<u8>) -> Result<(), Refusal> {
        let request = HostRequest::Put { key: key.to_owned(), value: value.clone() };
        self.noted(request, self.host.put(key, value), |()| HostReply::Done)
    }

    fn delete(&self, key: &str) -> Result<(), Refusal> {
        self.noted(HostRequest::Delete { key: key.to_owned() }, self.host.delete(key), |()| HostReply::Done)
    }

    fn scan(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<Entry>, Refusal> {
        let request = HostRequest::Scan { prefix: prefix.to_owned(), after: text(after), limit };
        self.noted(request, self.host.scan(prefix, after, limit), |entries| HostReply::Entries(entries.clone()))
    }

    fn log(&self, level: Level, line: &str) {
        self.host.log(level, line);
        if self.host.exceeded().is_none() {
            self.note(HostRequest::Log { level, text: line.to_owned() }, HostReply::Done);
        }
    }

    fn now_ms(&self) -> u64 {
        let now_ms = self.host.now_ms();
        if self.host.exceeded().is_none() {
            self.note(HostRequest::Now, HostReply::Number(now_ms));
        }
        now_ms
    }

    fn random(&self) -> u64 {
        let bits = self.host.random();
        if self.host.exceeded().is_none() {
            self.note(HostRequest::Random, HostReply::Number(bits));
        }
        bits
    }

    fn authenticate(&self, session: &str, user: &str, secret: &str) -> Result<(), Refusal> {
        let request = HostRequest::Authenticate { session: session.to_owned(), user: user.to_owned() };
        self.noted(request, self.host.authenticate(session, user, secret), |()| HostReply::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_recordings_of_the_plugin_are_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let foreign =
            ["notes.jsonl", "chat.jsonl", "chat-1.jsonl", "chat-1-x.jsonl", "chat-room-1-1.jsonl", "chat-1-1.json"];
        let own: Vec<String> = (0..FILES_MAX + 5).map(|number| format!("chat-{number}-0.jsonl")).collect();
        for name in foreign.iter().copied().chain(own.iter().map(String::as_str)) {
            fs::write(folder.path().join(name), "").expect("a file");
        }
        tidy(folder.path(), &|name| is_of("chat", name)).expect("it is ours");
        for name in foreign {
            assert!(folder.path().join(name).exists(), "{name}");
        }
        assert_eq!(own.iter().filter(|name| folder.path().join(name).exists()).count(), FILES_MAX);
    }
}
