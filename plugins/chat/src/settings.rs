//! What the operator can set in the plugin's `config` table.

use rialto_plugin::prelude::*;
use serde::Deserialize;
use std::ops::RangeInclusive;

/// What `text_max` may be.
const TEXT_MAX: RangeInclusive<u32> = 1..=16_000;
/// What `members_max` may be. A claim lists all members, which takes some 50 bytes each of what a hook may transfer:
/// rooms of more than about 10,000 need a higher limit there.
const MEMBERS_MAX: RangeInclusive<u32> = 1..=100_000;
/// What `names_max` may be. A name takes up to some 1,650 bytes of the plugin's state: more than 40,600 need a larger
/// `state_bytes`.
const NAMES_MAX: RangeInclusive<u32> = 1..=10_000_000;

/// The settings of the chat plugin.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Longest message, in characters.
    pub(crate) text_max: u32,
    /// Most named members of one room.
    pub(crate) members_max: u32,
    /// Most names in all rooms together, one for each member of each; clients share them, see `holdings`.
    pub(crate) names_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { text_max: 2000, members_max: 1000, names_max: 40_000 }
    }
}

impl Settings {
    /// Reads and checks the settings; the error is for the operator.
    pub(crate) fn read(config: &Config) -> Result<Self> {
        let settings: Self = config.parse()?;
        check("text_max", settings.text_max, TEXT_MAX)?;
        check("members_max", settings.members_max, MEMBERS_MAX)?;
        check("names_max", settings.names_max, NAMES_MAX)?;
        Ok(settings)
    }
}

fn check(setting: &str, value: u32, allowed: RangeInclusive<u32>) -> Result<()> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(fail(format!("config: {setting}: {value} is not between {} and {}", allowed.start(), allowed.end())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_checked() {
        let read = |json: &str| Settings::read(&Config::from_json(json));
        let valid = [
            ("{}", 2000, 1000, 40_000),
            (r#"{"text_max":1}"#, 1, 1000, 40_000),
            (r#"{"text_max":16000,"members_max":100000,"names_max":10000000}"#, 16_000, 100_000, 10_000_000),
            (r#"{"members_max":1,"names_max":1}"#, 2000, 1, 1),
        ];
        for (json, text_max, members_max, names_max) in valid {
            assert_eq!(read(json), Ok(Settings { text_max, members_max, names_max }), "{json}");
        }
        let invalid = [
            (r#"{"text_max":0}"#, "config: text_max: 0 is not between 1 and 16000"),
            (r#"{"text_max":16001}"#, "config: text_max: 16001 is not between 1 and 16000"),
            (r#"{"members_max":0}"#, "config: members_max: 0 is not between 1 and 100000"),
            (r#"{"members_max":100001}"#, "config: members_max: 100001 is not between 1 and 100000"),
            (r#"{"names_max":0}"#, "config: names_max: 0 is not between 1 and 10000000"),
            (r#"{"text_max":-1}"#, "config: text_max: invalid value: integer `-1`, expected u32"),
            (r#"{"text_max":"2"}"#, "config: text_max: invalid type: string \"2\", expected u32"),
            (
                r#"{"txt_max":1}"#,
                "config: unknown field `txt_max`, expected one of `text_max`, `members_max`, `names_max`",
            ),
        ];
        for (json, expected) in invalid {
            assert_eq!(read(json), Err(fail(expected)), "{json}");
        }
    }
}
