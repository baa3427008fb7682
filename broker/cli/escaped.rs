//! Text from elsewhere, for a terminal: characters that a terminal would act on, and those that change the order of what
//! stands beside them, are written as escapes. All that the commands print of other programs passes here.

use rialto_load::LoadError;

/// A text for a part of one line: it can neither act on a terminal nor begin a line.
pub(super) fn line(text: &str) -> String {
    escape(text, |_| false)
}

/// A text that may have several lines.
pub(super) fn lines(text: &str) -> String {
    escape(text, |character| matches!(character, '\n' | '\t'))
}

/// A text of another program that may have several lines: those after the first are indented, so that none can pass for
/// a line of the command.
pub(super) fn indented(text: &str) -> String {
    lines(text.trim_end()).replace('\n', "\n  ")
}

/// An error with what caused it. What a broker or another server says in it stays within one line.
pub(super) fn error(error: &anyhow::Error) -> String {
    let shown = |cause: &(dyn std::error::Error + 'static)| {
        let text = cause.to_string();
        let is_foreign = match cause.downcast_ref::<LoadError>() {
            Some(LoadError::Handshake { .. } | LoadError::Refused { .. } | LoadError::Strange { .. }) => true,
            Some(LoadError::PublisherLost { .. }) => true,
            _ => cause.is::<rialto_client::Error>(),
        };
        if is_foreign { line(&text) } else { lines(&text) }
    };
    error.chain().map(shown).collect::<Vec<_>>().join(": ")
}

/// JSON that means the same and has nothing in it that a terminal would act on. White space between tokens stays.
pub(super) fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        // In JSON a control character below U+0020 is white space, or an escape already (RFC 8259, section 7).
        if character >= ' ' && acts(character) {
            out.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            out.push(character);
        }
    }
    out
}

fn escape(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if acts(character) && !stays(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// Control characters (C0, DEL, C1), separators of lines and paragraphs, and the controls of the bidirectional algorithm
/// (Unicode Standard Annex 9, section 2). None of them is above U+FFFF.
fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61C}' | '\u{200E}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind.
    const PLANTED: &str =
        "\u{1b}[31m \r\u{7}\u{7f}\u{85}\u{9b}2J\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}";

    #[test]
    fn nothing_acts_on_a_terminal() {
        let in_json: String = PLANTED.chars().filter(|character| *character >= ' ').collect();
        for text in [line(PLANTED), lines(PLANTED), indented(PLANTED), json(&in_json)] {
            assert!(!text.contains(acts), "{text:?}");
        }
        assert_eq!(line("a\u{1b}[2J\n\tb\u{202e}c"), "a\\u{1b}[2J\\n\\tb\\u{202e}c");
        assert_eq!(lines("a\r\n\tb\u{9b}"), "a\\r\n\tb\\u{9b}");
        assert_eq!(indented("a\nerror: b\n"), "a\n  error: b");
    }

    #[test]
    fn other_text_stays_as_it_is() {
        for text in ["", "plain", "Grüße, 世界", "👩\u{200d}👩\u{fe0f}", "שלום", "a\\u001b"] {
            assert_eq!((line(text), lines(text), json(text)), (text.to_owned(), text.to_owned(), text.to_owned()));
        }
    }

    #[test]
    fn json_means_the_same() {
        let value = serde_json::json!({ "k\u{202e}": [PLANTED, "é\n"] });
        for text in [value.to_string(), format!("{value:#}")] {
            let escaped = json(&text);
            assert!(!escaped.contains(|character| character != '\n' && acts(character)), "{escaped:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).expect("it is JSON"), value);
        }
    }
}
