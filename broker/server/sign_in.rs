//! Who a request is from: by its token, by name and password, or by what the operator's backend says of its cookies and headers.

use std::sync::Arc;

use hyper::Request;

use super::http::credentials;
use super::http::proxy::Origin;
use super::http::refusal::Rejection;
use crate::auth::callout::HandshakeOrigin;
use crate::auth::identity::Identity;
use crate::broker::Broker;
use crate::config::ActiveConfig;
use crate::shares::network::Network;

/// Who a request is from; none for a session without a user. `may_follow` says that a token or a password may come later.
///
/// # Errors
/// Credentials that are refused, or could not be looked at; none where some are required.
pub(super) async fn sign_in<B>(
    broker: &Broker,
    config: &ActiveConfig,
    request: &Request<B>,
    origin: Origin,
    may_follow: bool,
) -> Result<Option<Arc<Identity>>, Rejection> {
    let Some(auth) = config.auth.as_ref() else { return Ok(None) };
    let (core, network) = (&broker.core, Network::of(origin.address));
    let (server, headers, now_ms) = (&config.server, request.headers(), core.clock.unix_ms());
    let token = credentials::token(request, auth, server);
    if let Some(token) = token.as_ref().filter(|_| auth.has_keys() || auth.callout.is_none()) {
        let verified = core.auth.verify(token, Some(network), now_ms);
        return verified.map(Some).map_err(|failure| credentials::refused(&failure));
    }
    if core.auth.has_passwords()
        && let Some(login) = credentials::login(headers, server)
    {
        let checked = core.auth.log_in(login, Some(network), now_ms).await;
        return checked.map(Some).map_err(|failure| credentials::refused(&failure));
    }
    if let Some(callout) = core.auth.callout() {
        let from = HandshakeOrigin { address: origin.address, is_secure: origin.secure, path: request.uri().path() };
        if let Some(question) = callout.question(headers, credentials::are_cookies_fine(server), from) {
            let answer = core.auth.ask(&callout, question, network, now_ms).await;
            return answer.map_err(|failure| credentials::refused(&failure));
        }
        if token.is_some() {
            return Err(credentials::invalid());
        }
    }
    if auth.anonymous || may_follow { Ok(None) } else { Err(credentials::required()) }
}
