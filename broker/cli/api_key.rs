//! `rialto api-key`: generates a key for the HTTP API and the configuration that accepts it. It stores neither.

use std::io::Write as _;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use sha2::{Digest as _, Sha256};

use super::complain;

/// Identifies a leaked key, for people and for secret scanners.
const PREFIX: &str = "rialto_";
const KEY_BYTES: usize = 32;

/// Arguments of `rialto api-key`.
#[derive(Debug, clap::Args)]
pub(crate) struct ApiKeyArgs {
    /// Name of the key in logs: 1 to 64 of a-z, 0-9, "-" and "_"
    #[arg(default_value = "backend", value_parser = name)]
    name: String,
}

/// Prints the key and its configuration.
pub(crate) fn run(args: &ApiKeyArgs) -> ExitCode {
    let mut bytes = [0; KEY_BYTES];
    if let Err(error) = getrandom::fill(&mut bytes) {
        complain(&format!("cannot get random bytes from the operating system: {error}"));
        return ExitCode::FAILURE;
    }
    let key = format!("{PREFIX}{}", BASE64.encode(bytes));
    let hash: String = Sha256::digest(&key).iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!(
        "The key, shown only once and stored nowhere. Programs send it as \"Authorization: Bearer KEY\":\n\n  {key}\n\n\
         The configuration that accepts it:\n\n  [api]\n  keys = [{{ name = \"{}\", sha256 = \"{hash}\" }}]\n",
        args.name
    );
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        return Ok(text.to_owned());
    }
    Err("1 to 64 of the characters a-z, 0-9, \"-\" and \"_\"".to_owned())
}
