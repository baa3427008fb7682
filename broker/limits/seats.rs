//! Session limits: permits for sessions, in all, per user and per address. It knows no connection.

use std::net::IpAddr;
use std::sync::Arc;

use rialto_protocol::{CloseCode, Closing};

use super::count::{Count, Counted};
use super::quota::{Quota, QuotaSlot};
use crate::auth::identity::Identity;
use crate::config::Limits;
use crate::shares::network::Network;

/// Retry hint for a session that was refused by a limit.
const RETRY_MS: u64 = 5_000;

/// The sessions of a broker, as far as limits concern them.
#[derive(Debug, Default)]
pub(crate) struct SessionLimits {
    open: Count,
    users: Quota<Arc<str>>,
}

/// The outcome of asking for a session: a permit, or a refusal that the client is sent.
#[derive(Default)]
pub(crate) struct SessionPermit {
    /// Who the session belongs to; none for an anonymous one.
    pub(crate) identity: Option<Arc<Identity>>,
    /// The id that the session gets, where that is known already.
    pub(crate) session: Option<Arc<str>>,
    /// The address of its client, where that is known.
    pub(crate) address: Option<IpAddr>,
    /// Its network, where the connection holds no slot of it.
    pub(crate) network: Option<Network>,
    /// Why the session must be closed at once.
    pub(crate) refused: Option<Closing>,
    pub(crate) slots: PermitShares,
}

/// The slots that a session holds, released on drop. Those that most sessions do not have are boxed.
#[derive(Default)]
pub(crate) struct PermitShares {
    _open: Option<Counted>,
    _of_user: Option<Box<QuotaSlot<Arc<str>>>>,
    of_address: Option<Box<QuotaSlot<Network>>>,
}

/// Which limit of sessions is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPermit {
    /// That of all sessions.
    Full,
    /// That of the user's.
    User,
}

impl SessionPermit {
    /// The network of the session; none where limits per address do not apply.
    pub(crate) fn network(&self) -> Option<Network> {
        self.slots.of_address.as_ref().map(|slot| *slot.key()).or(self.network)
    }
}

impl SessionLimits {
    /// A permit for a session, if the limits allow it.
    ///
    /// # Errors
    /// [`NoPermit`] says which limit is reached.
    pub(crate) fn permit(
        &self,
        limits: &Limits,
        identity: Option<Arc<Identity>>,
        of_address: Option<QuotaSlot<Network>>,
    ) -> Result<SessionPermit, NoPermit> {
        let open = self.open.take(limits.sessions).ok_or(NoPermit::Full)?;
        let of_user = match &identity {
            Some(identity) => {
                let slot = self.slot_of_user(limits, &identity.user).ok_or(NoPermit::User)?;
                Some(Box::new(slot))
            }
            None => None,
        };
        let slots = PermitShares { _open: Some(open), _of_user: of_user, of_address: of_address.map(Box::new) };
        Ok(SessionPermit { identity, slots, ..SessionPermit::default() })
    }

    /// A place among the sessions of a user, if there is one.
    pub(crate) fn slot_of_user(&self, limits: &Limits, user: &Arc<str>) -> Option<QuotaSlot<Arc<str>>> {
        self.users.take(user, limits.sessions_per_user)
    }

    /// A permit for a session whose upgrade has been answered: beyond a limit it carries the refusal, so that the session is
    /// closed with a reason.
    pub(crate) fn permit_or_refusal(&self, limits: &Limits, identity: Option<Arc<Identity>>) -> SessionPermit {
        self.permit(limits, identity, None).unwrap_or_else(|reason| match reason {
            NoPermit::Full => refused(CloseCode::TryAgainLater, "session limit reached, try again later"),
            NoPermit::User => {
                let message = format!("session limit of this user reached: {}", limits.sessions_per_user);
                refused(CloseCode::TooMany, &message)
            }
        })
    }
}

fn refused(code: CloseCode, message: &str) -> SessionPermit {
    let closing = Closing { code: code.number(), message: message.to_owned(), retry_after_ms: Some(RETRY_MS) };
    SessionPermit { refused: Some(closing), ..SessionPermit::default() }
}
