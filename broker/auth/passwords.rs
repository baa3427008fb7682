//! Passwords of users in the configuration: verified by Argon2id (RFC 9106) on a thread that may block, one at a time, so that
//! they take at most one core and the memory of one. It knows no session.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;
use rialto_protocol::{ErrorCode, Failure};
use tokio::sync::Semaphore;

use super::budget::VerificationBudget;
use super::identity::{Identity, SharedParts};
use crate::config::{Auth, AuthUser};
use crate::shares::network::Network;
use crate::shares::{Holder, Shares};

/// Longest password, in bytes.
pub(crate) const PASSWORD_BYTES_MAX: usize = 512;

/// Most passwords that wait to be verified; each client has its share of these places.
const WAITING_MAX: u64 = 64;

/// When a client may try again whose password was not looked at.
const RETRY_MS: u64 = 1_000;

/// The users of the configuration in force.
#[derive(Debug, Default)]
pub(crate) struct PasswordUsers(HashMap<Box<str>, PasswordUser>);

#[derive(Debug)]
struct PasswordUser {
    hash: Arc<PasswordHash>,
    roles: Vec<String>,
}

/// A name and a password that somebody sent. What shows it does not show the password.
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// Who verifies passwords, whatever the configuration.
#[derive(Debug)]
pub(crate) struct PasswordChecks {
    places: Arc<Shares>,
    turn: Arc<Semaphore>,
    budget: VerificationBudget,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Default for PasswordChecks {
    fn default() -> Self {
        let places = Arc::new(Shares::new(WAITING_MAX));
        Self { places, turn: Arc::new(Semaphore::new(1)), budget: VerificationBudget::default() }
    }
}

impl PasswordUsers {
    /// Those of a configuration, whose hashes have been checked.
    pub(crate) fn new(auth: &Auth) -> Self {
        let user = |AuthUser { name, password, roles }: &AuthUser| {
            let hash = Arc::new(PasswordHash::new(password).ok()?);
            Some((name.as_str().into(), PasswordUser { hash, roles: roles.clone() }))
        };
        Self(auth.user.iter().filter_map(user).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the password of a login is compared with. For a name that nobody has it is somebody else's hash, so that the answer
    /// takes as long and does not tell which names there are.
    fn hash_for(&self, name: &str) -> Option<Arc<PasswordHash>> {
        let user = self.0.get(name).or_else(|| self.0.values().next())?;
        Some(Arc::clone(&user.hash))
    }
}

impl PasswordChecks {
    /// Whose name and password these are, at this Unix time in milliseconds.
    ///
    /// # Errors
    /// `unauthorized` with one and the same message whatever is wrong, `rate_limited` for a password that was not looked at.
    pub(crate) async fn check(
        &self,
        users: &PasswordUsers,
        login: Login,
        (network, bad_per_s): (Option<Network>, u32),
        now_ms: u64,
        parts: &SharedParts,
    ) -> Result<Arc<Identity>, Failure> {
        let Login { user: name, password } = login;
        let Some(hash) = users.hash_for(&name).filter(|_| password.len() <= PASSWORD_BYTES_MAX) else {
            return Err(wrong());
        };
        let holder = network.map_or(Holder::Trusted, Holder::Network);
        let place = self.places.take(&holder, 1).ok_or_else(busy)?;
        // Never closed.
        let turn = Arc::clone(&self.turn).acquire_owned().await.ok();
        let begun = Instant::now();
        if !self.budget.has_room(network, bad_per_s, begun) {
            return Err(busy());
        }
        let verified = tokio::task::spawn_blocking(move || {
            // They are held until the work is done, also where nobody waits for it any more.
            let _held = (place, turn);
            Argon2::default().verify_password(password.as_bytes(), &*hash).is_ok()
        });
        let is_right = verified.await.unwrap_or(false);
        match users.0.get(name.as_str()).filter(|_| is_right) {
            Some(user) => {
                let roles = parts.roles(user.roles.iter().map(|role| role.as_str().into()).collect());
                let now_s = u32::try_from(now_ms / 1_000).unwrap_or(u32::MAX);
                Ok(Arc::new(Identity::of_user(name.into(), roles).with_times(0, Some(now_s))))
            }
            None => {
                self.budget.charge(network, bad_per_s, begun);
                Err(wrong())
            }
        }
    }
}

fn wrong() -> Failure {
    Failure::new(ErrorCode::Unauthorized, "the user or the password is wrong")
}

fn busy() -> Failure {
    let text = "rate limit: too many passwords to verify, try again later";
    Failure::new(ErrorCode::RateLimited, text).retry_after_ms(RETRY_MS)
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordHasher as _;
    use argon2::{Algorithm, Params, Version};

    use super::*;

    fn users() -> PasswordUsers {
        let params = Params::new(16, 1, 1, None).expect("allowed");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let user = |name: &str, password: &str| {
            let hash = argon2.hash_password_with_salt(password.as_bytes(), b"0123456789abcdef").expect("a hash");
            AuthUser { name: name.to_owned(), password: hash.to_string(), roles: vec!["desk".to_owned()] }
        };
        PasswordUsers::new(&Auth { user: vec![user("ann", "horse"), user("bob", "staple")], ..Auth::default() })
    }

    fn network(number: u8) -> Option<Network> {
        Some(Network::of([10, 0, 0, number].into()))
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_user_is_right() {
        let (users, checks, parts) = (users(), PasswordChecks::default(), SharedParts::default());
        for (name, password, expected) in [
            ("ann", "horse", true),
            ("ann", "staple", false),
            ("ann", "", false),
            ("bob", "staple", true),
            // The hash that it is compared with may be of any user.
            ("eve", "horse", false),
            ("eve", "staple", false),
            ("", "horse", false),
        ] {
            let login = Login { user: name.to_owned(), password: password.to_owned() };
            assert!(!format!("{login:?}").contains("horse"));
            let checked = checks.check(&users, login, (network(1), 1_000), 5_000, &parts).await;
            assert_eq!(checked.as_ref().map(|identity| &*identity.user).ok(), expected.then_some(name));
            if let Ok(identity) = checked {
                assert!(identity.has_role("desk") && identity.issued_at_ms() == 5_000);
            }
        }
        let long = Login { user: "ann".to_owned(), password: "x".repeat(PASSWORD_BYTES_MAX + 1) };
        let refused = checks.check(&users, long, (network(1), 1_000), 0, &parts).await;
        assert_eq!(refused.map_err(|failure| failure.code), Err(ErrorCode::Unauthorized));
        let nobody = PasswordUsers::default();
        let login = Login { user: "ann".to_owned(), password: "horse".to_owned() };
        assert!(checks.check(&nobody, login, (network(1), 1_000), 0, &parts).await.is_err());
    }

    #[tokio::test]
    async fn who_guesses_is_refused_and_others_are_not() {
        let (users, checks, parts) = (users(), PasswordChecks::default(), SharedParts::default());
        let mut codes = Vec::new();
        for number in 0..5 {
            let login = Login { user: "ann".to_owned(), password: number.to_string() };
            let refused = checks.check(&users, login, (network(1), 3), 0, &parts).await;
            codes.push(refused.map_err(|failure| failure.code));
        }
        assert_eq!(codes[0], Err(ErrorCode::Unauthorized));
        assert_eq!(codes[4], Err(ErrorCode::RateLimited), "{codes:?}");
        let login = Login { user: "ann".to_owned(), password: "horse".to_owned() };
        assert!(checks.check(&users, login, (network(2), 3), 0, &parts).await.is_ok());
    }
}
