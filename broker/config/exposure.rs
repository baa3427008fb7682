//! Which values of a file may be shown beside a problem: those of known keys that cannot hold a secret. All others are
//! hidden, because nobody can know what an unknown key, a key of the API or a plugin's own setting holds.

use std::collections::BTreeMap;

use rialto_plugin::host::Capability;
use rialto_protocol::ApiOperation;

use super::{check::TABLES, section::nearest, setting::Setting};

/// How keys of the HTTP API begin.
pub(super) const KEY_PREFIX: &str = "rialto_";

/// Most characters of a text that stands where a number or a boolean belongs.
const AMOUNT_CHARS_MAX: usize = 32;

/// Most characters of the name of an API key.
const NAME_CHARS_MAX: usize = 64;

/// What begins a capability.
const CAPABILITIES: [&str; 5] = ["state", "timers", "sessions", "publish", "subscribe"];

/// What may be shown of the value of a key.
#[derive(Clone, Copy)]
pub(super) enum Exposure {
    /// Any text.
    Text,
    /// A text for which this is true, and any number.
    Only(fn(&str) -> bool),
}

/// The known keys and what may be shown of each, by its path, like `plugin.NAME.path`.
pub(super) struct Exposures(BTreeMap<String, Exposure>);

impl Exposure {
    /// Whether this text may be shown.
    pub(super) fn shows(self, text: &str) -> bool {
        match self {
            Self::Text => true,
            Self::Only(is_fine) => is_fine(text),
        }
    }

    /// Whether what is written may be shown although it cannot be read. A number or a boolean has no quotes.
    pub(super) fn shows_unread(self, written: &str) -> bool {
        match self {
            Self::Text => true,
            Self::Only(_) => is_amount(written.trim_matches(['"', '\''])),
        }
    }
}

impl Exposures {
    /// Of every declared setting.
    pub(super) fn new() -> Self {
        let mut all = Self(BTreeMap::new());
        for table in TABLES {
            let header = table.header.trim_matches(['[', ']']);
            for setting in (table.settings)() {
                all.insert(header, &setting);
                for (old, _) in table.renamed.iter().filter(|(_, new)| *new == setting.name) {
                    all.insert(header, &Setting { name: old, about: &[], default: None, ..setting.clone() });
                }
            }
        }
        for hidden in ["plugin.NAME.config", "api.keys", "auth.key", "auth.user", "auth.callout"] {
            all.0.remove(hidden);
        }
        for (path, exposure) in [
            ("api.keys.name", Exposure::Only(is_name)),
            ("api.keys.allow", Exposure::Only(is_operation)),
            ("api.keys.topics", Exposure::Text),
            ("auth.key.id", Exposure::Only(is_name)),
            ("auth.key.algorithm", Exposure::Only(is_name)),
            ("auth.key.secret.env", Exposure::Only(is_variable)),
            ("auth.key.secret.file", Exposure::Only(is_file_name)),
            ("auth.key.public_key.env", Exposure::Only(is_variable)),
            ("auth.key.public_key.file", Exposure::Only(is_file_name)),
            ("auth.user.name", Exposure::Only(is_name)),
            ("auth.user.roles", Exposure::Only(is_name)),
            ("plugin.NAME.grants", Exposure::Only(is_capability)),
            ("tls.key", Exposure::Only(is_file_name)),
            ("topic.delivery.policy", Exposure::Text),
            ("topic.delivery.field", Exposure::Text),
            ("topic.delivery.every_ms", Exposure::Only(is_amount)),
        ] {
            all.0.insert(path.to_owned(), exposure);
        }
        all
    }

    /// Of nothing, for texts that are no file.
    pub(super) fn none() -> Self {
        Self(BTreeMap::new())
    }

    fn insert(&mut self, header: &str, setting: &Setting) {
        let path = format!("{header}.{}", setting.name);
        for key in &setting.form.keys {
            self.insert(&path, key);
        }
        let is_plain = matches!(setting.form.schema["type"].as_str(), Some("integer" | "boolean"));
        self.0.insert(path, if is_plain { Exposure::Only(is_amount) } else { Exposure::Text });
    }

    /// What may be shown of the value of this key; nothing if there is no such key.
    pub(super) fn of(&self, path: &[&str]) -> Option<Exposure> {
        self.0.get(&joined(path)).copied()
    }

    /// Whether there may be a section of this name.
    pub(super) fn has_section(&self, path: &[&str]) -> bool {
        self.has(path) || matches!(path, ["plugin", _, "config"])
    }

    /// Whether there is such a key, section or list of tables.
    pub(super) fn has(&self, path: &[&str]) -> bool {
        let path = joined(path);
        let mut from = self.0.range(path.clone()..);
        from.next().is_some_and(|(known, _)| {
            known.strip_prefix(&path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }
}

fn joined(path: &[&str]) -> String {
    match path {
        ["plugin", _, rest @ ..] => [&["plugin", "NAME"], rest].concat().join("."),
        _ => path.join("."),
    }
}

/// Whether a key or a name looks as if somebody had put a secret there: it begins like a key of the API, or is long and has
/// digits or both cases, like base64 and hexadecimal digits.
pub(super) fn looks_random(text: &str) -> bool {
    let count = |is: fn(&char) -> bool| text.chars().filter(is).count();
    let length = text.chars().count();
    let is_mixed = text.chars().any(char::is_uppercase) && text.chars().any(char::is_lowercase);
    (text.starts_with(KEY_PREFIX) && length > KEY_PREFIX.len() + 8)
        || (length >= 12 && count(char::is_ascii_digit) >= 3)
        || (length >= 16 && is_mixed)
}

/// Whether this could be meant as one of the operations of the HTTP API.
pub(super) fn is_operation(text: &str) -> bool {
    ApiOperation::from_name(text).is_some()
        || nearest(text, ApiOperation::ALL.map(ApiOperation::name).into_iter()).is_some()
}

/// Whether this could be meant as a capability.
pub(super) fn is_capability(text: &str) -> bool {
    let word = text.split_whitespace().next().unwrap_or_default();
    Capability::parse(text).is_ok() || nearest(word, CAPABILITIES.into_iter()).is_some()
}

/// Whether this is the name of a file rather than what is in it.
pub(super) fn is_file_name(text: &str) -> bool {
    let ending = text.rsplit_once('.').map_or("", |(_, ending)| ending);
    (1..=8).contains(&ending.len())
        && ending.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !text.contains(['\n', '+', '='])
}

fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
    text.len() <= NAME_CHARS_MAX && text.chars().all(fits) && !looks_random(text)
}

/// Whether this is the name of an environment variable rather than what is in it.
fn is_variable(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

fn is_amount(text: &str) -> bool {
    let is_word = ["true", "false", "yes", "no", "on", "off"].iter().any(|word| text.eq_ignore_ascii_case(word));
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    text.chars().count() <= AMOUNT_CHARS_MAX && (is_word || is_number) && !looks_random(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_where_no_secret_can_be() {
        let exposures = Exposures::new();
        for (path, text, expected) in [
            ("server.listen", "localhost", true),
            ("server.shards", "4", true),
            ("server.shards", "hunter", false),
            ("server.colour", "red", false),
            ("plugin.chat.path", "a.wasm", true),
            ("plugin.chat.grants", "stat", true),
            ("plugin.chat.grants", "publish a.>", true),
            ("plugin.chat.grants", "hunter2", false),
            ("plugin.chat.config", "x", false),
            ("plugin.chat.config.path", "x", false),
            ("api.keys", "hunter2", false),
            ("api.keys.sha256", "abc", false),
            ("api.keys.name", "backend", true),
            ("api.keys.name", "rialto_abcdefghijkl", false),
            ("api.keys.allow", "publsh", true),
            ("api.keys.allow", "hunter2", false),
            ("tls.key", "certs/key.pem", true),
            ("tls.key", "MIIEvQIBADANBgkqh", false),
            ("topic.history.messages", "1_000", true),
            ("topic.delivery", "latest", true),
        ] {
            let path: Vec<&str> = path.split('.').collect();
            assert_eq!(exposures.of(&path).is_some_and(|exposure| exposure.shows(text)), expected, "{path:?}: {text}");
        }
        for (path, expected) in [
            ("server", true),
            ("api.keys", true),
            ("topic.history", true),
            ("serve", false),
            ("plugin.a.config", false),
        ] {
            assert_eq!(exposures.has(&path.split('.').collect::<Vec<_>>()), expected, "{path}");
        }
    }

    #[test]
    fn names_that_look_like_secrets() {
        for (text, expected) in [
            ("presence_grace_ms", false),
            ("connections_per_address", false),
            ("listen", false),
            ("rialto_url", false),
            ("rialto_AbCdEfGhIjKl", true),
            ("d1bf10a7f3b6aeff", true),
            ("ThisIsBase64EncodedText", true),
        ] {
            assert_eq!(looks_random(text), expected, "{text}");
        }
    }
}
