//! Checks the `[[topic]]` tables: patterns, plugins, and rules that no topic can reach.

use std::ops::Range;

use toml::de::DeValue;

use super::{
    TopicRule,
    problem::Problem,
    section::{Report, Section, Text, Value, echo, nearest},
};
use crate::topic::{Pattern, TOPIC_TOKENS_MAX, TopicError};

/// The keys of a `[[topic]]`.
pub(super) const KEYS: &[&str] = &["pattern", "plugin", "reveal_publisher"];

/// Most topic rules; looking one up tries them in order.
const RULES_MAX: usize = 1_000;

/// How a rule is written.
const EXAMPLE: &str = "write a line `[[topic]]`, and below it `pattern = \"chat.*\"`";

/// `plugins` are the names that the file gives to plugins, whatever else is wrong with them.
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

fn check_plugin(report: &mut Report, name: &Text, plugins: &[&str]) {
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

/// Reports a pattern all of whose topics go to earlier rules.
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

/// The earlier patterns that leave nothing to `pattern`, if they do. Several may be needed: `*` and `*.>` leave nothing
/// to `>`. Names have a most number of tokens, so a final `>` is a few numbers of `*`; and as names are free, only one
/// pattern can take all names of one length.
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
        // Too long for any name to fit: nothing of this length is left to take.
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
    fn finds_rules_out_of_reach() {
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
