//! Rate limits of requests: of one session, of all sessions of a user, of an address. It knows no request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::rate::{Rate, RatesByKey};
use crate::config::Rates;
use crate::shares::Holder;
use crate::shares::network::Network;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rated {
    Publishes,
    Bytes,
    Subscribes,
    Calls,
}

/// How many kinds there are.
const KINDS: usize = 4;

/// The rates of one session.
#[derive(Debug, Default)]
pub(crate) struct SessionRates {
    rates: [Rate; KINDS],
    refusals: Rate,
}

/// The rates that sessions share.
#[derive(Debug, Default)]
pub(crate) struct SharedRates {
    users: [RatesByKey<Arc<str>>; KINDS],
    networks: [RatesByKey<Network>; KINDS],
    pub(crate) sessions: RatesByKey<Network>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateRefusal {
    /// How long to wait.
    pub(crate) wait: Duration,
    /// Whose rate it is.
    pub(crate) of: &'static str,
    /// Whether the session has been refused so often that it has to end.
    pub(crate) is_abuse: bool,
}

impl Rated {
    /// The limits of a session, of a user and of an address.
    fn limits(self, rates: &Rates) -> [u32; 3] {
        match self {
            Self::Publishes => [rates.session_publishes, rates.user_publishes, rates.address_publishes],
            Self::Bytes => [rates.session_bytes, rates.user_bytes, rates.address_bytes],
            Self::Subscribes => [rates.session_subscribes, rates.user_subscribes, rates.address_subscribes],
            Self::Calls => [rates.session_calls, rates.user_calls, rates.address_calls],
        }
    }
}

impl SharedRates {
    /// Takes so many units of something for a session of this holder.
    ///
    /// # Errors
    /// [`RateRefusal`]; of what is asked for nothing takes place.
    pub(crate) fn take(
        &self,
        session: &mut SessionRates,
        holder: &Holder,
        limits: &Rates,
        (rated, units): (Rated, u32),
        now: Instant,
    ) -> Result<(), RateRefusal> {
        let [of_session, of_user, of_address] = rated.limits(limits);
        let place = rated as usize;
        let taken = limited(of_session, || session.rates[place].take_some(of_session, units, now))
            .map_err(|wait| (wait, "this session"))
            .and_then(|()| match holder {
                Holder::User(user) => limited(of_user, || self.users[place].take_some(user, of_user, units, now))
                    .map_err(|wait| (wait, "this user")),
                Holder::Network(network) => {
                    limited(of_address, || self.networks[place].take_some(network, of_address, units, now))
                        .map_err(|wait| (wait, "this address"))
                }
                Holder::Session(_) | Holder::Trusted => Ok(()),
            });
        taken.map_err(|(wait, of)| {
            let is_abuse = session.refusals.take(limits.refusals, now).is_err();
            RateRefusal { wait, of, is_abuse }
        })
    }
}

fn limited(per_s: u32, take: impl FnOnce() -> Result<(), Duration>) -> Result<(), Duration> {
    if per_s == 0 { Ok(()) } else { take() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(user: &str) -> Holder {
        Holder::User(user.into())
    }

    #[test]
    fn each_session_user_and_address_has_its_rate() {
        let (shared, now) = (SharedRates::default(), Instant::now());
        let limits = Rates { session_publishes: 3, user_publishes: 5, refusals: 2, ..Rates::default() };
        let (mut one, mut other) = (SessionRates::default(), SessionRates::default());
        let take = |session: &mut SessionRates, user: &str, now| {
            shared
                .take(session, &holder(user), &limits, (Rated::Publishes, 1), now)
                .map_err(|refusal| (refusal.of, refusal.is_abuse))
        };
        assert_eq!([(); 3].map(|()| take(&mut one, "ann", now)), [Ok(()); 3]);
        assert_eq!(take(&mut one, "ann", now), Err(("this session", false)));
        assert_eq!([(); 2].map(|()| take(&mut other, "ann", now)), [Ok(()); 2]);
        assert_eq!(take(&mut other, "ann", now), Err(("this user", false)));
        assert_eq!(take(&mut SessionRates::default(), "bob", now), Ok(()));
        assert_eq!(
            [(); 2].map(|()| take(&mut one, "ann", now)),
            [Err(("this session", false)), Err(("this session", true))]
        );
        assert_eq!(take(&mut one, "ann", now + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn bytes_are_paid_for_afterwards() {
        let (shared, now) = (SharedRates::default(), Instant::now());
        let limits = Rates { session_bytes: 1_000, ..Rates::default() };
        let mut session = SessionRates::default();
        let mut take =
            |bytes, now| shared.take(&mut session, &holder("ann"), &limits, (Rated::Bytes, bytes), now).is_ok();
        // More than a second's worth is taken as long as nothing is owed, and makes the next one wait.
        assert!(take(400, now) && take(3_000, now) && !take(1, now));
        assert!(!take(1, now + Duration::from_millis(2_300)) && take(1, now + Duration::from_millis(2_500)));
    }
}
