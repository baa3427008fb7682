//! Checks a whole document, section by section, and collects every problem. Of other files it checks only that they exist.

use std::borrow::Cow;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Api, Auth, CallOut, Config, Endpoint, Limits, PluginConfig, Rates, RuleLines, Sandbox, Server, Tls, TopicRule, api,
    auth, endpoints, limits, plugins,
    problem::Problem,
    rates, sandbox,
    section::{Report, Value, echo_name, nearest},
    server,
    setting::Table,
    tls, topics,
};

/// Every table that a file can have, in the order of the reference.
pub(super) const TABLES: &[&Table] = &[
    &Server::TABLE,
    &Tls::TABLE,
    &Api::TABLE,
    &Auth::TABLE,
    &CallOut::TABLE,
    &Sandbox::TABLE,
    &Limits::TABLE,
    &Rates::TABLE,
    &TopicRule::TABLE,
    &Endpoint::TABLE,
    &PluginConfig::TABLE,
];

/// Fills in the defaults for what is missing or wrong: the result is valid only if no problem was added.
pub(super) fn check<'a>(report: &mut Report, document: &'a DeTable<'a>) -> Config {
    let mut config = Config { sandbox: Sandbox::beside(report.folder), ..Config::default() };
    for (key, value) in document.iter() {
        match key.get_ref().as_ref() {
            "server" => config.server = server::check(report, value, document.contains_key("tls")),
            // After `[server]`, whose addresses it needs.
            "tls" => {}
            "api" => config.api = api::check(report, value),
            "auth" => config.auth = auth::check(report, value),
            "sandbox" => config.sandbox = sandbox::check(report, value),
            "limits" => config.limits = limits::check(report, value),
            "rates" => config.rates = rates::check(report, value),
            "plugin" => config.plugins = plugins::check(report, value),
            "endpoint" => {
                config.endpoints = endpoints::check(report, value, &plugins::names(document.get("plugin")));
            }
            "topic" => {
                let names = plugins::names(document.get("plugin"));
                // After `[limits]`, in the order of the alphabet.
                let rules = topics::check(report, value, &names, &config);
                if !rules.is_empty() {
                    config.topics = rules;
                    config.topic_lines = RuleLines::new(report.text, value);
                }
            }
            _ => report.add(unknown(key, value)),
        }
    }
    if config.auth.is_some() && !document.contains_key("topic") {
        // Nobody has said for whom the topics would be.
        config.topics.clear();
    }
    config.tls = document.get("tls").and_then(|value| tls::check(report, value, &config.server));
    config
}

/// A problem of an unknown key or section at the top level.
fn unknown(key: &Spanned<Cow<'_, str>>, value: &Value) -> Problem {
    let name = key.get_ref().as_ref();
    let is_section = match value.get_ref() {
        DeValue::Table(_) => true,
        DeValue::Array(array) => array.first().is_some_and(|first| first.get_ref().is_table()),
        _ => false,
    };
    let home = TABLES.iter().find(|table| table.keys.contains(&name)).filter(|_| !is_section);
    let sections = ["server", "tls", "api", "auth", "sandbox", "limits", "rates", "topic", "endpoint", "plugin"];
    let near = nearest(name, sections.into_iter());
    let written = |section: &str| TABLES.iter().map(|table| table.header).find(|header| header.contains(section));
    let help = match (home, near.and_then(written)) {
        (Some(table), _) => {
            format!("`{name}` belongs in `{}`: put it below that line", table.header)
        }
        (None, Some(near)) => format!("did you mean `{near}`?"),
        (None, None) => {
            "the sections are `[server]`, `[tls]`, `[api]`, `[auth]`, `[sandbox]`, `[limits]`, `[rates]`, `[[topic]]`, `[[endpoint]]` and \
             `[plugin.NAME]`"
                .to_owned()
        }
    };
    let what = if is_section { "section" } else { "key" };
    Problem::at(key.span(), format!("unknown {what} `{}`", echo_name(name))).help(help)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rialto_protocol::ApiOperation;

    use super::*;
    use crate::config::{ApiKey, History};
    use crate::topic::Pattern;

    const COMPLETE: &str = include_str!("../../config/rialto.toml");

    /// The complete file with files that are always there.
    fn complete() -> String {
        with_files(COMPLETE)
    }

    fn uncommented() -> String {
        let is_shown = |line: &str| line.starts_with(|first: char| first.is_ascii_lowercase() || first == '[');
        let uncomment = |line: &'static str| line.strip_prefix('#').filter(|rest| is_shown(rest)).unwrap_or(line);
        with_files(&COMPLETE.lines().map(uncomment).collect::<Vec<_>>().join("\n"))
    }

    fn with_files(text: &str) -> String {
        ["../plugins/dist/chat.wasm", "../plugins/dist/market.wasm", "certificate.pem", "key.pem"]
            .iter()
            .fold(text.to_owned(), |text, file| text.replace(&format!("\"{file}\""), "\"empty.wasm\""))
            // A variable that is always there, and long enough for a secret.
            .replace("RIALTO_JWT_SECRET", "PATH")
    }

    fn parse(text: &str) -> Config {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/complete.toml");
        Config::parse(text, &file).expect("the complete file is fine")
    }

    #[test]
    fn the_reference_shows_the_defaults() {
        let mut config = parse(&uncommented());
        // What is off by default is shown switched on.
        let rule = &mut config.topics[0];
        assert_eq!(rule.history.take(), Some(History::default()));
        assert_eq!(rule.patterns.take(), Some(false));
        let permissions =
            [&mut rule.subscribe, &mut rule.publish, &mut rule.call, &mut rule.history_for, &mut rule.presence_for];
        assert!(permissions.into_iter().all(|permission| permission.take().is_some()));
        let endpoint = Endpoint { path: "/raw".to_owned(), plugin: "chat".to_owned() };
        assert_eq!(std::mem::take(&mut config.endpoints), [endpoint]);
        // Defaults that depend on the machine are shown as an example.
        assert!(config.sandbox.cache.take().is_some() && config.server.control.take().is_some());
        assert_eq!(Config { tls: None, api: None, auth: None, ..config.clone() }, parse(&complete()));
        let tls = config.tls.expect("it is shown");
        let (certificate, key) = (tls.certificate.clone(), tls.key.clone());
        assert_eq!(tls, Tls { certificate, key, ..Tls::default() });
        let Some(Api { keys }) = config.api else { panic!("it is shown") };
        let everything = (ApiOperation::ALL.to_vec(), vec![Pattern::parse(">").expect("a pattern")]);
        let [ApiKey { name, sha256, allow, topics }] = &keys[..] else { panic!("one key is shown") };
        assert_eq!((name.as_str(), sha256[0], (allow.clone(), topics.clone())), ("backend", 0xd1, everything));
        let auth = config.auth.expect("it is shown");
        assert_eq!((auth.key.len(), auth.jwks.is_some(), auth.cookie.as_deref()), (1, true, Some("session")));
        let (key, jwks, cookie) = (auth.key.clone(), auth.jwks.clone(), auth.cookie.clone());
        let (user, callout) = (auth.user.clone(), auth.callout.clone().expect("it is shown"));
        assert_eq!((user.len(), user[0].name.as_str()), (1, "ann"));
        let (url, headers) = (callout.url.clone(), callout.headers.clone());
        assert_eq!(callout, CallOut { url, headers, ..CallOut::default() });
        let callout = Some(callout);
        assert_eq!(auth, Auth { key, jwks, cookie, user, callout, ..Auth::default() });
        assert_eq!(config.server, Server::default());
        let recordings = config.sandbox.recordings.clone();
        assert!(recordings.ends_with("tests/config/recordings"), "{recordings:?}");
        assert_eq!(config.sandbox, Sandbox { recordings, ..Sandbox::default() });
        assert_eq!(config.limits, Limits::default());
        for (index, rule) in config.topics.iter().enumerate() {
            let (pattern, plugin) = (rule.pattern.clone(), rule.plugin.clone());
            let mut expected = TopicRule { pattern, plugin, history: rule.history, ..TopicRule::default() };
            // The first rule shows the defaults; the others are examples.
            if index > 0 {
                expected.delivery = rule.delivery.clone();
            }
            assert_eq!(*rule, expected);
        }
        let chat = &config.plugins["chat"];
        let defaults = PluginConfig { path: chat.path.clone(), config: chat.config.clone(), ..PluginConfig::default() };
        assert_eq!(*chat, defaults);
    }
}
