//! Who a session belongs to, as the program that embeds the broker says it.

use std::sync::Arc;

use crate::auth::Authenticator;
use crate::auth::identity::Identity as KnownIdentity;

/// Who a session belongs to, for a program that embeds the broker.
///
/// ```
/// use rialto::Identity;
///
/// let anybody = Identity::anonymous();
/// let ann = Identity::user("ann").role("trader").expires_at(1_900_000_000_000);
/// assert_eq!((anybody.name(), ann.name()), (None, Some("ann")));
/// assert!(ann.has_role("trader"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    user: Option<String>,
    roles: Vec<String>,
    expires_at: Option<u64>,
}

impl Identity {
    /// Nobody in particular.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// A user, without a role, for as long as the session lasts.
    #[must_use]
    pub fn user(name: impl Into<String>) -> Self {
        Self { user: Some(name.into()), ..Self::default() }
    }

    /// The same with one more role, which topic rules may name. Without a user it means nothing.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.roles.push(role.into());
        self
    }

    /// The same with more roles.
    #[must_use]
    pub fn roles<R: Into<String>>(mut self, roles: impl IntoIterator<Item = R>) -> Self {
        self.roles.extend(roles.into_iter().map(Into::into));
        self
    }

    /// The same until then, Unix time in milliseconds, of which whole seconds count: its session is closed with 4002.
    /// Without a user it means nothing.
    #[must_use]
    pub fn expires_at(mut self, unix_ms: u64) -> Self {
        self.expires_at = Some(unix_ms);
        self
    }

    /// The name of the user; none for an anonymous one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Whether it has a role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|one| one == role)
    }

    /// When it ends, Unix time in milliseconds; none where it does not.
    #[must_use]
    pub fn ends_at(&self) -> Option<u64> {
        self.expires_at
    }

    /// Whether the user's time is over.
    pub(crate) fn is_over(&self, now_ms: u64) -> bool {
        self.user.is_some() && self.expires_at.is_some_and(|at_ms| at_ms <= now_ms)
    }

    /// What a verified token says.
    pub(crate) fn of(known: &KnownIdentity) -> Self {
        let roles = known.roles.iter().flat_map(|roles| roles.iter()).map(str::to_owned).collect();
        Self { user: Some((*known.user).to_owned()), roles, expires_at: known.expires_at_ms() }
    }

    /// The same as the broker keeps it; none for an anonymous one. What was `known` by a token stays true of it: it
    /// ends no later, can be revoked with the token, and may do what the token lists.
    pub(crate) fn to_known(
        &self,
        auth: &Authenticator,
        known: Option<&KnownIdentity>,
        now_ms: u64,
    ) -> Option<Arc<KnownIdentity>> {
        let user: Arc<str> = self.user.as_deref()?.into();
        let roles = auth.roles(self.roles.iter().map(|role| role.as_str().into()).collect());
        // A time in the first second of 1970 is over too.
        let expires_at_s = self.expires_at.map_or(0, |at_ms| seconds(at_ms).max(1));
        Some(Arc::new(match known {
            Some(known) => known.renamed(user, roles, expires_at_s),
            // The program vouches for it now, which is later than any revocation so far.
            None => KnownIdentity::of_user(user, roles).with_times(expires_at_s, Some(seconds(now_ms))),
        }))
    }
}

fn seconds(unix_ms: u64) -> u32 {
    u32::try_from(unix_ms / 1_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(identity: &Identity, before: Option<&KnownIdentity>) -> Option<Arc<KnownIdentity>> {
        identity.to_known(&Authenticator::new(None, Arc::default()), before, 5_000_999)
    }

    #[test]
    fn an_identity_is_kept_as_that_of_a_token_is() {
        assert_eq!(known(&Identity::anonymous().role("trader").expires_at(9), None), None);
        let ann = Identity::user("ann").role("trader").roles(["admin", "trader"]).expires_at(9_000_500);
        let kept = known(&ann, None).expect("a user");
        assert!(kept.has_role("admin") && kept.has_role("trader") && !kept.has_role("user"));
        assert_eq!((&*kept.user, kept.expires_at_ms(), kept.issued_at_ms()), ("ann", Some(9_000_000), 5_000_000));
        assert_eq!(Identity::of(&kept).ends_at(), Some(9_000_000));
        assert!(!ann.is_over(9_000_499) && ann.is_over(9_000_500) && !Identity::user("ann").is_over(u64::MAX));
        for (at_ms, kept_ms) in [(0, 1_000), (999, 1_000), (u64::MAX, 1_000 * u64::from(u32::MAX))] {
            let kept = known(&Identity::user("ann").expires_at(at_ms), None).expect("a user");
            assert_eq!(kept.expires_at_ms(), Some(kept_ms));
        }
    }

    #[test]
    fn what_a_token_says_stays_true_whatever_the_program_calls_its_bearer() {
        let token = KnownIdentity::of_user("ann".into(), None).with_times(9_000, Some(3));
        for (given, ends_at) in [(None, 9_000_000), (Some(8_000_000), 8_000_000), (Some(10_000_000), 9_000_000)] {
            let identity = Identity { expires_at: given, ..Identity::user("ann@example").role("trader") };
            let kept = known(&identity, Some(&token)).expect("a user");
            assert_eq!((&*kept.user, kept.expires_at_ms(), kept.issued_at_ms()), ("ann@example", Some(ends_at), 3_000));
            assert!(kept.has_role("trader"));
        }
    }
}
