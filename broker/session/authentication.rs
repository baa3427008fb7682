//! Who a session belongs to: its token, when that expires, and what follows for its subscriptions when it or the rules change.

use std::net::IpAddr;
use std::sync::Arc;

use rialto_protocol::{CloseCode, Connect, ErrorCode, Failure, Reply};

use super::Session;
use super::authorization::Denials;
use super::lists::List;
use super::waiting::{Then, Waiting};
use crate::access::scopes::{anonymous, scopes};
use crate::auth::identity::Identity;
use crate::auth::passwords::Login;
use crate::hub::{Ending, Push, ScopedPattern, What, closing, work};
use crate::limits::quota::QuotaSlot;
use crate::limits::request_rates::{SessionRates, rates_of};
use crate::request::responder::Responder;
use crate::topic::{Pattern, Topic};

/// What it costs to verify a token, as units of a shard's work.
const VERIFY_WORK: usize = 64;

/// What only some sessions have: those with a user, or that need one, and those with rate limits.
#[derive(Default)]
pub(super) struct Extras {
    /// Its rates, where requests have any.
    pub(super) rates: Option<Box<SessionRates>>,
    /// How it is subscribed to each of its patterns.
    scoped: Vec<(Pattern, Vec<ScopedPattern>)>,
    /// Its place among the sessions of its user, where it was anonymous at first.
    _of_user: Option<QuotaSlot<Arc<str>>>,
    /// The expiry that it was warned of, Unix time in milliseconds.
    warned_of_ms: u64,
    /// When its first token is due, in milliseconds of the broker's own time; 0 where none is.
    token_due_ms: u64,
    /// What it waits for before it carries out anything else.
    pub(super) waiting: Option<Waiting>,
    /// What the program that embeds the broker refuses of the request that is carried out.
    pub(super) denials: Denials,
    /// The address of its client, where that program is asked.
    pub(super) address: Option<IpAddr>,
    /// Whether it has got an identity of which that program has not been asked.
    pub(super) has_signed_in: bool,
}

impl Session {
    pub(super) fn connect(&mut self, connect: &Connect<'_>, responder: Responder) {
        let Connect { token, client, instance, user, password } = connect;
        tracing::debug!(session = &*self.caller.member.session, ?client, "connect");
        if let (Some(user), Some(password)) = (user, password) {
            let login = Login { user: user.clone().into_owned(), password: password.clone().into_owned() };
            return self.log_in(login, instance.as_ref().map(|instance| (**instance).into()), responder);
        }
        let belongs = token.as_ref().map_or(Ok(()), |token| self.authenticate(token));
        self.connected(belongs, instance.as_deref(), responder);
    }

    /// Has a password verified, which takes time, and then answers as [`Session::connected`].
    fn log_in(&mut self, login: Login, instance: Option<Box<str>>, responder: Responder) {
        let (core, network) = (Arc::clone(&self.broker.core), self.caller.network);
        self.wait_for(async move {
            let checked = core.auth.log_in(login, network, core.clock.unix_ms()).await;
            let then: Then = Box::new(move |session: &mut Self| {
                let belongs = checked.and_then(|identity| session.belong(identity));
                session.connected(belongs, instance.as_deref(), responder);
            });
            then
        });
    }

    /// Answers a `connect` whose credentials are accepted or not.
    pub(super) fn connected(&mut self, belongs: Result<(), Failure>, instance: Option<&str>, responder: Responder) {
        if let Err(failure) = belongs {
            return responder.fail(failure);
        }
        let Some(responder) = self.asks_to_sign_in(instance, responder) else { return };
        if self.is_unauthenticated() {
            return responder.fail(token_required());
        }
        if let Some(instance) = instance {
            match self.caller.instance() {
                Some(known) if *known != *instance => {
                    let text = "field \"instance\" differs from that of an earlier connect of this session";
                    return responder.fail(Failure::new(ErrorCode::BadRequest, text));
                }
                Some(_) => {}
                None => self.caller.set_instance(instance),
            }
        }
        let expires_at = self.caller.identity().and_then(Identity::expires_at_ms);
        let rates = rates_of(&self.caller.holder(), &self.broker.core.config.load().rates);
        responder.ok(Reply::Connected { member: self.caller.member.clone(), expires_at, rates });
    }

    /// Whether it has to send a token before anything else.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        let requires_token = || self.broker.core.config.load().auth.as_ref().is_some_and(|auth| !auth.anonymous);
        self.caller.identity().is_none() && requires_token()
    }

    /// The longest message that it may send before it is authenticated.
    pub(crate) fn first_message_bytes(&self) -> Option<usize> {
        let config = self.broker.core.config.load();
        let token_bytes = config.auth.as_ref().filter(|auth| !auth.anonymous)?.token_bytes;
        self.caller.identity().is_none().then_some(token_bytes + super::CONNECT_BYTES)
    }

    /// It belongs to the bearer of this token from now on.
    fn authenticate(&mut self, token: &str) -> Result<(), Failure> {
        work::add(VERIFY_WORK);
        let core = &self.broker.core;
        let identity = core.auth.verify(token, self.caller.network, core.clock.unix_ms())?;
        self.belong(identity)
    }

    /// It belongs to this user from now on.
    fn belong(&mut self, identity: Arc<Identity>) -> Result<(), Failure> {
        let core = &self.broker.core;
        match &self.caller.member.user {
            Some(user) if **user != *identity.user => {
                let text = "the token is another user's: connect anew";
                return Err(Failure::new(ErrorCode::BadRequest, text));
            }
            Some(_) => {}
            None if self.has_subscriptions() => {
                let text = "a session sends its first token before it subscribes";
                return Err(Failure::new(ErrorCode::BadRequest, text));
            }
            None => {
                let limits = &core.config.load().limits;
                let slot = core.session_limits.slot_of_user(limits, &identity.user);
                let too_many = || Failure::new(ErrorCode::TooMany, "session limit of this user reached");
                self.extras.get_or_insert_default()._of_user = Some(slot.ok_or_else(too_many)?);
            }
        }
        if core.authorizer.is_some() {
            self.extras.get_or_insert_default().has_signed_in = true;
        }
        self.caller.set_identity(identity);
        let (key, member) = (self.caller.key, self.caller.member.clone());
        core.hub.run_on(key.shard(), move |shard| shard.set_member(key, &member));
        self.watch_times();
        self.begin_recheck();
        Ok(())
    }

    fn has_subscriptions(&self) -> bool {
        self.subscriptions.len() + self.patterns.len() + self.caller.assigned.len() > 0
    }

    /// Has itself woken when its token is about to expire, when it has, or when a first token is due.
    pub(super) fn watch_times(&mut self) {
        let core = &self.broker.core;
        let config = core.config.load();
        // A program that embeds the broker may have said who it is, without tokens.
        let auth = config.auth.as_ref();
        let Some(identity) = self.caller.identity() else {
            if let Some(auth) = auth
                && self.is_unauthenticated()
            {
                let state = self.extras.get_or_insert_default();
                let now_ms = core.clock.monotonic_ms();
                if state.token_due_ms == 0 {
                    state.token_due_ms = now_ms.saturating_add(auth.auth_ms).max(1);
                }
                self.broker.wake_after(&self.caller, state.token_due_ms.saturating_sub(now_ms));
            }
            return;
        };
        let Some(expires_at_ms) = identity.expires_at_ms() else { return };
        let is_warned = self.extras.as_ref().is_some_and(|state| state.warned_of_ms == expires_at_ms);
        let warn_ms = auth.map_or(0, |auth| auth.warn_ms);
        match is_warned || warn_ms == 0 {
            true => self.broker.watch_expiry(&self.caller),
            false => {
                let warn_at_ms = expires_at_ms.saturating_sub(warn_ms);
                self.broker.wake_after(&self.caller, warn_at_ms.saturating_sub(core.clock.unix_ms()));
            }
        }
    }

    /// Looks at its token and its permissions again: a time has come, or rules have changed.
    ///
    /// # Errors
    /// How the session ends.
    pub(crate) fn recheck(&mut self) -> Result<(), Ending> {
        self.check_token()?;
        self.begin_recheck();
        Ok(())
    }

    fn check_token(&mut self) -> Result<(), Ending> {
        let core = &self.broker.core;
        let Some(identity) = self.caller.identity() else {
            let due_ms = self.extras.as_ref().map_or(0, |state| state.token_due_ms);
            if self.is_unauthenticated() && due_ms != 0 && core.clock.monotonic_ms() >= due_ms {
                return Err(Ending::Closed(closing(CloseCode::Unauthorized, "no token came in time", None)));
            }
            // The rules of now may want a token.
            self.watch_times();
            return Ok(());
        };
        if let Some(closing) = self.broker.token_end(&self.caller) {
            return Err(Ending::Closed(closing));
        }
        let config = core.config.load();
        let (Some(expires_at), Some(auth)) = (identity.expires_at_ms(), config.auth.as_ref()) else {
            self.watch_times();
            return Ok(());
        };
        let is_due = core.clock.unix_ms() >= expires_at.saturating_sub(auth.warn_ms);
        let is_warned = self.extras.as_ref().is_some_and(|extras| extras.warned_of_ms == expires_at);
        if is_due && auth.warn_ms > 0 && !is_warned {
            self.extras.get_or_insert_default().warned_of_ms = expires_at;
            let what = What::TokenExpiring { expires_at };
            core.hub.push(self.caller.key, Push { what, in_flight: None });
        }
        self.watch_times();
        Ok(())
    }

    /// Begins to look at each of its subscriptions. Requests that come meanwhile are carried out after that.
    fn begin_recheck(&mut self) {
        if !self.has_subscriptions() {
            return;
        }
        // What is left of a list is carried out first, and by the permissions of now.
        while self.go_on() {}
        let topics: Vec<Topic> = self.subscriptions.keys().cloned().collect();
        let patterns: Vec<Pattern> = self.patterns.keys().cloned().collect();
        self.list = Some(Box::new(List::Recheck(topics.into_iter(), patterns.into_iter())));
    }

    /// Ends a subscription that is not permitted any more.
    pub(super) fn recheck_topic(&mut self, topic: &Topic) {
        if self.broker.core.topics.options(topic).is_none() {
            // It ended with the rule, and its client was told.
            self.subscriptions.remove(topic);
            return;
        }
        let Err(failure) = self.broker.may_stay(&self.caller, topic) else { return };
        let Some(state) = self.subscriptions.remove(topic).filter(|state| state.is_in()) else { return };
        drop(state);
        self.broker.exclude(&self.caller, topic, failure);
    }

    /// Changes how it is subscribed to a pattern to what is permitted now.
    pub(super) fn recheck_pattern(&mut self, pattern: &Pattern) {
        let before = self.scoped(pattern);
        let now = self.scopes(pattern);
        let added: Vec<_> = now.iter().filter(|one| !before.contains(one)).cloned().collect();
        let removed: Vec<_> = before.into_iter().filter(|one| !now.contains(one)).collect();
        let hub = self.broker.core.hub.clone();
        let failure = match now.is_empty() {
            true => Some(Failure::new(ErrorCode::Forbidden, "this pattern selects no topic for this session")),
            false => self.broker.select(&self.caller, &added, || {}).err(),
        };
        hub.deselect(self.caller.key, &removed);
        match failure {
            None => self.set_scoped(pattern, now),
            Some(failure) => {
                let kept: Vec<_> = now.into_iter().filter(|one| !added.contains(one)).collect();
                hub.deselect(self.caller.key, &kept);
                self.patterns.remove(pattern);
                self.set_scoped(pattern, Vec::new());
                self.push(What::PatternEnded { pattern: pattern.clone(), failure });
            }
        }
    }

    fn push(&self, what: What) {
        self.broker.core.hub.push(self.caller.key, Push { what, in_flight: None });
    }

    /// How it may be subscribed to a pattern.
    pub(super) fn scopes(&self, pattern: &Pattern) -> Vec<ScopedPattern> {
        let config = self.broker.core.config.load();
        // As much work as a subscription for some rules.
        work::add(config.rules.iter().count() / 16);
        scopes(self.caller.identity(), pattern, &config.rules)
    }

    /// How it is subscribed to a pattern.
    pub(super) fn scoped(&self, pattern: &Pattern) -> Vec<ScopedPattern> {
        let known = self.extras.iter().flat_map(|state| &state.scoped);
        match known.into_iter().find(|(known, _)| known == pattern) {
            Some((_, scoped)) => scoped.clone(),
            None => anonymous(pattern),
        }
    }

    /// Remembers how it is subscribed to a pattern; where that is as every anonymous session there is nothing to remember.
    pub(super) fn set_scoped(&mut self, pattern: &Pattern, scoped: Vec<ScopedPattern>) {
        if let Some(state) = &mut self.extras {
            state.scoped.retain(|(known, _)| known != pattern);
        }
        if !scoped.is_empty() && scoped != anonymous(pattern) {
            self.extras.get_or_insert_default().scoped.push((pattern.clone(), scoped));
        }
    }
}

pub(super) fn token_required() -> Failure {
    Failure::new(ErrorCode::Unauthorized, "a token or a login is required: send it in a connect")
}
