//! API keys: `[api]` and its check. Only hashes of keys are known here, no key.

use std::fmt;

use rialto_protocol::ApiOperation;
use serde_json::json;
use toml::de::DeValue;

use super::{
    exposure::is_operation,
    problem::Problem,
    section::{Report, Section, Value, echo, echo_name, nearest, wrong_type},
    server::{strings, texts},
    setting::{Custom, Form, Table, Written, quoted, settings},
};
use crate::topic::Pattern;

settings! {
    /// The HTTP API for programs: POST /api/v1/publish, broadcast, call, history, presence, disconnect, revoke, explain,
    /// topics, plugins, plugins/reload and reload, described at /api/v1/openapi.json. Off by default: without this section
    /// /api does not exist.
    /// Server-Sent Events (/sse) and long poll (/poll) are for clients, like /ws, and need no key.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Api: "[api]" requires ["keys"] {
        /// Authentication of programs: API keys, 1 to 100, which programs send as `Authorization: Bearer KEY`. This file
        /// holds only the SHA-256 of each key and therefore no secret; `rialto api-key` generates a key and its line. For
        /// each key:
        /// - `name`: its name in logs, 1 to 64 of the characters a-z, 0-9, "-" and "_"
        /// - `sha256`: the hash of the key, 64 hexadecimal digits
        /// - `allow`: the operations that it may use, of those above; all by default: `allow = ["publish", "history"]`
        /// - `topics`: patterns of the topics that it may use, 1 to 100; all by default: `topics = ["chat.*", "news.>"]`
        ///
        /// The hash below belongs to no key: replace it.
        keys: Vec<ApiKey> = Vec::new() => Custom { form: keys };
    }
}

/// One entry of `keys`.
static ENTRY: Table = Table::within("keys", &["name", "sha256", "allow", "topics"]);

/// Most keys.
const KEYS_MAX: usize = 100;

/// Most patterns of one key.
const PATTERNS_MAX: usize = 100;

/// Most bytes of a key's name.
const NAME_BYTES_MAX: usize = 64;

const EXAMPLE: &str = "write `keys = [{ name = \"backend\", sha256 = \"...\" }]`; `rialto api-key` makes one";

/// A key of the HTTP API, and what it may be used for.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its name in logs: 1 to 64 of `a-z`, `0-9`, `-` and `_`.
    pub name: String,
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// The operations that it may use. Default all.
    pub allow: Vec<ApiOperation>,
    /// The topics that it may use, 1 to 100 patterns. Default `>`: all.
    pub topics: Vec<Pattern>,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, allow, topics, .. } = self;
        f.debug_struct("ApiKey")
            .field("name", name)
            .field("allow", allow)
            .field("topics", topics)
            .finish_non_exhaustive()
    }
}

/// A list of keys.
fn keys() -> Form {
    let properties = json!({
        "name": { "type": "string", "pattern": "^[a-z0-9_-]{1,64}$" },
        "sha256": { "type": "string", "pattern": "^[0-9A-Fa-f]{64}$" },
        "allow": { "type": "array", "items": { "enum": ApiOperation::ALL.map(ApiOperation::name) }, "minItems": 1 },
        "topics": strings().schema,
    });
    let entry = json!({
        "type": "object", "properties": properties, "required": ["name", "sha256"], "additionalProperties": false,
    });
    Form::of(json!({ "type": "array", "items": entry, "minItems": 1, "maxItems": KEYS_MAX })).example(
        "[{ name = \"backend\", sha256 = \"d1bf10a7f3b6aeffd970fd7a9ea67298e5fd2a56c99f405797a2f494b3feb59a\" }]",
    )
}

impl Written for Vec<ApiKey> {
    fn written(&self) -> Option<String> {
        let entries: Vec<String> = self.iter().map(ApiKey::written).collect();
        (!entries.is_empty()).then(|| format!("[{}]", entries.join(", ")))
    }
}

impl ApiKey {
    fn written(&self) -> String {
        let Self { name, sha256, allow, topics } = self;
        let hash: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = |items: Vec<String>| format!("[{}]", items.join(", "));
        let allow = list(allow.iter().map(|operation| quoted(operation.name())).collect());
        let topics = list(topics.iter().map(|pattern| quoted(pattern.as_str())).collect());
        format!("{{ name = {}, sha256 = \"{hash}\", allow = {allow}, topics = {topics} }}", quoted(name))
    }
}

pub(super) fn check<'a>(report: &mut Report, value: &'a Value<'a>) -> Option<Api> {
    let section = Section::open(report, "[api]", &Api::TABLE, value)?;
    let Some(keys) = section.get("keys") else {
        if !report.torn {
            report.add(Problem::at(section.span(), "`[api]` needs `keys`").help(EXAMPLE));
        }
        return None;
    };
    let DeValue::Array(entries) = keys.get_ref() else {
        report.add(wrong_type("keys", keys, "a list of tables").help(EXAMPLE));
        return None;
    };
    if entries.is_empty() || entries.len() > KEYS_MAX {
        let title = format!("`keys` must have 1 to {KEYS_MAX} entries, not {}", entries.len());
        report.add(Problem::at(keys.span(), title).help(EXAMPLE));
        return None;
    }
    let mut found: Vec<ApiKey> = Vec::new();
    for entry in entries.iter() {
        let Some(key) = check_entry(report, entry) else { continue };
        if found.iter().any(|other| other.name == key.name) {
            let title = format!("two keys are named \"{}\"", echo_name(&key.name));
            report.add(Problem::at(entry.span(), title).help("give each its own name, which is shown in logs"));
        } else if found.iter().any(|other| other.sha256 == key.sha256) {
            let title = format!("\"{}\" is the same key as one before it", echo_name(&key.name));
            report.add(Problem::at(entry.span(), title).help("make another one with `rialto api-key`"));
        }
        found.push(key);
    }
    Some(Api { keys: found })
}

fn check_entry<'a>(report: &mut Report, value: &'a Value<'a>) -> Option<ApiKey> {
    let DeValue::Table(_) = value.get_ref() else {
        report.add(wrong_type("keys", value, "a list of tables").help(EXAMPLE));
        return None;
    };
    let section = Section::open(report, "keys", &ENTRY, value)?;
    let allow = section.get("allow").map_or_else(|| ApiOperation::ALL.to_vec(), |value| check_allow(report, value));
    let topics = match section.get("topics") {
        Some(value) => check_topics(report, value),
        None => vec![Pattern::parse(">").expect("`>` is a pattern")],
    };
    let name = check_name(report, &section);
    let sha256 = check_hash(report, &section);
    Some(ApiKey { name: name?, sha256: sha256?, allow, topics })
}

fn check_name(report: &mut Report, section: &Section) -> Option<String> {
    let Some(value) = section.get("name") else {
        report.add(Problem::at(section.span(), "a key needs a `name`").help("it identifies the key in logs"));
        return None;
    };
    let text = section.text(report, "name", "\"backend\"")?;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if text.value.is_empty() || text.value.len() > NAME_BYTES_MAX || !text.value.bytes().all(fits) {
        let title = "the name of a key must have 1 to 64 of the characters a-z, 0-9, \"-\" and \"_\"";
        report.add(Problem::at(value.span(), title).help("write `name = \"backend\"`"));
        return None;
    }
    Some(text.value.to_owned())
}

/// The value is not repeated in the problem: it may be the key itself.
fn check_hash(report: &mut Report, section: &Section) -> Option<[u8; 32]> {
    let Some(value) = section.get("sha256") else {
        report.add(Problem::at(section.span(), "a key needs its `sha256`").help("`rialto api-key` makes both"));
        return None;
    };
    let text = section.text(report, "sha256", "\"...\"")?;
    let hash = parse_hash(text.value);
    if hash.is_none() {
        let title = "`sha256` must be 64 hexadecimal digits: the hash of a key, not the key";
        report.add(Problem::at(value.span(), title).help("`rialto api-key` makes a key and its hash"));
    }
    hash
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

fn check_allow<'a>(report: &mut Report, value: &'a Value<'a>) -> Vec<ApiOperation> {
    let example = "write `allow = [\"publish\", \"history\"]`";
    let mut found = Vec::new();
    for text in texts(report, "allow", value, example, 1..=ApiOperation::ALL.len()) {
        match ApiOperation::from_name(text.value) {
            Some(operation) => found.push(operation),
            None => {
                let names = ApiOperation::ALL.map(ApiOperation::name);
                let help = match nearest(text.value, names.into_iter()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("there are {}", names.join(", ")),
                };
                // What is not at least similar to one may be a key.
                let title = match is_operation(text.value) {
                    true => format!("unknown operation \"{}\"", echo(text.value)),
                    false => "this is no operation".to_owned(),
                };
                report.add(Problem::at(text.span, title).help(help));
            }
        }
    }
    found
}

fn check_topics<'a>(report: &mut Report, value: &'a Value<'a>) -> Vec<Pattern> {
    let example = "write `topics = [\"chat.*\"]`";
    let mut found = Vec::new();
    for text in texts(report, "topics", value, example, 1..=PATTERNS_MAX) {
        match Pattern::parse(text.value) {
            Ok(pattern) => found.push(pattern),
            Err(error) => {
                let span = error.at().map_or(text.span.clone(), |at| text.inside(report.text, at));
                let help = "tokens are joined by `.`; `*` is one token, a final `>` is one or more";
                report.add(Problem::at(span, error.to_string()).help(help));
            }
        }
    }
    found
}
