//! Topics and patterns by the letter of the protocol's page: which texts are names, and what a pattern selects.

use std::sync::LazyLock;

use regex::Regex;

/// Characters that leave no mark, from the tables of Unicode itself. Those of category Cf that stand before a number and
/// can be seen are none of them, nor are the joiners of hieroglyphs.
static INVISIBLE: LazyLock<Regex> = LazyLock::new(|| {
    let class = r"[\p{White_Space}\p{Cc}\p{Default_Ignorable_Code_Point}\u{2800}[\p{Cf}--\p{Prepended_Concatenation_Mark}--\u{13430}-\u{1343F}]]";
    Regex::new(class).expect("a class of characters")
});

const BYTES_MAX: usize = 255;
const TOKENS_MAX: usize = 16;

/// Whether nothing can be seen of a character.
pub fn is_invisible(character: char) -> bool {
    INVISIBLE.is_match(character.encode_utf8(&mut [0; 4]))
}

/// Whether a text names a topic, those of the broker included.
pub fn is_topic(text: &str) -> bool {
    is_name(text) && !text.contains(['*', '>'])
}

/// Whether a text is a pattern, those of the broker included.
pub fn is_pattern(text: &str) -> bool {
    let last = text.split('.').count() - 1;
    let fits = |(place, token): (usize, &str)| match token {
        "*" => true,
        ">" => place == last,
        literal => !literal.contains(['*', '>']),
    };
    is_name(text) && text.split('.').enumerate().all(fits)
}

fn is_name(text: &str) -> bool {
    let tokens: Vec<&str> = text.split('.').collect();
    (1..=BYTES_MAX).contains(&text.len())
        && tokens.len() <= TOKENS_MAX
        && tokens.iter().all(|token| !token.is_empty())
        && !text.chars().any(is_invisible)
}

/// Whether a pattern selects a topic.
pub fn selects(pattern: &str, topic: &str) -> bool {
    let wild_first = pattern.starts_with(['*', '>']);
    if wild_first && topic.starts_with('$') {
        return false;
    }
    let (pattern, topic): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), topic.split('.').collect());
    selects_tokens(&pattern, &topic)
}

fn selects_tokens(pattern: &[&str], topic: &[&str]) -> bool {
    match (pattern, topic) {
        ([], []) => true,
        ([">"], [_, ..]) => true,
        (["*", pattern @ ..], [_, topic @ ..]) => selects_tokens(pattern, topic),
        ([wanted, pattern @ ..], [token, topic @ ..]) => wanted == token && selects_tokens(pattern, topic),
        _ => false,
    }
}

/// Topics of a pattern, among them one that `other` does not select if there is any: its wildcards stand for a token
/// that `other` does not name, and a final `>` for every number of them that could make a difference. They may be longer
/// than a topic may be.
pub fn examples(pattern: &str, other: &str) -> Vec<String> {
    let mut fresh = "x".to_owned();
    while other.split('.').any(|token| token == fresh) {
        fresh.push('x');
    }
    let tokens: Vec<&str> = pattern.split('.').map(|token| if token == "*" { &*fresh } else { token }).collect();
    match tokens.split_last() {
        Some((&">", before)) => {
            let most = other.split('.').count() + 1;
            (1..=most).map(|count| [before, &vec![&*fresh; count]].concat().join(".")).collect()
        }
        _ => vec![tokens.join(".")],
    }
}
