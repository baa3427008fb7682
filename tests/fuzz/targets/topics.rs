//! Topics and patterns: Rialto accepts exactly the names that its protocol describes, and its matching agrees with a
//! plain one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rialto::topic::{Pattern, Topic, TopicError};
use rialto_fuzz::name;

fuzz_target!(init: every_character(), |bytes: &[u8]| {
    // Names stand on lines of their own: one pattern, another, and topics.
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let names: Vec<&str> = text.split('\n').take(8).collect();
    for text in &names {
        judge(text);
    }
    let patterns: Vec<Pattern> = names.iter().filter_map(|text| Pattern::parse_any(text).ok()).collect();
    let topics: Vec<Topic> = names.iter().filter_map(|text| Topic::parse_any(text).ok()).collect();
    for pattern in &patterns {
        for topic in &topics {
            let expected = name::selects(pattern.as_str(), topic.as_str());
            assert_eq!(pattern.matches(topic), expected, "{pattern} matches {topic}");
        }
        for other in &patterns {
            let examples = name::examples(other.as_str(), pattern.as_str());
            let expected = examples.iter().all(|topic| name::selects(pattern.as_str(), topic));
            assert_eq!(pattern.covers(other), expected, "{pattern} covers {other}");
        }
    }
});

/// Rialto keeps the invisible characters as a table of its own; Unicode has the last word on it.
fn every_character() {
    for character in '\0'..=char::MAX {
        let refused = matches!(Topic::parse(&format!("a{character}b")), Err(TopicError::Invisible { .. }));
        assert_eq!(refused, name::is_invisible(character), "U+{:04X}", u32::from(character));
    }
}

fn judge(text: &str) {
    let reserved = text.starts_with('$');
    let topic = Topic::parse_any(text);
    assert_eq!(topic.is_ok(), name::is_topic(text), "topic {text:?}: {topic:?}");
    assert_eq!(Topic::parse(text).is_ok(), topic.is_ok() && !reserved, "topic {text:?}");
    let pattern = Pattern::parse_any(text);
    assert_eq!(pattern.is_ok(), name::is_pattern(text), "pattern {text:?}: {pattern:?}");
    assert_eq!(Pattern::parse(text).is_ok(), pattern.is_ok() && !reserved, "pattern {text:?}");
    for error in [topic.as_ref().err(), pattern.as_ref().err()].into_iter().flatten() {
        harmless(error, text);
    }
    if let Ok(topic) = &topic {
        assert_eq!((topic.as_str(), topic.is_reserved()), (text, reserved));
    }
    if let Ok(pattern) = pattern {
        assert_eq!(pattern.as_str(), text);
        assert_eq!(pattern.is_exact(), topic.is_ok(), "{text:?}");
        assert_eq!(pattern.to_topic(), topic.ok(), "{text:?}");
    }
}

/// An error goes to clients and into logs: short, printable, and pointing at a character that is there.
fn harmless(error: &TopicError, text: &str) {
    let said = error.to_string();
    assert!(said.len() <= 1_000 && !said.chars().any(char::is_control), "{said:?}");
    assert!(error.at().is_none_or(|at| text.is_char_boundary(at)), "{error:?} in {text:?}");
}
