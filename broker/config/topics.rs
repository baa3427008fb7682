//! Checks the `[[topic]]` tables: patterns, plugins, and rules that no topic can reach.

use std::ops::Range;

use rialto_protocol::{Delivery, Policy};
use toml::de::DeValue;

use super::{
    History, OnFailure, TopicRule,
    problem::Problem,
    section::{Report, Section, Text, Unit, Value, as_text, echo, nearest, wrong_type},
};
use crate::topic::{Pattern, TOPIC_TOKENS_MAX, TopicError};

/// The keys of a `[[topic]]`.
pub(super) const KEYS: &[&str] = &[
    "pattern",
    "plugin",
    "reveal_publisher",
    "delivery",
    "delivery_max",
    "history",
    "presence",
    "patterns",
    "keys_ms",
    "on_failure",
];

/// What may happen to requests while the plugin is down.
const ON_FAILURE: [(&str, OnFailure); 2] = [("refuse", OnFailure::Refuse), ("pass", OnFailure::Pass)];

/// The keys of a `delivery` that is written as a table.
const DELIVERY_KEYS: &[&str] = &["policy", "field", "every_ms"];

/// The keys of a `history`.
const HISTORY_KEYS: &[&str] = &["messages", "bytes", "age_ms"];

/// Most topic rules; looking one up tries them in order.
const RULES_MAX: usize = 1_000;

/// A hint with an example of a rule.
const EXAMPLE: &str = "write a line `[[topic]]`, and below it `pattern = \"chat.*\"`";

/// `plugins` are the names of the plugins in the file, valid or not.
pub(super) fn check<'a>(report: &mut Report, value: &'a Value<'a>, plugins: &[&str]) -> Vec<TopicRule> {
    let DeValue::Array(tables) = value.get_ref() else {
        let title = "topic rules are a list: `[[topic]]`, with two brackets";
        report.add(Problem::at(value.span(), title).help(EXAMPLE));
        return Vec::new();
    };
    if let Some(first_too_many) = tables.get(RULES_MAX) {
        let title = format!("{} topic rules, at most {RULES_MAX}", tables.len());
        report.add(Problem::at(first_too_many.span(), title).help("join some of them with `*` or `>`"));
        return Vec::new();
    }
    let mut rules = Vec::new();
    let mut spans: Vec<Range<usize>> = Vec::new();
    for table in tables.iter() {
        let Some((rule, span)) = check_rule(report, table, plugins) else {
            continue;
        };
        check_reach(report, &rules, &spans, &rule.pattern, &span);
        rules.push(rule);
        spans.push(span);
    }
    rules
}

fn check_rule<'a>(report: &mut Report, value: &'a Value<'a>, plugins: &[&str]) -> Option<(TopicRule, Range<usize>)> {
    let section = Section::open(report, "[[topic]]", KEYS, value)?;
    let mut rule = TopicRule::default();
    section.flag(report, "reveal_publisher", &mut rule.reveal_publisher);
    if let Some(name) = section.text(report, "plugin", "\"chat\"") {
        check_plugin(report, &name, plugins);
        rule.plugin = Some(name.value.to_owned());
    }
    check_delivery(report, &section, &mut rule);
    rule.history = section.get("history").and_then(|value| check_history(report, value));
    section.flag(report, "presence", &mut rule.presence);
    if section.get("patterns").is_some() {
        section.flag(report, "patterns", rule.patterns.insert(false));
    }
    section.number(report, "keys_ms", Unit::Milliseconds, 0..=86_400_000, &mut rule.keys_ms);
    section.choice(report, "on_failure", &ON_FAILURE, &mut rule.on_failure);
    if section.get("pattern").is_none() && !report.torn {
        let title = "a topic rule needs a `pattern`";
        report.add(Problem::at(section.span(), title).help("add `pattern = \"chat.*\"`, or `\">\"` for all topics"));
    }
    let text = section.text(report, "pattern", "\"chat.*\"")?;
    match Pattern::parse(text.value) {
        Ok(pattern) => rule.pattern = pattern,
        Err(error) => {
            let span = error.at().map_or(text.span.clone(), |at| text.inside(report.text, at));
            let help = match error {
                TopicError::Reserved { .. } => "topic rules are for the topics of clients and plugins",
                TopicError::Invisible { .. } => "use visible characters, and no spaces",
                TopicError::EmptyToken { .. } => "write something between the dots, or leave one of them out",
                _ => "tokens are joined by `.`; `*` is one token, a final `>` is one or more",
            };
            report.add(Problem::at(span, error.to_string()).help(help));
            return None;
        }
    }
    Some((rule, text.span))
}

/// The policy of a rule and its `delivery_max`.
fn check_delivery(report: &mut Report, section: &Section, rule: &mut TopicRule) {
    let most = section.text(report, "delivery_max", "\"latest\"");
    if let Some(most) = &most {
        match Policy::from_name(most.value) {
            Some(policy) => rule.delivery_max = policy,
            None => report.add(unknown_policy(most)),
        }
    }
    let Some(value) = section.get("delivery") else {
        // Without `delivery` the strongest allowed policy is the default.
        rule.delivery = match rule.delivery_max {
            Policy::Queue => Delivery::Queue,
            Policy::DropOldest => Delivery::DropOldest,
            Policy::Latest => Delivery::Latest,
            policy @ (Policy::LatestBy | Policy::Sample) => {
                let title = format!("`delivery_max = \"{policy}\"` needs a `delivery`");
                let help = "say how: `delivery = { policy = \"sample\", every_ms = 250 }`, for instance";
                report.add(Problem::at(section.span(), title).help(help));
                return;
            }
        };
        return;
    };
    let Some(delivery) = read_delivery(report, value) else { return };
    if delivery.policy() < rule.delivery_max {
        let title = format!("`delivery` keeps more than `delivery_max = \"{}\"` allows", rule.delivery_max);
        let problem = Problem::at(value.span(), title).help(format!("from most to least: {}", policies()));
        report.add(match most {
            Some(most) => problem.also(most.span, "the most that is allowed"),
            None => problem,
        });
    }
    rule.delivery = delivery;
}

fn check_history<'a>(report: &mut Report, value: &'a Value<'a>) -> Option<History> {
    if !matches!(value.get_ref(), DeValue::Table(_)) {
        let problem = wrong_type("history", value, "a table");
        report.add(problem.help("write `history = { messages = 1_000 }`"));
        return None;
    }
    let section = Section::open(report, "history", HISTORY_KEYS, value)?;
    let mut history = History::default();
    section.number(report, "messages", Unit::Items, 1..=10_000_000, &mut history.messages);
    section.number(report, "bytes", Unit::Bytes, 256..=1_099_511_627_776, &mut history.bytes);
    section.number(report, "age_ms", Unit::Milliseconds, 10..=2_592_000_000, &mut history.age_ms);
    Some(history)
}

fn read_delivery<'a>(report: &mut Report, value: &'a Value<'a>) -> Option<Delivery> {
    let example = "write `delivery = \"latest\"`, or `delivery = { policy = \"latest_by\", field = \"/symbol\" }`";
    let (name, field, every_ms) = match value.get_ref() {
        DeValue::String(_) => (as_text(value)?, None, None),
        DeValue::Table(_) => {
            let section = Section::open(report, "delivery", DELIVERY_KEYS, value)?;
            let name = section.text(report, "policy", "\"latest\"");
            let field = section.text(report, "field", "\"/symbol\"");
            let every_ms = section.get("every_ms").and_then(|value| read_every_ms(report, value));
            let Some(name) = name else {
                if section.get("policy").is_none() && !report.torn {
                    report.add(Problem::at(value.span(), "`delivery` needs a `policy`").help(example));
                }
                return None;
            };
            (name, field.map(|field| field.value), every_ms)
        }
        _ => {
            report.add(wrong_type("delivery", value, "a string or a table").help(example));
            return None;
        }
    };
    if Policy::from_name(name.value).is_none() {
        report.add(unknown_policy(&name));
        return None;
    }
    Delivery::new(name.value, field, every_ms)
        .map_err(|error| report.add(Problem::at(value.span(), format!("`delivery`: {error}")).help(example)))
        .ok()
}

/// A number of milliseconds; the policy checks its range.
fn read_every_ms<'a>(report: &mut Report, value: &'a Value<'a>) -> Option<u64> {
    let DeValue::Integer(integer) = value.get_ref() else {
        let problem = wrong_type("every_ms", value, "an integer (milliseconds)");
        report.add(problem.help("write `every_ms = 250`"));
        return Some(1);
    };
    Some(u64::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(0))
}

fn unknown_policy(name: &Text) -> Problem {
    let help = match nearest(name.value, Policy::ALL.into_iter().map(Policy::name)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("there are {}", policies()),
    };
    Problem::at(name.span.clone(), format!("unknown delivery policy \"{}\"", echo(name.value))).help(help)
}

fn policies() -> String {
    Policy::ALL.map(Policy::name).join(", ")
}

pub(super) fn check_plugin(report: &mut Report, name: &Text, plugins: &[&str]) {
    if plugins.contains(&name.value) || report.torn {
        return;
    }
    let help = match nearest(name.value, plugins.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("add a section `[plugin.{}]` with its `path`", echo(name.value)),
    };
    let title = format!("unknown plugin `{}`", echo(name.value));
    report.add(Problem::at(name.span.clone(), title).help(help));
}

/// Reports a pattern whose topics all match earlier rules.
fn check_reach(
    report: &mut Report,
    rules: &[TopicRule],
    spans: &[Range<usize>],
    pattern: &Pattern,
    span: &Range<usize>,
) {
    let earlier: Vec<&Pattern> = rules.iter().map(|rule| &rule.pattern).collect();
    let Some(takers) = takers(&earlier, pattern) else {
        return;
    };
    let same = takers.iter().any(|taker| earlier[*taker] == pattern);
    let problem = if same {
        Problem::at(span.clone(), format!("two topic rules for `{pattern}`")).help("keep one: the first match wins")
    } else {
        Problem::at(span.clone(), format!("no topic can reach this rule for `{pattern}`"))
            .help("the first match wins: put the narrower rule first")
    };
    let label = if same { "first here" } else { "an earlier rule takes its topics" };
    report.add(takers.iter().fold(problem, |problem, taker| problem.also(spans[*taker].clone(), label)));
}

/// The earlier patterns that together match every topic of `pattern`, if they do. Several may be needed: `*` and `*.>`
/// cover `>`. The number of tokens is limited, so a final `>` is a finite number of patterns with `*`; and all names of
/// one length can only be covered by a single pattern.
fn takers(earlier: &[&Pattern], pattern: &Pattern) -> Option<Vec<usize>> {
    let taker = |pattern: &Pattern| earlier.iter().position(|earlier| earlier.covers(pattern));
    if let Some(taker) = taker(pattern) {
        return Some(vec![taker]);
    }
    let head = pattern.as_str().strip_suffix('>')?;
    let tokens = head.matches('.').count();
    let mut takers = Vec::new();
    for tail in 1..=TOPIC_TOKENS_MAX - tokens {
        let of_one_length = format!("{head}{}", vec!["*"; tail].join("."));
        // No name is so long: there is nothing to cover.
        let Ok(of_one_length) = Pattern::parse(&of_one_length) else {
            break;
        };
        takers.push(taker(&of_one_length)?);
    }
    takers.sort_unstable();
    takers.dedup();
    Some(takers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreachable_rules_are_found() {
        let longest = ["*"; 16].join(".");
        let cases = [
            (vec![">"], "a.b", Some(vec![0])),
            (vec!["a.*", "a.b"], "a.b", Some(vec![0])),
            (vec!["a.*"], "a.>", None),
            (vec!["a.*", "b.>", "a.*.>"], "a.>", Some(vec![0, 2])),
            (vec!["*", "*.>"], ">", Some(vec![0, 1])),
            (vec!["*", "a", "*.*", "*.*.>"], ">", Some(vec![0, 2, 3])),
            (vec!["*", "*.*.>"], ">", None),
            (vec!["*.a", "a.*"], "*.*", None),
            (vec![longest.as_str()], "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.>", Some(vec![0])),
        ];
        for (earlier, pattern, expected) in cases {
            let earlier: Vec<_> = earlier.into_iter().map(|text| Pattern::parse(text).expect("valid")).collect();
            let earlier: Vec<_> = earlier.iter().collect();
            let pattern = Pattern::parse(pattern).expect("valid");
            assert_eq!(takers(&earlier, &pattern), expected, "{pattern}");
        }
    }
}
