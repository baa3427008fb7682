//! The life of a connection: attempt, welcome, authentication, use, loss, pause, and whether to reconnect.

use std::time::{Duration, Instant};

use rialto_protocol::{CloseCode, Connect, ErrorCode, Failure, Greeting, Operation, Request};

use super::{Action, Machine, Moment, Phase, Refusal};
use crate::Ending;
use crate::credential::{Credential, SignIn};
use crate::event::{Event, Session};

/// After a session that lasted so long the pauses begin anew.
const LASTING: Duration = Duration::from_secs(10);

/// How long a broker may take to answer a probe.
const PROBE: Duration = Duration::from_secs(10);

/// The shortest time between two pings, whatever the welcome says.
const PING_LEAST: Duration = Duration::from_millis(100);

/// Codes that the broker never sends: a Close without a code, none at all, and what a proxy says of itself or of a broker that
/// restarts (1012, 1014, 1015 of the IANA registry). The broker has not said "stop", so the client comes back.
const FOREIGN_RECONNECT: [u16; 5] = [1005, 1006, 1012, 1014, 1015];

/// How a session or an attempt ended.
#[derive(Debug, Default)]
pub(super) struct Loss {
    pub(super) code: Option<u16>,
    pub(super) reason: String,
    pub(super) hint: Option<Duration>,
}

impl Machine {
    /// The connection is open.
    pub(crate) fn opened(&mut self, now: Moment) {
        if self.phase == Phase::Connecting {
            self.phase = Phase::Greeting;
            self.heard_at = now.instant;
        }
    }

    /// The connection could not be opened.
    pub(crate) fn refused(&mut self, now: Moment, refusal: Refusal) {
        if self.phase != Phase::Connecting {
            return;
        }
        let Refusal { status, retry_after, reason } = refusal;
        match status {
            Some(401) if self.credentials.is_of_handshake() => self.stop(Ending::Unauthorized(reason)),
            Some(status @ 400..=499) if !matches!(status, 408 | 425 | 429) => {
                self.stop(Ending::Door { status, reason })
            }
            code => self.lose(now, Loss { code, reason, hint: retry_after }),
        }
    }

    /// The connection has ended, with the broker's close code if it sent one.
    pub(crate) fn closed(&mut self, now: Moment, close: Option<(u16, String)>) {
        if matches!(self.phase, Phase::Closed(_) | Phase::Resting { .. }) {
            return;
        }
        let closing = self.closing.take();
        let hint = closing.as_ref().and_then(|closing| closing.retry_after_ms).map(Duration::from_millis);
        let said = closing.map(|closing| (closing.code, closing.message));
        let Some((code, reason)) = close.or_else(|| said.clone()) else {
            let reason = "the connection was lost".to_owned();
            return self.lose(now, Loss { code: None, reason, hint: None });
        };
        // A Close has room for less than a `closing` frame.
        let reason = said.map_or(reason, |(_, message)| message);
        match CloseCode::from_number(code) {
            // It is about the headers that are being replaced.
            Some(CloseCode::Unauthorized | CloseCode::TokenExpired) if self.replace_until.is_some() => {
                self.lose(now, Loss { code: Some(code), reason, hint })
            }
            Some(CloseCode::Unauthorized) if !self.credentials.refused() => self.stop(Ending::Unauthorized(reason)),
            Some(CloseCode::TokenExpired) if self.settings.sign_in == SignIn::Never => {
                self.stop(Ending::Closed { code, reason })
            }
            Some(CloseCode::Unauthorized | CloseCode::TokenExpired) => {
                self.credentials.refused();
                self.lose(now, Loss { code: Some(code), reason, hint });
            }
            Some(known) if known.reconnect() => self.lose(now, Loss { code: Some(code), reason, hint }),
            None if FOREIGN_RECONNECT.contains(&code) => self.lose(now, Loss { code: Some(code), reason, hint }),
            _ => self.stop(Ending::Closed { code, reason }),
        }
    }

    /// The program returned what to sign in with, or a reason why there is nothing.
    pub(crate) fn credential(&mut self, now: Moment, fetched: Result<Credential, String>) {
        match fetched {
            Ok(credential) => {
                self.credentials.fetched(credential, self.phase == Phase::Open);
                match self.phase {
                    Phase::Fetching => self.connect(),
                    Phase::Open if self.credentials.is_of_handshake() => {
                        self.replace_until = Some(now.instant + self.settings.attempt);
                        self.replace_if_due(now);
                    }
                    Phase::Open => self.reauthenticate(),
                    _ => {}
                }
            }
            Err(reason) => {
                self.credentials.not_fetched(now);
                if self.phase == Phase::Fetching {
                    self.lose(now, Loss { reason: format!("nothing to sign in with: {reason}"), ..Loss::default() });
                }
            }
        }
    }

    /// Something came from the broker, be it a ping.
    pub(crate) fn alive(&mut self, now: Moment) {
        self.heard_at = now.instant;
        self.is_probing = false;
    }

    /// Nothing is read for now, because a subscription has no room.
    pub(crate) fn hold(&mut self, now: Moment) {
        self.held_since.get_or_insert(now.instant);
    }

    /// Reading goes on.
    pub(crate) fn release(&mut self, now: Moment) {
        if self.held_since.take().is_some() {
            self.alive(now);
        }
    }

    /// The program wants no more.
    pub(crate) fn close(&mut self) {
        self.stop(Ending::Asked);
    }

    pub(super) fn tick_session(&mut self, now: Moment) {
        match self.phase {
            Phase::Resting { until } if until <= now.instant => self.begin(now),
            Phase::Open => self.tick_open(now),
            _ => {}
        }
        if self.attempt_until.is_some_and(|until| until <= now.instant) {
            let reason = match self.phase {
                Phase::Fetching => "nothing to sign in with came in time",
                Phase::Connecting => "the connection was not open in time",
                _ => "the broker did not speak in time",
            };
            self.drop_connection(now, reason);
        }
    }

    pub(super) fn open_wake_at(&self) -> Option<Instant> {
        let liveness = match self.held_since {
            Some(since) => since + self.ping() / 2,
            None if self.is_probing => self.heard_at + self.ping() + PROBE,
            None => self.heard_at + self.ping(),
        };
        let replacing = self.replace_until.filter(|_| self.closing.is_none());
        let others = [self.credentials.refresh_at(), replacing, self.subscriptions.later_at()];
        others.into_iter().flatten().chain([liveness]).min()
    }

    pub(super) fn greeted(&mut self, now: Moment, greeting: Greeting) {
        if self.phase != Phase::Greeting {
            return;
        }
        let (has_user, expires_at) = (greeting.member.user.is_some(), greeting.expires_at);
        self.greeting = Some(greeting);
        let is_of_handshake = self.credentials.is_of_handshake();
        if is_of_handshake && has_user {
            self.credentials.accepted_in_handshake(now, expires_at);
        } else if is_of_handshake && self.credentials.had_user() {
            let failure = Failure::new(ErrorCode::Unauthorized, "by the fresh headers the client is no user any more");
            return self.not_authenticated(now, failure);
        } else if is_of_handshake || self.credentials.in_connect().is_some() {
            // A broker that serves only users refuses it, and would refuse subscriptions for good.
            let id = self.new_id();
            self.phase = Phase::Authenticating(id);
            return self.send_connect(Some(id));
        }
        // It can hardly be refused, so that no answer is needed.
        self.send_connect(None);
        self.open(now);
    }

    /// The broker answered a `connect`.
    pub(super) fn authenticated(&mut self, now: Moment, connected: rialto_protocol::Connected) {
        self.credentials.accepted(now, connected.expires_at);
        if let Some(greeting) = &mut self.greeting {
            greeting.member.user = connected.user;
            greeting.member.info = connected.info;
            greeting.limits.rates = connected.rates;
        }
        if matches!(self.phase, Phase::Authenticating(_)) {
            self.open(now);
        }
    }

    /// The broker refused a `connect`.
    pub(super) fn not_authenticated(&mut self, now: Moment, failure: Failure) {
        use ErrorCode::{Expired, Unauthorized};
        let is_final = matches!(failure.code, Unauthorized | Expired) && !self.credentials.refused();
        if is_final {
            self.actions.push_back(Action::Disconnect(CloseCode::Normal.number()));
            return self.stop(Ending::Unauthorized(failure.message));
        }
        let hint = failure.retry_after_ms.map(Duration::from_millis);
        self.actions.push_back(Action::Disconnect(CloseCode::Normal.number()));
        self.lose(now, Loss { code: None, reason: failure.to_string(), hint });
    }

    /// Gives up the connection, or the attempt, and comes back later.
    pub(super) fn drop_connection(&mut self, now: Moment, reason: &str) {
        if self.phase != Phase::Fetching {
            self.actions.push_back(Action::Disconnect(CloseCode::Normal.number()));
        }
        self.lose(now, Loss { reason: reason.to_owned(), ..Loss::default() });
    }

    fn begin(&mut self, now: Moment) {
        self.attempt_until = Some(now.instant + self.settings.attempt);
        if self.credentials.must_fetch(now) {
            self.phase = Phase::Fetching;
            self.fetch_credential();
        } else {
            self.connect();
        }
    }

    fn connect(&mut self) {
        self.phase = Phase::Connecting;
        self.actions.push_back(Action::Connect(self.credentials.in_handshake()));
    }

    fn fetch_credential(&mut self) {
        if self.credentials.begin_fetch() {
            self.actions.push_back(Action::FetchCredential);
        }
    }

    /// Ends a session that goes on in another connection, once its requests are answered or have taken too long.
    pub(super) fn replace_if_due(&mut self, now: Moment) {
        let Some(until) = self.replace_until.filter(|_| self.phase == Phase::Open) else { return };
        // A broker that closes says itself when to come back.
        if self.closing.is_some() || (now.instant < until && self.requests.are_under_way()) {
            return;
        }
        if now.instant.saturating_duration_since(self.opened_at) >= LASTING {
            self.backoff.reset();
        }
        self.forget_session();
        self.actions.push_back(Action::Disconnect(CloseCode::Normal.number()));
        let reason = "another connection takes its place".to_owned();
        self.emit(Event::Disconnected { code: None, reason, retry_in: Duration::ZERO });
        let over = self.requests.lose();
        self.actions.extend(over);
        self.attempt_until = Some(now.instant + self.settings.attempt);
        self.connect();
    }

    fn reauthenticate(&mut self) {
        let id = self.new_id();
        self.refreshing = Some(id);
        self.send_connect(Some(id));
    }

    fn send_connect(&mut self, id: Option<u64>) {
        let (token, user, password) = match self.credentials.in_connect() {
            Some(Credential::Token(token)) => (Some(token.as_str().into()), None, None),
            Some(Credential::Login { user, password }) => {
                (None, Some(user.as_str().into()), Some(password.as_str().into()))
            }
            Some(Credential::Headers(_)) | None => (None, None, None),
        };
        let client = Some(self.settings.client.as_str().into());
        let mut frame = Vec::new();
        let instance = Some(self.settings.instance.as_str().into());
        Request { id, operation: Operation::Connect(Connect { token, client, instance, user, password }) }
            .encode(self.settings.codec, &mut frame);
        self.actions.push_back(Action::Send(frame));
    }

    fn open(&mut self, now: Moment) {
        let Some(Greeting { member, server, node, limits, .. }) = self.greeting.clone() else { return };
        self.phase = Phase::Open;
        self.attempt_until = None;
        self.patience_until = None;
        self.opened_at = now.instant;
        self.emit(Event::Connected(Session { member, server, node, limits }));
        self.subscribe_due(now);
        self.send_unsent();
    }

    fn tick_open(&mut self, now: Moment) {
        if self.subscriptions.later_at().is_some_and(|at| at <= now.instant) {
            self.subscribe_due(now);
        }
        if self.credentials.refresh_at().is_some_and(|at| at <= now.instant) {
            self.fetch_credential();
        }
        self.replace_if_due(now);
        if self.phase != Phase::Open {
            return;
        }
        if let Some(since) = &mut self.held_since {
            if *since + self.greeting.as_ref().map_or(PING_LEAST, ping) / 2 <= now.instant {
                *since = now.instant;
                self.actions.push_back(Action::Beat);
            }
            return;
        }
        let silence = now.instant.saturating_duration_since(self.heard_at);
        if self.is_probing && silence >= self.ping() + PROBE {
            self.drop_connection(now, "the broker does not answer");
        } else if !self.is_probing && silence >= self.ping() {
            self.is_probing = true;
            self.actions.push_back(Action::Probe);
        }
    }

    fn ping(&self) -> Duration {
        self.greeting.as_ref().map_or(PING_LEAST, ping)
    }

    /// There is no session any more, but there will be.
    fn lose(&mut self, now: Moment, loss: Loss) {
        if self.phase == Phase::Open && now.instant.saturating_duration_since(self.opened_at) >= LASTING {
            self.backoff.reset();
        }
        self.forget_session();
        let retry_in = self.backoff.pause(loss.hint, &mut self.random);
        let until = now.instant + retry_in;
        if self.patience_until.is_some_and(|patience| until > patience) {
            let hint = loss.hint.map_or(String::new(), |hint| format!(" (it asks to come back after {hint:?})"));
            return self.stop(Ending::Unreachable(loss.reason + &hint));
        }
        self.phase = Phase::Resting { until };
        self.emit(Event::Disconnected { code: loss.code, reason: loss.reason, retry_in });
        let over = self.requests.lose();
        self.actions.extend(over);
    }

    fn forget_session(&mut self) {
        self.attempt_until = None;
        self.refreshing = None;
        self.replace_until = None;
        self.closing = None;
        self.is_probing = false;
        self.pending_subscribes.clear();
        self.subscriptions.lose();
    }

    /// For ever.
    fn stop(&mut self, ending: Ending) {
        if matches!(self.phase, Phase::Closed(_)) {
            return;
        }
        if matches!(self.phase, Phase::Connecting | Phase::Greeting | Phase::Authenticating(_) | Phase::Open) {
            self.actions.push_back(Action::Disconnect(CloseCode::Normal.number()));
        }
        self.forget_session();
        self.phase = Phase::Closed(ending.clone());
        let over = self.requests.close(&ending);
        self.actions.extend(over);
        for opening in self.subscriptions.take_openings() {
            let error = crate::Error::Closed { ending: ending.clone(), may_have_acted: false };
            self.answer(opening.ticket, Err(error));
        }
        let ends = self.subscriptions.streams().into_iter().map(Action::End);
        self.actions.extend(ends);
        self.emit(Event::Closed(ending));
    }
}

fn ping(greeting: &Greeting) -> Duration {
    Duration::from_millis(greeting.ping_ms).max(PING_LEAST)
}
