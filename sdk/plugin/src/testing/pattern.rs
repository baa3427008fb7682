//! Topics and patterns as the broker reads them: tokens joined by dots.

/// Longest topic, in bytes.
const TOPIC_BYTES_MAX: usize = 255;
/// Most tokens in a topic.
const TOPIC_TOKENS_MAX: usize = 16;

/// Why `topic` is not a topic that a plugin can publish to, if it is not.
pub(super) fn check_topic(topic: &str) -> Result<(), String> {
    let problem = if topic.len() > TOPIC_BYTES_MAX {
        format!("longer than {TOPIC_BYTES_MAX} bytes")
    } else if topic.split('.').count() > TOPIC_TOKENS_MAX {
        format!("more than {TOPIC_TOKENS_MAX} tokens")
    } else if topic.starts_with('$') {
        "it belongs to the broker".to_owned()
    } else if let Some(at) = topic.split('.').position(str::is_empty) {
        format!("empty token at {}", at + 1)
    } else if topic.split('.').any(|token| token == "*" || token == ">") {
        "it is a pattern".to_owned()
    } else if topic.contains(|c: char| c.is_whitespace() || c.is_control()) {
        "whitespace or a control character".to_owned()
    } else {
        return Ok(());
    };
    Err(format!("topic {topic:?}: {problem}"))
}

/// Whether `pattern` selects `topic`: `*` is one token, a final `>` is one or more.
pub(super) fn selects(pattern: &str, topic: &str) -> bool {
    let mut tokens = topic.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_select_topics() {
        let table = [
            ("chat.lobby", "chat.lobby", true),
            ("chat.lobby", "chat.hall", false),
            ("chat.*", "chat.lobby", true),
            ("chat.*", "chat.lobby.side", false),
            ("chat.*", "chat", false),
            ("chat.>", "chat.lobby.side", true),
            ("chat.>", "chat", false),
            (">", "anything", true),
            ("*.b", "a.b", true),
        ];
        for (pattern, topic, expected) in table {
            assert_eq!(selects(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn topics_are_checked() {
        let long = "a".repeat(256);
        let many = ["a"; 17].join(".");
        let table = [
            ("chat.lobby", None),
            ("chat.ä", None),
            ("a..b", Some("empty token at 2")),
            ("", Some("empty token at 1")),
            ("$broker.x", Some("it belongs to the broker")),
            ("chat.*", Some("it is a pattern")),
            ("chat.a b", Some("whitespace")),
            (&long, Some("longer than 255 bytes")),
            (&many, Some("more than 16 tokens")),
        ];
        for (topic, expected) in table {
            let problem = check_topic(topic).err();
            assert_eq!(problem.is_some(), expected.is_some(), "{topic}: {problem:?}");
            assert!(problem.unwrap_or_default().contains(expected.unwrap_or_default()), "{topic}");
        }
    }
}
