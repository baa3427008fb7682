//! Authentication: verifies tokens and answers who their bearer is. It knows no session and no transport, and does not decide
//! what a user may do: that is up to `access`.

pub(crate) mod budget;
pub(crate) mod callout;
pub(crate) mod crypto;
pub(crate) mod identity;
pub(crate) mod jwks;
pub(crate) mod keys;
pub(crate) mod passwords;
pub(crate) mod revocations;
pub(crate) mod token;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use rialto_protocol::{ErrorCode, Failure};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::budget::VerificationBudget;
use self::callout::{CallOut, CallOutError, Question};
use self::identity::{Identity, Roles, SharedParts};
use self::jwks::JwkFile;
use self::keys::KeySet;
use self::passwords::{Login, PasswordChecks, PasswordUsers};
use self::revocations::Revocations;
use self::token::{TokenError, Verifier};
use crate::config::Auth;
use crate::metrics::Metrics;
use crate::shares::network::Network;

/// When a client may try again whose token was not looked at.
const RETRY_MS: u64 = 1_000;

/// Verifies tokens by the configuration in force.
#[derive(Debug)]
pub(crate) struct Authenticator {
    /// None while the configuration has no `[auth]`.
    active: ArcSwapOption<Active>,
    parts: SharedParts,
    budget: VerificationBudget,
    passwords: PasswordChecks,
    pub(crate) revocations: Revocations,
    /// Whose turn it is to verify a token on a thread that may block.
    turn: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// What follows from one `[auth]`.
#[derive(Debug)]
struct Active {
    verifier: Verifier,
    jwks: Option<JwkFile>,
    users: PasswordUsers,
    callout: Option<Arc<CallOut>>,
    anonymous: bool,
    bad_tokens_per_s: u32,
}

impl Authenticator {
    pub(crate) fn new(auth: Option<&Auth>, metrics: Arc<Metrics>) -> Self {
        crypto::install();
        let new = Self {
            active: ArcSwapOption::empty(),
            parts: SharedParts::default(),
            budget: VerificationBudget::default(),
            passwords: PasswordChecks::default(),
            revocations: Revocations::default(),
            turn: Arc::new(Semaphore::new(1)),
            metrics,
        };
        new.set(auth);
        new
    }

    /// A list of roles, shared with everyone who has the same; none where it is empty.
    pub(crate) fn roles(&self, roles: Vec<Box<str>>) -> Option<Arc<Roles>> {
        self.parts.roles(roles)
    }

    /// Goes by another `[auth]` from now on, whose keys are all there is: sessions that are authenticated stay.
    pub(crate) fn set(&self, auth: Option<&Auth>) {
        let before = self.active.load_full();
        let active = auth.map(|auth| {
            let kept = before.as_ref().and_then(|before| before.jwks.as_ref());
            let jwks = auth.jwks.as_deref().map(|path| JwkFile::open(path, kept));
            let published = jwks.as_ref().map(JwkFile::keys).unwrap_or_default();
            let verifier = Verifier::new(auth, KeySet::new(&auth.key, published));
            let asked = before.as_ref().and_then(|before| before.callout.as_ref());
            let callout = auth.callout.as_ref().map(|settings| match asked {
                Some(asked) if asked.settings() == settings => Arc::clone(asked),
                _ => Arc::new(CallOut::new(settings, Arc::clone(&self.metrics))),
            });
            let (users, anonymous) = (PasswordUsers::new(auth), auth.anonymous);
            Arc::new(Active { verifier, jwks, users, callout, anonymous, bad_tokens_per_s: auth.bad_tokens_per_s })
        });
        self.active.store(active);
    }

    /// Reads the file of keys again where it has changed.
    pub(crate) fn follow_keys(&self, auth: Option<&Auth>) {
        let active = self.active.load_full();
        if active.is_some_and(|active| active.jwks.as_ref().is_some_and(JwkFile::is_changed)) {
            self.set(auth);
        }
    }

    /// Who the bearer of a token is, at this Unix time in milliseconds. Tokens that are not valid use up the share of the network
    /// that they come from; beyond it they are refused unseen.
    ///
    /// # Errors
    /// `unauthorized`, with one and the same message whatever is wrong with it, `expired` for a token that was valid, `rate_limited` for one
    /// that was not looked at.
    pub(crate) fn verify(&self, token: &str, network: Option<Network>, now_ms: u64) -> Result<Arc<Identity>, Failure> {
        let active = self.active.load();
        let Some(active) = active.as_ref() else {
            let text = "this broker is not set up to verify tokens";
            return Err(Failure::new(ErrorCode::Unauthorized, text));
        };
        let begun = Instant::now();
        if !self.budget.has_room(network, active.bad_tokens_per_s, begun) {
            self.metrics.tokens_unverified.add(1);
            let text = "rate limit: too many tokens that are not valid, try again later";
            return Err(Failure::new(ErrorCode::RateLimited, text).retry_after_ms(RETRY_MS));
        }
        let verified = active.verifier.verify(token, now_ms, &self.parts).and_then(|identity| {
            let is_revoked = self.revocations.covers(&identity, now_ms);
            if is_revoked { Err(TokenError::Revoked) } else { Ok(identity) }
        });
        verified.map_err(|error| {
            self.metrics.tokens_refused.add(1);
            self.budget.charge(network, active.bad_tokens_per_s, begun);
            tracing::debug!(%error, "a token was refused");
            error.to_failure()
        })
    }

    /// Who the bearer of a token is, as [`Authenticator::verify`] says; a token of another user than this one is as bad as one
    /// that is not valid.
    ///
    /// # Errors
    /// As [`Authenticator::verify`].
    pub(crate) fn verify_of(
        &self,
        login: &Login,
        network: Option<Network>,
        now_ms: u64,
    ) -> Result<Arc<Identity>, Failure> {
        let begun = Instant::now();
        let identity = self.verify(&login.password, network, now_ms)?;
        if *identity.user == *login.user {
            return Ok(identity);
        }
        let bad_per_s = self.active.load().as_ref().map_or(0, |active| active.bad_tokens_per_s);
        self.metrics.tokens_refused.add(1);
        self.budget.charge(network, bad_per_s, begun);
        Err(TokenError::Claims.to_failure())
    }

    /// A turn to verify a token on a thread that may block.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // Never closed.
        Arc::clone(&self.turn).acquire_owned().await.ok()
    }

    /// The backend that is asked about handshakes, if there is one.
    pub(crate) fn callout(&self) -> Option<Arc<CallOut>> {
        self.active.load().as_ref().and_then(|active| active.callout.clone())
    }

    /// Who a client is by what the backend says, at this Unix time in milliseconds; none for a session without a user. Refusals use
    /// up the share of the network that they come from, as tokens do.
    ///
    /// # Errors
    /// `unauthorized` where the backend refuses, `unavailable` where it does not answer, `rate_limited` where it was not asked.
    pub(crate) async fn ask(
        &self,
        callout: &CallOut,
        question: Question,
        network: Network,
        now_ms: u64,
    ) -> Result<Option<Arc<Identity>>, Failure> {
        let active = self.active.load_full();
        let (bad_per_s, anonymous) = active.map_or((0, false), |active| (active.bad_tokens_per_s, active.anonymous));
        if !self.budget.has_room(Some(network), bad_per_s, Instant::now()) {
            self.metrics.tokens_unverified.add(1);
            let text = "rate limit: too many refusals, try again later";
            return Err(Failure::new(ErrorCode::RateLimited, text).retry_after_ms(RETRY_MS));
        }
        let answer = match callout.ask(question, now_ms, &self.parts).await {
            Ok(Some(identity)) if self.revocations.covers(&identity, now_ms) => Err(CallOutError::Refused),
            Ok(None) if !anonymous => Err(CallOutError::Refused),
            answer => answer,
        };
        if answer == Err(CallOutError::Refused) {
            self.metrics.tokens_refused.add(1);
            // The wait for the backend costs no core.
            self.budget.charge(Some(network), bad_per_s, Instant::now());
        }
        answer.map_err(CallOutError::to_failure)
    }

    /// Whether there are users with passwords.
    pub(crate) fn has_passwords(&self) -> bool {
        self.active.load().as_ref().is_some_and(|active| !active.users.is_empty())
    }

    /// Whose name and password these are, at this Unix time in milliseconds.
    ///
    /// # Errors
    /// `unauthorized`, and `rate_limited` for a password that was not looked at.
    pub(crate) async fn log_in(
        &self,
        login: Login,
        network: Option<Network>,
        now_ms: u64,
    ) -> Result<Arc<Identity>, Failure> {
        let none = PasswordUsers::default();
        let active = self.active.load_full();
        let (users, bad_per_s) = active.as_ref().map_or((&none, 0), |active| (&active.users, active.bad_tokens_per_s));
        let from = (network, bad_per_s);
        let checked = self.passwords.check(users, login, from, now_ms, &self.parts).await;
        // Times of logins are whole seconds: in the second of a revocation it is not known which of both was first.
        let checked = checked.and_then(|identity| match self.revocations.covers(&identity, now_ms) {
            true => {
                let text = "the sessions of this user were ended just now, try again";
                Err(Failure::new(ErrorCode::RateLimited, text).retry_after_ms(RETRY_MS))
            }
            false => Ok(identity),
        });
        if let Err(failure) = &checked {
            let is_unseen = failure.code == ErrorCode::RateLimited;
            let counter = if is_unseen { &self.metrics.tokens_unverified } else { &self.metrics.tokens_refused };
            counter.add(1);
            tracing::debug!(code = failure.code.as_str(), "a login was refused");
        }
        checked
    }
}
