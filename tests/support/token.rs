//! Tokens, made by hand: the three parts and the signature, right or wrong.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use rialto::config::{Auth, AuthKey, KeyMaterial, Secret, TokenAlgorithm};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

/// The secret of [`auth`].
pub(crate) const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

/// How every token begins, because its header does: `{"alg":`.
const TOKEN_BEGINNING: &[u8] = b"eyJhbGciOi";

/// Whether a text shows the secret or a token: no log does, whatever is tested.
pub(crate) fn shows_secret(text: &[u8]) -> bool {
    [SECRET, TOKEN_BEGINNING].iter().any(|secret| text.windows(secret.len()).any(|part| part == *secret))
}

/// Authentication by tokens with [`SECRET`].
pub(crate) fn auth(anonymous: bool) -> Auth {
    let key = AuthKey {
        id: String::new(),
        algorithm: TokenAlgorithm::Hs256,
        material: KeyMaterial::Secret(Secret::new(SECRET)),
    };
    Auth { anonymous, key: vec![key], ..Auth::default() }
}

/// Unix time in seconds.
pub(crate) fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// A good token of a user, with more claims.
pub(crate) fn token_of(user: &str, more: Value) -> String {
    let mut claims = json!({"sub": user, "exp": now_s() + 3_600, "iat": now_s()});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    signed(&json!({"alg": "HS256", "typ": "JWT"}), &claims, SECRET)
}

/// A token with this header and these claims, signed by HS256 whatever the header says.
pub(crate) fn signed(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let body = body(header, claims);
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), body.as_bytes());
    format!("{body}.{}", BASE64URL.encode(signature.as_ref()))
}

/// Header and claims without a signature.
pub(crate) fn body(header: &Value, claims: &Value) -> String {
    format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()))
}

/// A pair of keys for ES256.
pub(crate) struct EcPair(EcdsaKeyPair);

/// A pair of keys for EdDSA.
pub(crate) struct EdPair(Ed25519KeyPair);

impl EcPair {
    pub(crate) fn new() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap())
    }

    pub(crate) fn point(&self) -> Vec<u8> {
        self.0.public_key().as_ref().to_vec()
    }

    /// The public key in PEM form.
    pub(crate) fn pem(&self) -> String {
        pem("3059301306072a8648ce3d020106082a8648ce3d030107034200", &self.point())
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let body = body(header, claims);
        let signature = self.0.sign(&SystemRandom::new(), body.as_bytes()).unwrap();
        format!("{body}.{}", BASE64URL.encode(signature.as_ref()))
    }

    /// As a JSON Web Key.
    pub(crate) fn jwk(&self, id: &str) -> Value {
        let point = self.point();
        let part = |bytes: &[u8]| BASE64URL.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "alg": "ES256", "x": part(&point[1..33]), "y": part(&point[33..])})
    }
}

impl EdPair {
    pub(crate) fn new() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
    }

    /// The public key in PEM form.
    pub(crate) fn pem(&self) -> String {
        pem("302a300506032b6570032100", self.0.public_key().as_ref())
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let body = body(header, claims);
        format!("{body}.{}", BASE64URL.encode(self.0.sign(body.as_bytes()).as_ref()))
    }
}

/// A `SubjectPublicKeyInfo` of this beginning and key.
fn pem(beginning: &str, key: &[u8]) -> String {
    let digits = |at: usize| u8::from_str_radix(&beginning[at..at + 2], 16).unwrap();
    let mut der: Vec<u8> = (0..beginning.len()).step_by(2).map(digits).collect();
    der.extend_from_slice(key);
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(der))
}
