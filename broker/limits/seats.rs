//! Session limits: permits for sessions, in all, per user and per address. It knows no connection.

use std::sync::Arc;

use rialto_protocol::{CloseCode, Closing};

use super::count::{Count, Counted};
use super::quota::{Quota, QuotaSlot};
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
    /// The authenticated user.
    pub(crate) user: Option<Arc<str>>,
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

impl SessionPermit {
    /// The network of the session; none where limits per address do not apply.
    pub(crate) fn network(&self) -> Option<Network> {
        self.slots.of_address.as_ref().map(|slot| *slot.key())
    }
}

impl SessionLimits {
    /// A permit for a session without a user, if the limits allow it.
    pub(crate) fn permit(&self, limits: &Limits, of_address: Option<QuotaSlot<Network>>) -> Option<SessionPermit> {
        let open = self.open.take(limits.sessions)?;
        let slots = PermitShares { _open: Some(open), _of_user: None, of_address: of_address.map(Box::new) };
        Some(SessionPermit { slots, ..SessionPermit::default() })
    }

    /// A permit for a session whose upgrade has been answered: beyond a limit it carries the refusal, so that the session is
    /// closed with a reason.
    pub(crate) fn permit_or_refusal(&self, limits: &Limits, user: Option<&str>) -> SessionPermit {
        let Some(permit) = self.permit(limits, None) else {
            return refused(CloseCode::TryAgainLater, "session limit reached, try again later");
        };
        let Some(user) = user else { return permit };
        let user = Arc::from(user);
        match self.users.take(&user, limits.sessions_per_user) {
            Some(slot) => {
                let slots = PermitShares { _of_user: Some(Box::new(slot)), ..permit.slots };
                SessionPermit { user: Some(user), slots, ..permit }
            }
            None => {
                let message = format!("session limit of this user reached: {}", limits.sessions_per_user);
                refused(CloseCode::TooMany, &message)
            }
        }
    }
}

fn refused(code: CloseCode, message: &str) -> SessionPermit {
    let closing = Closing { code: code.number(), message: message.to_owned(), retry_after_ms: Some(RETRY_MS) };
    SessionPermit { refused: Some(closing), ..SessionPermit::default() }
}
