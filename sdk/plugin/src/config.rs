//! The plugin's own settings, as the operator wrote them.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;

/// The plugin's `config` table from the broker's TOML.
///
/// ```
/// use rialto_plugin::prelude::*;
///
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields, default)]
/// struct Settings {
///     text_max: u32,
/// }
///
/// impl Default for Settings {
///     fn default() -> Self {
///         Self { text_max: 2000 }
///     }
/// }
///
/// let config = Config::from_json(r#"{"text_max": "many"}"#);
/// let error = config.parse::<Settings>().err().expect("not a number");
/// assert_eq!(error, fail("config: text_max: invalid type: string \"many\", expected u32"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    json: String,
    topic: Option<String>,
}

impl Config {
    /// The settings as a JSON object; an empty text stands for no settings.
    pub fn from_json(json: impl Into<String>) -> Self {
        Self { json: json.into(), topic: None }
    }

    /// The same settings, for the instance of one topic.
    #[must_use]
    pub fn for_topic(self, topic: Option<String>) -> Self {
        Self { topic, ..self }
    }

    /// The one topic of this instance, where the operator has chosen `isolation = "topic"`.
    pub fn topic(&self) -> Option<&str> {
        self.topic.as_deref()
    }

    /// The settings as JSON.
    pub fn as_json(&self) -> &str {
        if self.json.is_empty() { "{}" } else { &self.json }
    }

    /// Reads the settings. Let `T` be `#[serde(deny_unknown_fields, default)]`, so that a typing error is told.
    ///
    /// # Errors
    /// A failure that names the setting and what is wrong with it, in words for the operator.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        let mut reader = serde_json::Deserializer::from_slice(self.as_json().as_bytes());
        serde_path_to_error::deserialize(&mut reader).map_err(|error| Error::Failed(describe(&error)))
    }
}

fn describe(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let path = error.path().to_string();
    let problem = error.inner().to_string();
    // A position in this JSON would mean nothing to an operator who wrote TOML.
    let position = format!(" at line {} column {}", error.inner().line(), error.inner().column());
    let problem = problem.strip_suffix(&position).unwrap_or(&problem);
    if path == "." || problem.starts_with("unknown field") {
        format!("config: {problem}")
    } else {
        format!("config: {path}: {problem}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::fail;
    use serde::Deserialize;

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        rooms: Vec<Room>,
    }

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Room {
        size: u8,
    }

    #[test]
    fn errors_name_the_setting() {
        let table = [
            ("{}", "config: missing field `rooms`"),
            ("", "config: missing field `rooms`"),
            ("[", "config: EOF while parsing a list"),
            ("7", "config: invalid type: integer `7`, expected struct Settings"),
            (
                r#"{"rooms":[{"size":1},{"size":300}]}"#,
                "config: rooms[1].size: invalid value: integer `300`, expected u8",
            ),
            (r#"{"rooms":[],"romms":1}"#, "config: unknown field `romms`, expected `rooms`"),
            (r#"{"rooms":[{"seize":1}]}"#, "config: unknown field `seize`, expected `size`"),
        ];
        for (json, expected) in table {
            assert_eq!(Config::from_json(json).parse::<Settings>(), Err(fail(expected)), "{json}");
        }
    }

    #[test]
    fn settings_are_read() {
        let config = Config::from_json(r#"{"rooms":[{"size":3}]}"#);
        assert_eq!(config.parse(), Ok(Settings { rooms: vec![Room { size: 3 }] }));
    }
}
