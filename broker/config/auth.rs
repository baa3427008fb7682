//! `[auth]` and its check: who may connect, and the keys of tokens. It verifies nothing.

use std::path::{Path, PathBuf};

use serde_json::json;
use toml::de::DeValue;

use super::{
    callout::{self, CallOut},
    problem::Problem,
    public_key,
    secret::{Secret, read_source, source},
    section::{Report, Section, Value, echo_name, wrong_type},
    server::{strings, texts},
    setting::{Choice, Custom, Flag, Form, Kind as _, Table, Written, settings},
    tls::file,
    users::{self, AuthUser},
};

settings! {
    /// Authentication of sessions: by JSON Web Tokens (RFC 7519), by a backend of your own (`[auth.callout]`), or by passwords of
    /// this file. Off by default: without this section every session is anonymous, and what topic rules leave open is allowed
    /// to all. With it, what they leave open is for users, and a topic without a rule does not exist.
    ///
    /// A client sends its token as `Authorization: Bearer`, as the query parameter `token`, as the WebSocket subprotocol
    /// `rialto.token.TOKEN`, as a cookie, or in its first `connect` frame. Of its claims these count: `sub` is the user, `exp`
    /// is required, `nbf`, `iat`, `jti`, `roles` (a list), and `topics` for rules with `"token"`: lists of patterns named
    /// `subscribe`, `publish`, `call`, `history` and `presence`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Auth: "[auth]" {
        /// Whether sessions without a token are served. Where a topic rule does not say who may do something, they may only
        /// subscribe.
        anonymous: bool = false => Flag;
        /// The keys that tokens are signed with, at most 20, each as a table `[[auth.key]]`:
        /// - `id`: its name, which tokens name as `kid`; a token without `kid` may be signed with any key
        /// - `algorithm`: `"HS256"`, `"RS256"`, `"ES256"` or `"EdDSA"`; what a token says of its algorithm must agree
        /// - `secret`: for HS256, where the secret of at least 32 bytes is: `{ env = "NAME" }` or `{ file = "secret.txt" }`
        /// - `public_key`: for the others, where the public key in PEM form is, in the same way
        key: Vec<AuthKey> = Vec::new() => Custom { form: keys };
        /// Users with a password, at most 1_000, for small installations, each as a table `[[auth.user]]`; `rialto user add`
        /// makes one. A client sends name and password as `Authorization: Basic` (RFC 7617) or in its first `connect` frame, over
        /// TLS only where it can be overheard. A session ends when a reload changes or removes its user's entry.
        /// - `name`: the user
        /// - `password`: a hash of the password by Argon2id (RFC 9106) in the PHC string format, of at most 64 MiB
        /// - `roles`: its roles, at most 32
        user: Vec<AuthUser> = Vec::new() => Custom { form: users::users };
        /// A backend that is asked who a client is, as a table `[auth.callout]`.
        callout: Option<CallOut> = None => Custom { form: callout::form };
        /// A JWK set (RFC 7517) in a file: public keys of an identity provider. It is read again when it changes.
        jwks: Option<PathBuf> = None => Custom { form: || file().example("\"keys.json\"") };
        /// The audiences that tokens may be for, as their `aud`; a token without one of them is refused. Where nothing is
        /// given, tokens with an `aud` are refused.
        audience: Vec<String> = Vec::new() => Custom { form: strings };
        /// The issuers that tokens may be of, as their `iss`. Where nothing is given it does not count.
        issuer: Vec<String> = Vec::new() => Custom { form: strings };
        /// The cookie that has the token, for pages of this site. It is ignored where `allowed_origins` allows all.
        cookie: Option<String> = None => Custom { form: || Form::of(json!({ "type": "string" })).example("\"session\"") };
        /// How far the clocks of broker and issuer may be apart; also how long a session goes on after its token expired.
        leeway_ms: u64 = 10_000, 0 to 300_000 ms;
        /// How long before its token expires a session is warned by `token_expiring`, so that its client sends another.
        warn_ms: u64 = 60_000, 0 to 3_600_000 ms;
        /// How long a WebSocket without a token may take to send one, where anonymous sessions are not served.
        auth_ms: u64 = 5_000, 10 to 600_000 ms;
        /// The longest token. Before it is authenticated, a session may send nothing that is much longer.
        token_bytes: usize = 4_096, 256 to 65_536 bytes;
        /// Rate limit: tokens and passwords that are not valid, and refusals of the backend, per second and address. Beyond it
        /// they are not looked at.
        bad_tokens_per_s: u32 = 10, 1 to 1_000_000 items;
    }
}

/// A key that tokens are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthKey {
    /// Its name, which tokens have as `kid`; may be empty.
    pub id: String,
    /// How tokens are signed with it.
    pub algorithm: TokenAlgorithm,
    /// What they are verified with.
    pub material: KeyMaterial,
}

/// How tokens are signed (RFC 7518 section 3.1, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// HMAC with SHA-256: who can verify a token can make one.
    Hs256,
    /// RSA with PKCS #1 1.5 and SHA-256.
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// What tokens are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyMaterial {
    /// The shared secret of HS256.
    Secret(Secret),
    /// The public key: PKCS #1 DER for RSA, else the point.
    Public(Vec<u8>),
}

/// The names of the algorithms.
pub(super) const ALGORITHMS: [(&str, TokenAlgorithm); 4] = [
    ("HS256", TokenAlgorithm::Hs256),
    ("RS256", TokenAlgorithm::Rs256),
    ("ES256", TokenAlgorithm::Es256),
    ("EdDSA", TokenAlgorithm::EdDsa),
];

/// One entry of `key`.
static ENTRY: Table = Table::within("[[auth.key]]", &["id", "algorithm", "secret", "public_key"]);

/// Most keys.
const KEYS_MAX: usize = 20;

/// Most audiences, or issuers.
const NAMES_MAX: usize = 20;

/// Longest name of a key, in bytes.
const ID_BYTES_MAX: usize = 128;

/// The shortest secret of HS256 (RFC 7518 section 3.2), in bytes.
const SECRET_BYTES_MIN: usize = 32;

const EXAMPLE: &str =
    "write a line `[[auth.key]]`, and below it `algorithm = \"HS256\"` and `secret = { env = \"NAME\" }`";

/// A list of keys.
fn keys() -> Form {
    let (text, elsewhere) = (json!({ "type": "string" }), source().schema);
    let properties = json!({
        "id": text, "algorithm": Choice(&ALGORITHMS).form().schema, "secret": elsewhere, "public_key": elsewhere,
    });
    let entry = json!({
        "type": "object", "properties": properties, "required": ["algorithm"], "additionalProperties": false,
    });
    Form::of(json!({ "type": "array", "items": entry, "maxItems": KEYS_MAX }))
        .example("[{ id = \"main\", algorithm = \"HS256\", secret = { env = \"RIALTO_JWT_SECRET\" } }]")
}

impl Auth {
    /// Whether there are keys that tokens may be signed with.
    pub(crate) fn has_keys(&self) -> bool {
        !self.key.is_empty() || self.jwks.is_some()
    }
}

/// Keys cannot be written: a file says where they are.
impl Written for Vec<AuthKey> {
    fn written(&self) -> Option<String> {
        None
    }
}

pub(super) fn check<'a>(report: &mut Report, value: &'a Value<'a>) -> Option<Auth> {
    let section = Section::open(report, "[auth]", &Auth::TABLE, value)?;
    let mut auth = Auth::default();
    auth.read_keys(report, &section);
    if let Some(value) = section.get("key") {
        auth.key = check_keys(report, value);
    }
    if let Some(value) = section.get("user") {
        auth.user = users::check(report, value);
    }
    if let Some(value) = section.get("callout") {
        auth.callout = callout::check(report, value);
    }
    if let Some(path) = section.text(report, "jwks", "\"keys.json\"") {
        let file = report.folder.join(path.value);
        if report.reads_files
            && let Err(reason) = check_jwks(&file)
        {
            report.add(Problem::at(path.span, format!("`jwks` cannot be used: {reason}")).help("name a JWK set"));
        }
        auth.jwks = Some(file);
    }
    for (key, example, list) in [
        ("audience", "write `audience = \"rialto\"`", &mut auth.audience),
        ("issuer", "write `issuer = \"https://id.example.com/\"`", &mut auth.issuer),
    ] {
        if let Some(value) = section.get(key) {
            let found = texts(report, key, value, example, 0..=NAMES_MAX);
            *list = found.into_iter().map(|text| text.value.to_owned()).collect();
        }
    }
    if let Some(name) = section.text(report, "cookie", "\"session\"") {
        // A token of RFC 9110 section 5.6.2, as RFC 6265 section 4.1.1 wants it.
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.value.is_empty() || !name.value.bytes().all(fits) {
            let title = "`cookie` is the name of a cookie: letters, digits, `-` and `_`";
            report.add(Problem::at(name.span, title).help("write `cookie = \"session\"`"));
        } else {
            auth.cookie = Some(name.value.to_owned());
        }
    }
    let has_keys = ["key", "jwks", "user", "callout"].iter().any(|key| section.get(key).is_some());
    // Those of a program are not in a file.
    if !has_keys && !auth.anonymous && !report.torn && report.reads_files {
        let title = "`[auth]` without keys lets nobody in";
        report.add(Problem::at(section.span(), title).help(EXAMPLE));
    }
    Some(auth)
}

/// Whether a file may be a JWK set. Its keys are read by what verifies tokens.
fn check_jwks(path: &Path) -> Result<(), String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let set: Result<serde_json::Value, _> = serde_json::from_slice(&text);
    match set {
        Ok(set) if set["keys"].is_array() => Ok(()),
        _ => Err("it is no JSON with a list `keys`".to_owned()),
    }
}

fn check_keys<'a>(report: &mut Report, value: &'a Value<'a>) -> Vec<AuthKey> {
    let DeValue::Array(entries) = value.get_ref() else {
        report.add(wrong_type("key", value, "a list of tables").help(EXAMPLE));
        return Vec::new();
    };
    if entries.len() > KEYS_MAX {
        let title = format!("{} keys, at most {KEYS_MAX}", entries.len());
        report.add(Problem::at(value.span(), title).help("a JWK set may have more: `jwks`"));
        return Vec::new();
    }
    let mut found: Vec<AuthKey> = Vec::new();
    for entry in entries.iter() {
        let Some(key) = check_key(report, entry) else { continue };
        if found.iter().any(|other| other.id == key.id && other.algorithm == key.algorithm) {
            let title = match key.id.is_empty() {
                true => "two keys without `id` and with one algorithm".to_owned(),
                false => format!("two keys have the id \"{}\"", echo_name(&key.id)),
            };
            report.add(Problem::at(entry.span(), title).help("give each its own `id`, which tokens name as `kid`"));
        }
        found.push(key);
    }
    found
}

fn check_key<'a>(report: &mut Report, value: &'a Value<'a>) -> Option<AuthKey> {
    let section = Section::open(report, "[[auth.key]]", &ENTRY, value)?;
    let id = section.text(report, "id", "\"main\"");
    if let Some(id) = id.as_ref().filter(|id| id.value.len() > ID_BYTES_MAX) {
        report.add(Problem::at(id.span.clone(), format!("`id` has at most {ID_BYTES_MAX} bytes")));
    }
    let Some(algorithm) = section.get("algorithm") else {
        if !report.torn {
            report.add(Problem::at(section.span(), "a key needs an `algorithm`").help(EXAMPLE));
        }
        return None;
    };
    let algorithm = report.choice("algorithm", algorithm, &ALGORITHMS)?;
    let (wanted, other) = match algorithm {
        TokenAlgorithm::Hs256 => ("secret", "public_key"),
        _ => ("public_key", "secret"),
    };
    if let Some(value) = section.get(other) {
        let title = format!("a key of this algorithm has a `{wanted}`, not a `{other}`");
        report.add(Problem::at(value.span(), title).help(format!("write `{wanted} = {{ file = \"...\" }}`")));
        return None;
    }
    let Some(value) = section.get(wanted) else {
        if !report.torn {
            let title = format!("a key of this algorithm needs a `{wanted}`");
            report.add(Problem::at(section.span(), title).help(format!("write `{wanted} = {{ file = \"...\" }}`")));
        }
        return None;
    };
    if !report.reads_files {
        return None;
    }
    let bytes = read_source(report, wanted, value, algorithm == TokenAlgorithm::Hs256)?;
    let material = match algorithm {
        TokenAlgorithm::Hs256 if bytes.bytes().len() < SECRET_BYTES_MIN => {
            let title = format!("the secret is shorter than {SECRET_BYTES_MIN} bytes, so that it can be guessed");
            report.add(Problem::at(value.span(), title).help("`rialto token secret` makes one"));
            return None;
        }
        TokenAlgorithm::Hs256 => KeyMaterial::Secret(bytes),
        _ => match public_key::parse(bytes.bytes(), algorithm) {
            Ok(key) => KeyMaterial::Public(key),
            Err(reason) => {
                let help = "`openssl pkey -in private.pem -pubout` writes the public key of a private one";
                report.add(Problem::at(value.span(), format!("`public_key` cannot be used: {reason}")).help(help));
                return None;
            }
        },
    };
    Some(AuthKey { id: id.map(|id| id.value.to_owned()).unwrap_or_default(), algorithm, material })
}
