//! Authentication: verifies tokens and answers who their bearer is. It knows no session and no transport, and does not decide
//! what a user may do: that is up to `access`.

pub(crate) mod budget;
pub(crate) mod crypto;
pub(crate) mod identity;
pub(crate) mod jwks;
pub(crate) mod keys;
pub(crate) mod revocations;
pub(crate) mod token;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use rialto_protocol::{ErrorCode, Failure};

use self::budget::VerificationBudget;
use self::identity::{Identity, SharedParts};
use self::jwks::JwkFile;
use self::keys::KeySet;
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
    pub(crate) revocations: Revocations,
    metrics: Arc<Metrics>,
}

/// What follows from one `[auth]`.
#[derive(Debug)]
struct Active {
    verifier: Verifier,
    jwks: Option<JwkFile>,
    bad_tokens_per_s: u32,
}

impl Authenticator {
    pub(crate) fn new(auth: Option<&Auth>, metrics: Arc<Metrics>) -> Self {
        crypto::install();
        let new = Self {
            active: ArcSwapOption::empty(),
            parts: SharedParts::default(),
            budget: VerificationBudget::default(),
            revocations: Revocations::default(),
            metrics,
        };
        new.set(auth);
        new
    }

    /// Goes by another `[auth]` from now on, whose keys are all there is: sessions that are authenticated stay.
    pub(crate) fn set(&self, auth: Option<&Auth>) {
        let before = self.active.load_full();
        let active = auth.map(|auth| {
            let kept = before.as_ref().and_then(|before| before.jwks.as_ref());
            let jwks = auth.jwks.as_deref().map(|path| JwkFile::open(path, kept));
            let published = jwks.as_ref().map(JwkFile::keys).unwrap_or_default();
            let verifier = Verifier::new(auth, KeySet::new(&auth.key, published));
            Arc::new(Active { verifier, jwks, bad_tokens_per_s: auth.bad_tokens_per_s })
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
}
