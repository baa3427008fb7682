//! Asks a program that embeds the broker whether a request becomes a session, and whose.

use std::sync::Arc;

use hyper::{Request, StatusCode};
use rialto_protocol::{ErrorCode, Failure};

use super::http::credentials;
use super::http::proxy::Origin;
use super::http::refusal::Rejection;
use crate::auth::identity::Identity as KnownIdentity;
use crate::authorizer::{Admission, ConnectRequest, DecisionLimits, Identity};
use crate::broker::Broker;
use crate::config::ActiveConfig;

/// Whose session a request becomes, of which `known` is what the broker itself knows; none for a session without a
/// user. `may_follow` says that a token or a password may come later.
///
/// # Errors
/// What the program refuses, or did not decide; none where there has to be a user.
pub(super) async fn authorize<B>(
    broker: &Broker,
    config: &ActiveConfig,
    request: &Request<B>,
    origin: Origin,
    known: Option<Arc<KnownIdentity>>,
    may_follow: bool,
) -> Result<Option<Arc<KnownIdentity>>, Rejection> {
    let core = &broker.core;
    let Some(authorizer) = &core.authorizer else { return Ok(known) };
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let place = (request.uri().path(), request.uri().query());
    let question = ConnectRequest::new(place, headers, origin.address, known.as_deref().map(Identity::of));
    let decided = authorizer.connect(question, DecisionLimits::of(&config.limits)).await;
    let admission = decided.map_err(|failure| {
        let seconds = failure.retry_after_ms.unwrap_or_default().div_ceil(1_000).max(1);
        let text = match failure.code {
            ErrorCode::Busy => "too many requests wait for authorization, try again later",
            _ => "authorization is unavailable, try again later",
        };
        Rejection::later(StatusCode::SERVICE_UNAVAILABLE, text, seconds)
    })?;
    let identity = match admission {
        Admission::Unknown => known,
        Admission::Allow(identity) if identity.is_over(core.clock.unix_ms()) => {
            return Err(credentials::refused(&Failure::new(ErrorCode::Expired, "the identity has expired")));
        }
        Admission::Allow(identity) => identity.to_known(&core.auth, known.as_deref(), core.clock.unix_ms()),
        Admission::Refuse(reason) => return Err(Rejection::new(StatusCode::FORBIDDEN, reason)),
    };
    let is_user_required = config.auth.as_ref().is_some_and(|auth| !auth.anonymous) && !may_follow;
    match identity {
        None if is_user_required => Err(credentials::required()),
        identity => Ok(identity),
    }
}
