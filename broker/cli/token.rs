//! `rialto token`: makes tokens with a key of the configuration, checks and inspects them. It stores none.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value, json};

use super::{escaped, print};
use crate::auth::crypto;
use crate::auth::identity::{Identity, SharedParts};
use crate::auth::jwks;
use crate::auth::keys::{KeySet, algorithm};
use crate::auth::token::Verifier;
use crate::config::{Auth, Config, KeyMaterial};

/// Bytes of a secret for HS256.
const SECRET_BYTES: usize = 48;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum TokenCommand {
    /// Makes a token with a secret of the configuration, for tests and small installations.
    Make(MakeArgs),
    /// Verifies a token as the broker would, and says who its bearer is.
    Check(CheckArgs),
    /// Shows what a token says, without verifying it.
    Inspect(InspectArgs),
    /// Generates a secret for HS256.
    Secret,
}

#[derive(Debug, clap::Args)]
pub(crate) struct MakeArgs {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "config/rialto.toml")]
    config: PathBuf,
    /// The id of the key; the first one with a secret by default
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// Who its bearer is
    #[arg(long)]
    user: String,
    /// A role of the user; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// How many seconds it lives
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
    expires: u64,
    /// A pattern for topic rules with "token", as ACTION=PATTERN like subscribe=rooms.*; may be repeated
    #[arg(long = "topic", value_name = "ACTION=PATTERN")]
    topics: Vec<String>,
    /// Its own id, by which it can be revoked
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// What presence shows of the user, as JSON of at most 1024 bytes
    #[arg(long, value_name = "JSON")]
    info: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "config/rialto.toml")]
    config: PathBuf,
    /// The token; without it, standard input
    token: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// The token; without it, standard input
    token: Option<String>,
}

pub(crate) fn run(command: &TokenCommand) -> ExitCode {
    let text = match command {
        TokenCommand::Make(args) => make(args),
        TokenCommand::Check(args) => check(args),
        TokenCommand::Inspect(args) => inspect(args),
        TokenCommand::Secret => secret(),
    };
    print(text)
}

fn make(args: &MakeArgs) -> Result<String> {
    crypto::install();
    let auth = auth(&args.config)?;
    let has_id = |id: &str| args.key.as_ref().is_none_or(|wanted| wanted == id);
    let found = auth.key.iter().filter(|key| has_id(&key.id)).find_map(|key| match &key.material {
        KeyMaterial::Secret(secret) => Some((key, secret)),
        KeyMaterial::Public(_) => None,
    });
    let Some((key, secret)) = found else { bail!("the configuration has no such key with a `secret`") };
    let now_s = now_ms() / 1_000;
    let mut claims = json!({ "sub": args.user, "iat": now_s, "exp": now_s + args.expires });
    if !args.roles.is_empty() {
        claims["roles"] = json!(args.roles);
    }
    if let Some(id) = &args.id {
        claims["jti"] = json!(id);
    }
    if let Some(info) = &args.info {
        claims["info"] = serde_json::from_str(info).context("`--info` is no JSON")?;
    }
    for (claim, names) in [("aud", &auth.audience), ("iss", &auth.issuer)] {
        if let Some(name) = names.first() {
            claims[claim] = json!(name);
        }
    }
    let mut topics: Map<String, Value> = Map::new();
    for entry in &args.topics {
        let (action, pattern) = entry.split_once('=').context("a topic is given as ACTION=PATTERN")?;
        let list = topics.entry(action).or_insert_with(|| json!([]));
        list.as_array_mut().context("a list")?.push(json!(pattern));
    }
    if !topics.is_empty() {
        claims["topics"] = Value::Object(topics);
    }
    let mut header = Header::new(algorithm(key.algorithm));
    header.kid = (!key.id.is_empty()).then(|| key.id.clone());
    let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret.bytes())?)?;
    // What the broker would refuse is not worth having.
    verify(&auth, &token, now_ms()).context("the broker would refuse this token")?;
    Ok(format!("{token}\n"))
}

fn check(args: &CheckArgs) -> Result<String> {
    let identity = verify(&auth(&args.config)?, &given(args.token.as_deref())?, now_ms())?;
    let mut text = format!("valid\n  user     {}\n", escaped::line(&identity.user));
    // Writing to a String cannot fail.
    for role in identity.roles.iter().flat_map(|roles| roles.iter()) {
        let _ = writeln!(text, "  role     {}", escaped::line(role));
    }
    if let Some(grants) = &identity.grants {
        let lists = [
            ("subscribe", &grants.subscribe),
            ("publish", &grants.publish),
            ("call", &grants.call),
            ("history", &grants.history),
            ("presence", &grants.presence),
        ];
        for (action, patterns) in lists {
            for pattern in patterns {
                let _ = writeln!(text, "  topics   {action} {}", escaped::line(pattern.as_str()));
            }
        }
    }
    if let Some(info) = identity.info() {
        let _ = writeln!(text, "  info     {}", escaped::line(&String::from_utf8_lossy(&info.to_json())));
    }
    if let Some(expires_at_ms) = identity.expires_at_ms() {
        let left_s = expires_at_ms.saturating_sub(now_ms()) / 1_000;
        let _ = writeln!(text, "  expires  in {left_s} s");
    }
    Ok(text)
}

fn inspect(args: &InspectArgs) -> Result<String> {
    let token = given(args.token.as_deref())?;
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, _] = parts[..] else { bail!("this is no token: it has {} parts, not 3", parts.len()) };
    let shown = |part: &str, name: &str| -> Result<String> {
        let bytes = BASE64URL.decode(part).with_context(|| format!("the {name} is not base64url"))?;
        let value: Value = serde_json::from_slice(&bytes).with_context(|| format!("the {name} is no JSON"))?;
        Ok(escaped::lines(&serde_json::to_string_pretty(&value)?))
    };
    Ok(format!("not verified\nheader {}\nclaims {}\n", shown(header, "header")?, shown(claims, "claims")?))
}

fn secret() -> Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    Ok(format!("{}\n", BASE64URL.encode(bytes)))
}

/// Who the bearer of a token is by this configuration.
pub(super) fn verify(auth: &Auth, token: &str, now_ms: u64) -> Result<Arc<Identity>> {
    crypto::install();
    let published = match &auth.jwks {
        Some(path) => jwks::read(path).map_err(anyhow::Error::msg)?,
        None => Vec::new(),
    };
    let verifier = Verifier::new(auth, KeySet::new(&auth.key, published));
    Ok(verifier.verify(token, now_ms, &SharedParts::default())?)
}

/// Unix time in milliseconds.
pub(super) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn auth(file: &Path) -> Result<Auth> {
    let config = Config::load(file).map_err(|problems| anyhow::anyhow!("{}", problems.render(false)))?;
    config.auth.with_context(|| format!("{} has no `[auth]`", file.display()))
}

fn given(token: Option<&str>) -> Result<String> {
    if let Some(token) = token.filter(|token| *token != "-") {
        return Ok(token.trim().to_owned());
    }
    let mut text = String::new();
    std::io::stdin().take(1 << 20).read_to_string(&mut text).context("cannot read standard input")?;
    Ok(text.trim().to_owned())
}
