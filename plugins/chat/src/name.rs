//! A name that a member may have.

use crate::refusal::Refusal;
use rialto_plugin::prelude::*;
use std::ops::RangeInclusive;

/// Longest name, in characters.
const CHARACTERS_MAX: usize = 32;

/// Characters that show nothing or reorder what is shown, so that two names could look alike: those that Unicode lists
/// as format characters or as ignorable by default, and the blank Braille pattern.
const INVISIBLE: [RangeInclusive<char>; 26] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{600}'..='\u{605}',
    '\u{61c}'..='\u{61c}',
    '\u{6dd}'..='\u{6dd}',
    '\u{70f}'..='\u{70f}',
    '\u{890}'..='\u{891}',
    '\u{8e2}'..='\u{8e2}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    '\u{110bd}'..='\u{110bd}',
    '\u{110cd}'..='\u{110cd}',
    '\u{13430}'..='\u{1345f}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

/// A valid name: 1 to 32 visible characters, without spaces at its ends or in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    /// Tidies what a client asked for, or says why it cannot be a name.
    pub(crate) fn parse(raw: &str) -> Result<Self> {
        let trimmed = raw.trim();
        for c in trimmed.chars() {
            let problem = if c.is_control() {
                "a control character"
            } else if INVISIBLE.iter().any(|range| range.contains(&c)) {
                "an invisible character"
            } else {
                continue;
            };
            return Err(invalid(format!("the name contains {problem} (U+{:04X})", u32::from(c))));
        }
        let name = trimmed.split_whitespace().collect::<Vec<_>>().join(" ");
        match name.chars().count() {
            0 => Err(invalid("the name is empty")),
            1..=CHARACTERS_MAX => Ok(Self(name)),
            length => Err(invalid(format!("the name has {length} characters, the limit is {CHARACTERS_MAX}"))),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name without the difference of upper and lower case: names with the same fold are the same to a person.
pub(crate) fn fold(name: &str) -> String {
    // The Greek sigma has two lower forms, which one depends on its place in the word.
    name.chars().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c }).collect()
}

fn invalid(reason: impl Into<String>) -> Error {
    Refusal::InvalidName.because(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tidied() {
        let longest = "ä".repeat(32);
        let table = [
            ("Ada", "Ada"),
            ("  Ada\n", "Ada"),
            ("Ada   King \u{a0}\u{2003} Lovelace", "Ada King Lovelace"),
            ("李小龍", "李小龍"),
            ("🦀", "🦀"),
            ("x", "x"),
            (&longest, &longest),
        ];
        for (raw, expected) in table {
            assert_eq!(Name::parse(raw), Ok(Name(expected.to_owned())), "{raw:?}");
        }
    }

    #[test]
    fn other_names_are_refused_with_a_reason() {
        let long = "a".repeat(33);
        let table = [
            ("", "the name is empty"),
            (" \t\u{3000} ", "the name is empty"),
            (&long, "the name has 33 characters, the limit is 32"),
            ("A\0da", "the name contains a control character (U+0000)"),
            ("A\nda", "the name contains a control character (U+000A)"),
            ("A\u{9b}da", "the name contains a control character (U+009B)"),
            ("A\u{202e}da", "the name contains an invisible character (U+202E)"),
            ("A\u{2067}da", "the name contains an invisible character (U+2067)"),
            ("A\u{200b}da", "the name contains an invisible character (U+200B)"),
            ("\u{feff}Ada", "the name contains an invisible character (U+FEFF)"),
            ("Ada\u{ad}", "the name contains an invisible character (U+00AD)"),
            ("\u{3164}", "the name contains an invisible character (U+3164)"),
            ("Ada\u{fe0f}", "the name contains an invisible character (U+FE0F)"),
            ("Ada\u{e0041}", "the name contains an invisible character (U+E0041)"),
        ];
        for (raw, expected) in table {
            assert_eq!(Name::parse(raw), Err(invalid(expected)), "{raw:?}");
        }
    }

    #[test]
    fn folds_hide_case() {
        let table = [("Ada", "ADA"), ("ÉVA", "éva"), ("Σίσυφος", "ΣΊΣΥΦΟΣ"), ("straße", "STRAẞE")];
        for (one, other) in table {
            assert_eq!(fold(one), fold(other));
        }
        assert_ne!(fold("Ada"), fold("Adа"), "a Cyrillic letter is another letter");
    }
}
