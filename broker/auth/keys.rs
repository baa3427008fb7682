//! The keys that tokens are verified with: those of the configuration and those of a JWK set. The algorithm belongs to the
//! key; what a token says of it only has to agree.

use jsonwebtoken::{Algorithm, DecodingKey};

use crate::config::{AuthKey, KeyMaterial, TokenAlgorithm};

/// Most keys that are tried for a token that names none.
const TRIED_MAX: usize = 4;

/// A key with its algorithm.
#[derive(Clone, Debug)]
pub(crate) struct VerifyingKey {
    /// Its name, which tokens have as `kid`.
    pub(crate) id: Option<Box<str>>,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

/// All keys in force.
#[derive(Debug, Default)]
pub(crate) struct KeySet(Vec<VerifyingKey>);

impl KeySet {
    /// The keys of the configuration before published ones.
    pub(crate) fn new(configured: &[AuthKey], published: Vec<VerifyingKey>) -> Self {
        let configured = configured.iter().filter_map(|key| {
            let verifying = match &key.material {
                KeyMaterial::Secret(secret) => DecodingKey::from_secret(secret.bytes()).ok()?,
                KeyMaterial::Public(bytes) => match key.algorithm {
                    TokenAlgorithm::Rs256 => DecodingKey::from_rsa_der(bytes),
                    TokenAlgorithm::Es256 => DecodingKey::from_ec_der(bytes),
                    TokenAlgorithm::EdDsa => DecodingKey::from_ed_der(bytes),
                    TokenAlgorithm::Hs256 => return None,
                },
            };
            let id = (!key.id.is_empty()).then(|| key.id.as_str().into());
            Some(VerifyingKey { id, algorithm: algorithm(key.algorithm), key: verifying })
        });
        Self(configured.chain(published).collect())
    }

    /// The keys that a token may be signed with: the one that it names, or where it names none those of its algorithm.
    pub(crate) fn candidates(&self, id: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &VerifyingKey> {
        let fits =
            move |key: &&VerifyingKey| key.algorithm == algorithm && id.is_none_or(|id| key.id.as_deref() == Some(id));
        self.0.iter().filter(fits).take(TRIED_MAX)
    }
}

/// The algorithm as the library for tokens names it.
pub(crate) fn algorithm(algorithm: TokenAlgorithm) -> Algorithm {
    match algorithm {
        TokenAlgorithm::Hs256 => Algorithm::HS256,
        TokenAlgorithm::Rs256 => Algorithm::RS256,
        TokenAlgorithm::Es256 => Algorithm::ES256,
        TokenAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}
