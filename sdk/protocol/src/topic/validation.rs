//! The rules for names: length, tokens, wildcards and invisible characters.

use super::{NameKind, TOPIC_BYTES_MAX, TOPIC_TOKENS_MAX, TopicError};

/// Most characters of a refused name that an error repeats.
const ECHO_CHARS_MAX: usize = 48;

pub(super) fn refuse_reserved(kind: NameKind, name: &str) -> Result<(), TopicError> {
    if name.starts_with('$') { Err(TopicError::Reserved { kind, name: echo(name) }) } else { Ok(()) }
}

pub(super) fn check_name(kind: NameKind, name: &str) -> Result<(), TopicError> {
    if name.is_empty() {
        return Err(TopicError::Empty { kind });
    }
    if name.len() > TOPIC_BYTES_MAX {
        return Err(TopicError::TooLong { kind, name: echo(name), bytes: name.len() });
    }
    let mut at = 0;
    for (index, token) in name.split('.').enumerate() {
        if index == TOPIC_TOKENS_MAX {
            let tokens = name.split('.').count();
            return Err(TopicError::TooManyTokens { kind, name: echo(name), tokens, at });
        }
        check_token(kind, name, token, at)?;
        at += token.len() + 1;
    }
    Ok(())
}

fn check_token(kind: NameKind, name: &str, token: &str, at: usize) -> Result<(), TopicError> {
    if token.is_empty() {
        return Err(TopicError::EmptyToken { kind, name: echo(name), at });
    }
    if kind == NameKind::Pattern && matches!(token, "*" | ">") {
        let fits = token == "*" || at + token.len() == name.len();
        return if fits { Ok(()) } else { Err(TopicError::TailNotLast { name: echo(name), at }) };
    }
    for (index, character) in token.char_indices() {
        let at = at + index;
        let name = || echo(name);
        return Err(match (character, kind) {
            ('*' | '>', NameKind::Topic) => TopicError::Wildcard { name: name(), character, at },
            ('*' | '>', NameKind::Pattern) => TopicError::PartialWildcard { name: name(), character, at },
            _ if is_invisible(character) => TopicError::Invisible { kind, name: name(), character, at },
            _ => continue,
        });
    }
    Ok(())
}

/// White space, control and other characters that leave no mark (Unicode 16, Default_Ignorable_Code_Point and format).
pub fn is_invisible(character: char) -> bool {
    if character.is_ascii() {
        return !character.is_ascii_graphic();
    }
    character.is_whitespace()
        || character.is_control()
        || matches!(character,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
            | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// The start of a refused name, with nothing in it that a terminal or log could act on.
fn echo(name: &str) -> String {
    let mut text: String = name.chars().take(ECHO_CHARS_MAX).flat_map(char::escape_debug).collect();
    if name.chars().nth(ECHO_CHARS_MAX).is_some() {
        text.push('…');
    }
    text
}
