//! The life of a session's token: when it ends, and revocation.

use std::sync::Arc;

use rialto_protocol::{CloseCode, Closing, ErrorCode, Failure, Tokens};

use super::Broker;
use crate::auth::identity::Identity;
use crate::auth::passwords::Login;
use crate::auth::revocations::{Revoked, TooManyRevocations};
use crate::authorizer::{AccessAction, AccessRequest, DecisionLimits, Requester};
use crate::config::{Auth, AuthUser};
use crate::hub::closing;
use crate::request::caller::CallerSession;
use crate::shares::network::Network;

/// How long a revocation is in force where nothing is said: longer than most tokens live.
const REVOKED_MS: u64 = 24 * 3_600_000;

/// The longest revocation: ten years.
const REVOKED_MS_MAX: u64 = 315_360_000_000;

/// Why a session was not authenticated, whatever is wrong with what it sent.
const WRONG_SECRET: &str = "the user or the secret is wrong";

/// The same where that was not looked at.
const TOO_MANY_SECRETS: &str = "rate limit: too many secrets that are not valid, try again later";

impl Broker {
    /// How a session has to end because of its token, if it has to.
    pub(crate) fn token_end(&self, caller: &CallerSession) -> Option<Closing> {
        let (identity, now_ms) = (caller.identity()?, self.core.clock.unix_ms());
        let revocations = &self.core.auth.revocations;
        if revocations.covers(identity, now_ms) || revocations.covers_session(&caller.member.session, identity, now_ms)
        {
            return Some(closing(CloseCode::Unauthorized, "the token was revoked", None));
        }
        let is_over = identity.expires_at_ms().is_some_and(|at_ms| now_ms >= at_ms.saturating_add(self.leeway_ms()));
        is_over.then(|| closing(CloseCode::TokenExpired, "the token has expired", None))
    }

    /// Who a session is by the password or token that it sent to a plugin, where the program that embeds the broker agrees.
    ///
    /// # Errors
    /// With one and the same text whatever is wrong, and others where the secret was not looked at or the program refuses.
    pub(crate) async fn identify(
        &self,
        session: Arc<str>,
        login: Login,
        network: Option<Network>,
    ) -> Result<Arc<Identity>, String> {
        let identity = self.verify_secret(login, network).await?;
        let Some(authorizer) = &self.core.authorizer else { return Ok(identity) };
        let (user, roles) = (Some(Arc::clone(&identity.user)), identity.roles.clone());
        let requester = Requester { session, user, roles, address: None };
        let requests = vec![AccessRequest::new(&requester, AccessAction::SignIn)];
        let limits = DecisionLimits::of(&self.core.config.load().limits);
        let denials = authorizer.decide(requests, limits).await.map_err(|failure| failure.message)?;
        denials.into_iter().next().map_or(Ok(identity), |(_, failure)| Err(failure.message))
    }

    /// Whose password or token this is. It is verified on a thread that may block.
    async fn verify_secret(&self, login: Login, network: Option<Network>) -> Result<Arc<Identity>, String> {
        let (core, now_ms) = (Arc::clone(&self.core), self.core.clock.unix_ms());
        let verified = match is_token(&login.password) || !core.auth.has_passwords() {
            false => core.auth.log_in(login, network, now_ms).await,
            true => {
                // One at a time, as passwords: they take at most one core.
                let turn = core.auth.turn().await;
                let verified = tokio::task::spawn_blocking(move || {
                    let _held = turn;
                    core.auth.verify_of(&login, network, now_ms)
                });
                let ended = |_| Err(Failure::new(ErrorCode::Internal, "the broker ends"));
                verified.await.unwrap_or_else(ended)
            }
        };
        verified.map_err(|failure| match failure.code {
            ErrorCode::RateLimited => TOO_MANY_SECRETS.to_owned(),
            _ => WRONG_SECRET.to_owned(),
        })
    }

    /// Has a session woken when its token has expired.
    pub(crate) fn watch_expiry(&self, caller: &CallerSession) {
        let Some(at_ms) = caller.identity().and_then(Identity::expires_at_ms) else { return };
        let left_ms = at_ms.saturating_add(self.leeway_ms()).saturating_sub(self.core.clock.unix_ms());
        self.wake_after(caller, left_ms);
    }

    /// Has a session look at its token in so many milliseconds.
    pub(crate) fn wake_after(&self, caller: &CallerSession, after_ms: u64) {
        let key = caller.key;
        self.core.hub.run_on(key.shard(), move |shard| shard.recheck_after(key, after_ms));
    }

    /// Ends the sessions of the users with a password whose entry another configuration has changed or removed, when they look at
    /// their permissions again.
    pub(super) fn revoke_changed_users(&self, before: Option<&Auth>, now: Option<&Auth>) {
        let users = |auth: Option<&'_ Auth>| -> Vec<AuthUser> { auth.map_or_else(Vec::new, |auth| auth.user.clone()) };
        let (before, now) = (users(before), users(now));
        let now_ms = self.core.clock.unix_ms();
        for user in before.into_iter().filter(|user| !now.contains(user)) {
            let revoked = Revoked::User(user.name.as_str().into());
            if self.core.auth.revocations.add(revoked, now_ms, now_ms.saturating_add(REVOKED_MS)).is_err() {
                tracing::error!(user = user.name, "too many revocations are in force: sessions of this user go on");
            }
        }
    }

    fn leeway_ms(&self) -> u64 {
        self.core.config.load().auth.as_ref().map_or(0, |auth| auth.leeway_ms)
    }

    /// Revokes tokens for so many milliseconds, at most ten years; by default a day, or until the broker ends. Sessions that have
    /// one of them end with 4001. Unknown tokens, users and sessions are no error.
    ///
    /// # Errors
    /// `bad_request` for a longer time, `too_many` where there are as many revocations as there may be.
    pub fn revoke(&self, tokens: &Tokens<'_>, for_ms: Option<u64>) -> Result<(), Failure> {
        let for_ms = for_ms.unwrap_or(REVOKED_MS);
        if for_ms > REVOKED_MS_MAX {
            let text = format!("field \"for_ms\" is at most {REVOKED_MS_MAX}");
            return Err(Failure::new(ErrorCode::BadRequest, text));
        }
        let revoked = match tokens {
            Tokens::OfSession(session) => Revoked::Session((**session).into()),
            Tokens::OfUser(user) => Revoked::User((**user).into()),
            Tokens::One(token) => Revoked::Token((**token).into()),
        };
        let now_ms = self.core.clock.unix_ms();
        let until_ms = now_ms.saturating_add(for_ms);
        self.core.auth.revocations.add(revoked, now_ms, until_ms).map_err(|TooManyRevocations| {
            Failure::new(ErrorCode::TooMany, "there are too many revocations in force")
        })?;
        self.core.hub.recheck_all();
        Ok(())
    }
}

/// Whether a secret has the form of a token (RFC 7515 section 7.1): three parts, of which the first is a JSON object in base64.
fn is_token(secret: &str) -> bool {
    secret.starts_with("ey") && secret.split('.').count() == 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_has_the_form_of_a_token_is_one() {
        for (secret, expected) in [
            ("eyJhbGciOiJIUzI1NiJ9.e30.c2ln", true),
            ("eyAi.e30.", true),
            ("eyJhbGciOiJIUzI1NiJ9.e30", false),
            ("eyJh.e30.c2ln.more", false),
            ("ey is a word", false),
            ("a.b.c", false),
            ("", false),
        ] {
            assert_eq!(is_token(secret), expected, "{secret}");
        }
    }
}
