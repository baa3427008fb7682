//! The `[[topic]]` tables and their check: patterns, plugins, and rules that no topic can reach.

use std::ops::Range;

use rialto_protocol::{Delivery, Policy};
use serde_json::json;
use toml::de::DeValue;

use super::{
    Access, Config,
    permissions::{self, Permission, permission, placeholders},
    problem::Problem,
    section::{Report, Section, Text, Value, as_text, echo, grouped, nearest, wrong_type},
    setting::{Choice, Custom, Flag, Form, Table, Written, quoted, settings},
};
use crate::topic::{Pattern, TOPIC_TOKENS_MAX, TopicError};

settings! {
    /// Topic rules, at most 1_000. The first rule whose pattern matches a topic applies; topics without a rule are refused.
    /// A file without any rule gets one for `">"`. In a pattern `*` is exactly one token, a final `>` one or more.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct TopicRule: "[[topic]]" requires ["pattern"] {
        /// The topics that the rule is for, unless an earlier rule matches them.
        pattern: Pattern = Pattern::parse(">").expect("`>` is a pattern") => Custom { form: text };
        /// The plugin that owns these topics: the NAME of a `[plugin.NAME]`. Without it messages pass as they are.
        plugin: Option<String> = None => Custom { form: || text().example("\"chat\"") };
        /// Whether messages say which session published them.
        reveal_publisher: bool = false => Flag;
        /// Delivery policy: what a slow consumer receives, unless its subscription names another policy:
        /// - `"queue"`: everything, until `outbox_bytes` are queued; then its session is closed
        /// - `"drop_oldest"`: the newest `outbox_bytes`
        /// - `{ policy = "latest_by", field = "/symbol" }`: the last message for each value of a field (a JSON pointer,
        ///   RFC 6901)
        /// - `"latest"`: the last message
        /// - `{ policy = "sample", every_ms = 250 }`: at most one message in 1 to 3_600_000 ms, also when it is fast enough
        ///
        /// Skipped messages are reported to the subscriber as a gap.
        delivery: Delivery = Delivery::Queue => Custom { form: delivery };
        /// The strongest policy that a subscription may choose, in the order above. It is also the default where `delivery`
        /// is not given.
        delivery_max: Policy = Policy::Queue => Custom { form: || Form::of(json!({ "enum": Policy::ALL.map(Policy::name) })) };
        /// History: past messages that are kept in memory, for recovery after a reconnect and for requests, until the first
        /// of these limits is reached. Without the table nothing is kept:
        history: Option<History> = None => Custom { form: history };
        /// Presence: whether subscribers can see who else is subscribed.
        presence: bool = false => Custom { form: presence };
        /// Who may subscribe: `"anyone"`, `"user"` (every user), `"role:NAME"`, `"token"` (whose token lists the topic),
        /// `"nobody"`, or a list of these. A pattern delivers the topics to which the session may subscribe. Where nothing is
        /// given, everyone may do everything in a broker without `[auth]`; with it users may, and sessions without one may
        /// subscribe where they are served.
        ///
        /// In `pattern` a token `{user}` is the session's own user, `{role}` one of its roles, with what cannot be in a token
        /// percent-encoded: `accounts.{user}` lets everyone into the own account only. What a token lists is not bound to that.
        subscribe: Option<Permission> = None => Custom { form: || permission().example("\"user\"") };
        /// Who may publish.
        publish: Option<Permission> = None => Custom { form: || permission().example("[\"role:trader\", \"token\"]") };
        /// Who may call the plugin.
        call: Option<Permission> = None => Custom { form: || permission().example("\"user\"") };
        /// Who may read past messages, also those that a subscription begins with: others begin with the next message.
        /// `history = "user"` is this with the limits' defaults.
        history_for: Option<Permission> = None => Custom { form: || permission().example("\"user\"") };
        /// Who may see who is present. `presence = "user"` is `presence = true` with this.
        presence_for: Option<Permission> = None => Custom { form: || permission().example("\"user\"") };
        /// Whether subscriptions by pattern select these topics. The plugin is not asked about such subscriptions, so the
        /// default is false for topics of a plugin and true for all others.
        patterns: Option<bool> = None => Custom { form: || Form::of(json!({ "type": "boolean" })).example("false") };
        /// How long the idempotency keys of publishes and calls are kept.
        keys_ms: u64 = 120_000, 0 to 86_400_000 ms;
        /// What happens to requests while the plugin is down, because it cannot be started or is quarantined: `"refuse"`
        /// (clients get `plugin_failed`) or `"pass"` (as if no plugin owned the topic).
        on_failure: OnFailure = OnFailure::Refuse => Choice(&ON_FAILURE);
        /// Publishes per second of one client in all topics of this rule, beside what `[rates]` allows: of all sessions of
        /// its user; without a user, of its address; where that does not count, of the session. 0 is no limit, here and
        /// below.
        publishes_per_s: u32 = 0, 0 to 1_000_000 items;
        /// Bytes of payload that one client publishes per second in all topics of this rule.
        bytes_per_s: u32 = 0, 0 to 1_000_000_000 bytes;
        /// Subscriptions per second of one client to topics of this rule, also by patterns that may select them.
        subscribes_per_s: u32 = 0, 0 to 1_000_000 items;
        /// Calls, and requests for history and presence, per second of one client in all topics of this rule.
        calls_per_s: u32 = 0, 0 to 1_000_000 items;
    }
}

settings! {
    /// Limits of a topic's history, whichever is reached first. The history is in memory and ends with the broker.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct History: "history" {
        /// Messages.
        messages: usize = 1_000, 1 to 10_000_000 items;
        /// Bytes of their payloads.
        bytes: usize = 1_048_576, 256 to 1_099_511_627_776 bytes;
        /// Age of a message; at most 30 days.
        age_ms: u64 = 3_600_000, 10 to 2_592_000_000 ms;
    }
}

/// What happens to requests to a topic whose plugin is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// They are refused with `plugin_failed`.
    #[default]
    Refuse,
    /// They take effect as if the topic had no plugin.
    Pass,
}

/// What may happen to requests while the plugin is down.
const ON_FAILURE: [(&str, OnFailure); 2] = [("refuse", OnFailure::Refuse), ("pass", OnFailure::Pass)];

/// A `delivery` that is written as a table.
static DELIVERY: Table = Table::within("delivery", &["policy", "field", "every_ms"]);

/// Most topic rules; looking one up tries them in order.
pub(super) const RULES_MAX: usize = 1_000;

/// A hint with an example of a rule.
const EXAMPLE: &str = "write a line `[[topic]]`, and below it `pattern = \"chat.*\"`";

/// Some text.
fn text() -> Form {
    Form::of(json!({ "type": "string" }))
}

/// The name of a policy, or a table with its parameters.
fn delivery() -> Form {
    let names = Policy::ALL.map(Policy::name);
    let parameters = json!({
        "policy": { "enum": names },
        "field": { "type": "string" },
        "every_ms": { "type": "integer", "minimum": 1, "maximum": 3_600_000 },
    });
    let table = json!({
        "type": "object", "properties": parameters, "required": ["policy"], "additionalProperties": false,
    });
    Form::of(json!({ "anyOf": [{ "enum": names }, table] }))
}

fn history() -> Form {
    let table = Form::table(&History::TABLE);
    Form { schema: json!({ "anyOf": [table.schema, permission().schema] }), ..table }
}

/// Whether there is presence, or for whom.
fn presence() -> Form {
    Form::of(json!({ "anyOf": [{ "type": "boolean" }, permission().schema] }))
}

impl Written for Pattern {
    fn written(&self) -> Option<String> {
        Some(quoted(self.as_str()))
    }
}

impl Written for Delivery {
    fn written(&self) -> Option<String> {
        Some(match self {
            Delivery::LatestBy(field) => {
                format!("{{ policy = \"latest_by\", field = {} }}", quoted(&field.to_string()))
            }
            Delivery::Sample { every_ms } => format!("{{ policy = \"sample\", every_ms = {every_ms} }}"),
            other => format!("\"{}\"", other.policy()),
        })
    }
}

impl Written for Policy {
    fn written(&self) -> Option<String> {
        Some(format!("\"{self}\""))
    }
}

impl Written for History {
    fn written(&self) -> Option<String> {
        let keys = self.written().into_iter().map(|(key, value)| format!("{key} = {value}"));
        Some(format!("{{ {} }}", keys.collect::<Vec<_>>().join(", ")))
    }
}

/// `plugins` are the names of the plugins in the file, valid or not.
pub(super) fn check<'a>(
    report: &mut Report,
    value: &'a Value<'a>,
    plugins: &[&str],
    config: &Config,
) -> Vec<TopicRule> {
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
        let Some((rule, span)) = check_rule(report, table, plugins, config.limits.message_bytes) else {
            continue;
        };
        check_reach(report, &rules, &spans, &rule.pattern, &span);
        rules.push(rule);
        spans.push(span);
    }
    warn_of_open_rules(report, &rules, &spans, config);
    rules
}

/// Warns of topics that everyone may write to from other machines, unless a rule says so in words.
fn warn_of_open_rules(report: &mut Report, rules: &[TopicRule], spans: &[Range<usize>], config: &Config) {
    let is_public = config.server.listen.iter().any(|address| !address.ip().is_loopback());
    if !is_public || !Access::default_of(config.auth.as_ref()).publish.anyone {
        return;
    }
    let mut open = rules.iter().zip(spans).filter(|(rule, _)| rule.publish.is_none()).map(|(_, span)| span.clone());
    let Some(first) = open.next() else { return };
    let title = "everyone who reaches this address may publish to these topics";
    let help = "say who may: `publish = \"user\"` with `[auth]`, `\"nobody\"`, or `\"anyone\"` if that is meant";
    let problem = Problem::at(first, title).help(help);
    report.warn(open.fold(problem, |problem, span| problem.also(span, "and these")));
}

fn check_rule<'a>(
    report: &mut Report,
    value: &'a Value<'a>,
    plugins: &[&str],
    message_bytes: usize,
) -> Option<(TopicRule, Range<usize>)> {
    let section = Section::open(report, "[[topic]]", &TopicRule::TABLE, value)?;
    let mut rule = TopicRule::default();
    rule.read_keys(report, &section);
    if let Some(name) = section.text(report, "plugin", "\"chat\"") {
        check_plugin(report, &name, plugins);
        rule.plugin = Some(name.value.to_owned());
    }
    check_delivery(report, &section, &mut rule);
    check_permissions(report, &section, &mut rule, message_bytes);
    rule.patterns = section.get("patterns").and_then(|value| report.flag("patterns", value, false));
    if section.get("pattern").is_none() && !report.torn {
        let title = "a topic rule needs a `pattern`";
        report.add(Problem::at(section.span(), title).help("add `pattern = \"chat.*\"`, or `\">\"` for all topics"));
    }
    let text = section.text(report, "pattern", "\"chat.*\"")?;
    match Pattern::parse(text.value) {
        Ok(pattern) => {
            if let Some((title, help)) = permissions::fault(&pattern) {
                report.add(Problem::at(text.span, title).help(help));
                return None;
            }
            rule.pattern = pattern;
        }
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

/// Who may do what. A permission may also stand where a rule says that a topic has history or presence.
fn check_permissions(report: &mut Report, section: &Section, rule: &mut TopicRule, message_bytes: usize) {
    for (key, permission) in [
        ("subscribe", &mut rule.subscribe),
        ("publish", &mut rule.publish),
        ("call", &mut rule.call),
        ("history_for", &mut rule.history_for),
        ("presence_for", &mut rule.presence_for),
    ] {
        *permission = section.get(key).and_then(|value| permissions::check(report, key, value));
    }
    let is_permission = |value: &Value| matches!(value.get_ref(), DeValue::String(_) | DeValue::Array(_));
    match section.get("history") {
        Some(value) if is_permission(value) => {
            rule.history = Some(History::default());
            rule.history_for = permissions::check(report, "history", value);
        }
        other => rule.history = other.and_then(|value| check_history(report, value, message_bytes)),
    }
    match section.get("presence") {
        Some(value) if is_permission(value) => {
            rule.presence = true;
            rule.presence_for = permissions::check(report, "presence", value);
        }
        Some(value) => rule.presence = report.flag("presence", value, false).unwrap_or_default(),
        None => {}
    }
    for (key, long) in [("history", "history_for"), ("presence", "presence_for")] {
        if let (Some(short), Some(long_value)) =
            (section.get(key).filter(|value| is_permission(value)), section.get(long))
        {
            let title = format!("`{long}` says again what `{key}` says");
            report.add(Problem::at(long_value.span(), title).also(short.span(), "here").help("keep one of them"));
        }
    }
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

fn check_history<'a>(report: &mut Report, value: &'a Value<'a>, message_bytes: usize) -> Option<History> {
    if !matches!(value.get_ref(), DeValue::Table(_)) {
        let problem = wrong_type("history", value, "a table");
        report.add(problem.help("write `history = { messages = 1_000 }`"));
        return None;
    }
    let section = Section::open(report, "history", &History::TABLE, value)?;
    let mut history = History::default();
    history.read_keys(report, &section);
    if let Some(bytes) = section.get("bytes").filter(|_| history.bytes < message_bytes) {
        let title = format!("one message may be larger than this history: {} bytes", grouped(message_bytes as u64));
        let help = "such a message is kept alone, without those before it; raise `bytes`, or lower `message_bytes` in `[limits]`";
        report.warn(Problem::at(bytes.span(), title).help(help));
    }
    Some(history)
}

fn read_delivery<'a>(report: &mut Report, value: &'a Value<'a>) -> Option<Delivery> {
    let example = "write `delivery = \"latest\"`, or `delivery = { policy = \"latest_by\", field = \"/symbol\" }`";
    let (name, field, every_ms) = match value.get_ref() {
        DeValue::String(_) => (as_text(value)?, None, None),
        DeValue::Table(_) => {
            let section = Section::open(report, "delivery", &DELIVERY, value)?;
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
    let selected: Vec<Pattern> = rules.iter().map(|rule| placeholders(&rule.pattern).0).collect();
    let earlier: Vec<&Pattern> = selected.iter().collect();
    let pattern = &placeholders(pattern).0;
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
