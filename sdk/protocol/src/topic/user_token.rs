//! A text as one token of a topic, so that a topic can name a user or a role whatever they are called.

use std::fmt::Write as _;

use super::is_invisible;

/// The text as a token: `.`, `*`, `>`, `%` and invisible characters are percent-encoded as UTF-8 (RFC 3986 section 2.1), all
/// others stay. Different texts have different tokens.
///
/// ```
/// assert_eq!(rialto_protocol::topic::token_of("ann@example.com"), "ann@example%2Ecom");
/// ```
#[must_use]
pub fn token_of(text: &str) -> String {
    let mut token = String::with_capacity(text.len());
    for character in text.chars() {
        push_encoded(&mut token, character);
    }
    token
}

/// Whether the token is that of the text. Allocates only where something is encoded.
#[must_use]
pub fn is_token_of(token: &str, text: &str) -> bool {
    if text.chars().any(is_encoded) { token_of(text) == token } else { text == token }
}

fn is_encoded(character: char) -> bool {
    matches!(character, '.' | '*' | '>' | '%') || is_invisible(character)
}

fn push_encoded(token: &mut String, character: char) {
    if !is_encoded(character) {
        return token.push(character);
    }
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        write!(token, "%{byte:02X}").expect("a string takes everything");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topic::Topic;

    #[test]
    fn what_would_end_a_token_is_encoded() {
        for (text, token) in [
            ("alice", "alice"),
            ("a.b", "a%2Eb"),
            ("*", "%2A"),
            (">", "%3E"),
            ("a%2Eb", "a%252Eb"),
            ("a b\n", "a%20b%0A"),
            ("\u{200B}", "%E2%80%8B"),
            ("ä{user}$", "ä{user}$"),
        ] {
            assert_eq!(token_of(text), token, "{text:?}");
            assert!(is_token_of(token, text) && !is_token_of("x", text));
        }
        assert!(!is_token_of("a.b", "a.b"));
    }

    proptest! {
        #[test]
        fn tokens_are_tokens_and_tell_texts_apart(one in "\\PC{1,12}|[ -~\\n]{1,12}", other in "[a.*>% ]{1,4}", another in "[a.*>% ]{1,4}") {
            let topic = format!("t.{}.t", token_of(&one));
            prop_assert_eq!(Topic::parse(&topic).expect("a topic").as_str().split('.').count(), 3);
            prop_assert_eq!(token_of(&other) == token_of(&another), other == another);
            prop_assert_eq!(is_token_of(&token_of(&other), &another), other == another);
        }
    }
}
