//! Verifies a JSON Web Token (RFC 7519): signature, times, audience, issuer, and the claims that say who its bearer is.

use std::collections::HashSet;
use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use rialto_protocol::{ErrorCode, Failure, Payload};
use serde::Deserialize;

use super::identity::{Identity, SharedParts, TokenDetails, TokenGrants};
use super::keys::KeySet;
use crate::config::{Auth, ROLE_BYTES_MAX, ROLES_MAX, USER_BYTES_MAX, is_name};
use crate::topic::Pattern;

/// Most patterns that a token lists for one action.
pub(crate) const PATTERNS_MAX: usize = 100;

/// Longest id of a token, in bytes.
const TOKEN_ID_BYTES_MAX: usize = 128;

/// Most bytes of what presence shows of a user, as JSON without white space.
pub(crate) const INFO_BYTES_MAX: usize = 1_024;

/// The last moment that a time in a token may name: the end of the year 9999.
const SECONDS_MAX: f64 = 253_402_300_799.0;

/// What every token that is not valid is answered with: which part of it was wrong concerns only its issuer.
const MESSAGE: &str = "the token is not valid";

/// Why a token is refused. The text is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("longer than `token_bytes`")]
    TooLong,
    #[error("no signed token")]
    Form,
    #[error("no key for its algorithm and key id")]
    Key,
    #[error("wrong signature")]
    Signature,
    #[error("wrong audience or issuer")]
    Recipient,
    #[error("a claim has a wrong form")]
    Claims,
    #[error("used before its time")]
    Early,
    #[error("expired")]
    Expired,
    #[error("revoked")]
    Revoked,
}

impl TokenError {
    pub(crate) fn to_failure(self) -> Failure {
        match self {
            // It was valid: its client fetches another one.
            Self::Expired => Failure::new(ErrorCode::Expired, "the token has expired"),
            _ => Failure::new(ErrorCode::Unauthorized, MESSAGE),
        }
    }
}

/// The claims that count; others are passed over.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    jti: Option<String>,
    info: Option<serde_json::Value>,
    #[serde(default)]
    roles: Vec<String>,
    topics: Option<TopicClaims>,
}

/// What a token, or a backend that is asked, says of a user.
#[derive(Default)]
pub(super) struct UserClaims {
    pub(super) user: String,
    pub(super) roles: Vec<String>,
    pub(super) topics: Option<TopicClaims>,
    pub(super) info: Option<serde_json::Value>,
    pub(super) token_id: Option<String>,
}

/// Patterns of topics, for each action.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TopicClaims {
    subscribe: Vec<String>,
    publish: Vec<String>,
    call: Vec<String>,
    history: Vec<String>,
    presence: Vec<String>,
}

/// Verifies tokens by one `[auth]`.
#[derive(Debug)]
pub(crate) struct Verifier {
    keys: KeySet,
    validation: Validation,
    bytes_max: usize,
    leeway_ms: u64,
}

impl Verifier {
    pub(crate) fn new(auth: &Auth, keys: KeySet) -> Self {
        let mut validation = Validation::default();
        // Times are compared here, by the broker's clock and with strict types.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let mut required = HashSet::new();
        if !auth.audience.is_empty() {
            required.insert("aud".to_owned());
            validation.set_audience(&auth.audience);
        }
        if !auth.issuer.is_empty() {
            required.insert("iss".to_owned());
            validation.set_issuer(&auth.issuer);
        }
        validation.required_spec_claims = required;
        Self { keys, validation, bytes_max: auth.token_bytes, leeway_ms: auth.leeway_ms }
    }

    /// Who the bearer of a token is, at this Unix time in milliseconds.
    ///
    /// # Errors
    /// [`TokenError`] says what is wrong first.
    pub(crate) fn verify(&self, token: &str, now_ms: u64, parts: &SharedParts) -> Result<Arc<Identity>, TokenError> {
        if token.len() > self.bytes_max {
            return Err(TokenError::TooLong);
        }
        let header = decode_header(token).map_err(|_| TokenError::Form)?;
        let mut verified = Err(TokenError::Key);
        for key in self.keys.candidates(header.kid.as_deref(), header.alg) {
            let validation = Validation { algorithms: vec![key.algorithm], ..self.validation.clone() };
            verified = decode::<Claims>(token, &key.key, &validation).map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => TokenError::Signature,
                ErrorKind::InvalidAudience | ErrorKind::InvalidIssuer => TokenError::Recipient,
                ErrorKind::MissingRequiredClaim(_) => TokenError::Recipient,
                ErrorKind::Json(_) | ErrorKind::InvalidClaimFormat(_) => TokenError::Claims,
                _ => TokenError::Form,
            });
            if !matches!(verified, Err(TokenError::Signature)) {
                break;
            }
        }
        self.identity(verified?.claims, now_ms, parts)
    }

    fn identity(&self, claims: Claims, now_ms: u64, parts: &SharedParts) -> Result<Arc<Identity>, TokenError> {
        let Claims { sub, exp, nbf, iat, jti, info, roles, topics } = claims;
        let expires_at_s = seconds(exp)?;
        let not_before_s = nbf.map(seconds).transpose()?;
        let issued_at_s = iat.map(seconds).transpose()?;
        let said = UserClaims { user: sub, roles, topics, info, token_id: jti };
        let identity = said.into_identity(parts)?.with_times(expires_at_s, issued_at_s);
        let (now_s, leeway_s) = (now_ms / 1_000, self.leeway_ms.div_ceil(1_000));
        if not_before_s.is_some_and(|not_before_s| u64::from(not_before_s) > now_s + leeway_s) {
            return Err(TokenError::Early);
        }
        if 1_000 * u64::from(expires_at_s) + self.leeway_ms <= now_ms {
            return Err(TokenError::Expired);
        }
        Ok(Arc::new(identity))
    }
}

impl UserClaims {
    /// The user, if all that is said of it has a form and a size that are fine.
    ///
    /// # Errors
    /// [`TokenError::Claims`].
    pub(super) fn into_identity(self, parts: &SharedParts) -> Result<Identity, TokenError> {
        let Self { user, roles, topics, info, token_id } = self;
        let is_fine = is_name(&user, USER_BYTES_MAX)
            && roles.len() <= ROLES_MAX
            && roles.iter().all(|role| is_name(role, ROLE_BYTES_MAX))
            && token_id.as_ref().is_none_or(|id| is_name(id, TOKEN_ID_BYTES_MAX));
        if !is_fine {
            return Err(TokenError::Claims);
        }
        let grants = topics.map(grants).transpose()?.and_then(|grants| parts.grants(grants));
        let info = info.map(|info| self::info(&info)).transpose()?;
        let roles = parts.roles(roles.into_iter().map(Into::into).collect());
        let details = TokenDetails { id: token_id.map(Into::into), info };
        Ok(Identity { grants, ..Identity::of_user(user.into(), roles).with_details(details) })
    }
}

/// A `NumericDate` in whole seconds. What is later than a number of 32 bits can say, in the year 2106, counts as that.
pub(super) fn seconds(seconds: f64) -> Result<u32, TokenError> {
    match (0.0..=SECONDS_MAX).contains(&seconds) {
        true => Ok(seconds as u32),
        false => Err(TokenError::Claims),
    }
}

/// What presence shows of a user.
///
/// # Errors
/// [`TokenError::Claims`] where it is too long, or no value that the protocol carries.
pub(crate) fn info(value: &serde_json::Value) -> Result<Arc<Payload>, TokenError> {
    let info = Payload::json(value).map_err(|_| TokenError::Claims)?;
    match info.content().len() {
        ..=INFO_BYTES_MAX => Ok(Arc::new(info)),
        _ => Err(TokenError::Claims),
    }
}

fn grants(claims: TopicClaims) -> Result<TokenGrants, TokenError> {
    let patterns = |texts: Vec<String>| -> Result<Vec<Pattern>, TokenError> {
        if texts.len() > PATTERNS_MAX {
            return Err(TokenError::Claims);
        }
        texts.iter().map(|text| Pattern::parse(text).map_err(|_| TokenError::Claims)).collect()
    };
    Ok(TokenGrants {
        subscribe: patterns(claims.subscribe)?,
        publish: patterns(claims.publish)?,
        call: patterns(claims.call)?,
        history: patterns(claims.history)?,
        presence: patterns(claims.presence)?,
    })
}
