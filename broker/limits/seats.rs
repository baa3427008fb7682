//! Who comes to be a session, and the places it has while it stays. It knows no connection.

use std::sync::Arc;

use rialto_protocol::{CloseCode, Closing};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::network::Network;
use super::quota::{Quota, QuotaSlot};
use crate::config::Limits;

/// When a session may come back that found no place.
const RETRY_MS: u64 = 5_000;

/// The places that all sessions of a broker share.
#[derive(Debug)]
pub(crate) struct SessionLimits {
    free: Arc<Semaphore>,
    users: Quota<Arc<str>>,
    sessions_per_user: usize,
}

/// One who comes to be a session.
#[derive(Default)]
pub(crate) struct SessionPermit {
    /// Who it is known to be.
    pub(crate) user: Option<Arc<str>>,
    /// Why it must go again.
    pub(crate) refused: Option<Closing>,
    pub(crate) places: PermitShares,
}

/// What a session takes from others while it stays, given back when this is dropped. In boxes what most sessions have not.
#[derive(Default)]
pub(crate) struct PermitShares {
    _seat: Option<OwnedSemaphorePermit>,
    _of_user: Option<Box<QuotaSlot<Arc<str>>>>,
    _of_address: Option<Box<QuotaSlot<Network>>>,
}

impl SessionLimits {
    pub(crate) fn new(limits: &Limits) -> Self {
        let (free, sessions_per_user) = (Arc::new(Semaphore::new(limits.sessions)), limits.sessions_per_user);
        Self { free, users: Quota::new(sessions_per_user), sessions_per_user }
    }

    /// A guest of whom nothing is known but its address, if there is a place for it.
    pub(crate) fn seat(&self, of_address: Option<QuotaSlot<Network>>) -> Option<SessionPermit> {
        let seat = Arc::clone(&self.free).try_acquire_owned().ok()?;
        let places = PermitShares { _seat: Some(seat), _of_user: None, _of_address: of_address.map(Box::new) };
        Some(SessionPermit { places, ..SessionPermit::default() })
    }

    /// A guest that cannot be turned away any more without words. It is refused if there is no place for it.
    pub(crate) fn welcome(&self, user: Option<&str>) -> SessionPermit {
        let Some(permit) = self.seat(None) else { return refused(CloseCode::TryAgainLater, "the broker is full") };
        let Some(user) = user else { return permit };
        let user = Arc::from(user);
        match self.users.take(&user) {
            Some(place) => {
                let places = PermitShares { _of_user: Some(Box::new(place)), ..permit.places };
                SessionPermit { user: Some(user), places, ..permit }
            }
            None => {
                let message = format!("a user may have {} sessions", self.sessions_per_user);
                refused(CloseCode::TooMany, &message)
            }
        }
    }
}

fn refused(code: CloseCode, message: &str) -> SessionPermit {
    let closing = Closing { code: code.number(), message: message.to_owned(), retry_after_ms: Some(RETRY_MS) };
    SessionPermit { refused: Some(closing), ..SessionPermit::default() }
}
