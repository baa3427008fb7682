//! Checks a configuration that a program has filled itself: it is written as a file would have it, and that file is checked.

use std::path::Path;

use toml::de::DeTable;

use super::{
    Config, check,
    problem::{Problem, Problems},
    section::Report,
    setting::quoted,
};

/// What stands in problems for the name of a file.
const NAME: &str = "the configuration of this program";

impl Config {
    /// Checks values and their consistency by the rules for files. Files that it names need not exist. `natives` are the
    /// names of plugins that need no component.
    ///
    /// # Errors
    /// Everything that is wrong with it, without lines.
    pub(crate) fn check<'n>(&self, natives: impl IntoIterator<Item = &'n str>) -> Result<(), Problems> {
        let text = self.written(&natives.into_iter().collect::<Vec<_>>());
        let (document, errors) = DeTable::parse_recoverable(&text);
        debug_assert!(errors.is_empty(), "{errors:?} in {text}");
        let mut report = Report { reads_files: false, ..Report::new(&text, Path::new("")) };
        check::check(&mut report, document.get_ref());
        if report.problems.is_empty() {
            return Ok(());
        }
        report.problems.sort_by_key(Problem::start);
        let problems = report.problems.into_iter().map(Problem::without_place).collect();
        Err(Problems::new(Path::new(NAME), String::new(), problems))
    }

    /// As a file, but for the plugins' own settings.
    fn written(&self, natives: &[&str]) -> String {
        let mut out = String::new();
        push(&mut out, "[server]", self.server.written());
        push(&mut out, "[sandbox]", self.sandbox.written());
        push(&mut out, "[limits]", self.limits.written());
        push(&mut out, "[rates]", self.rates.written());
        self.tls.iter().for_each(|tls| push(&mut out, "[tls]", tls.written()));
        self.api.iter().for_each(|api| push(&mut out, "[api]", api.written()));
        self.auth.iter().for_each(|auth| push(&mut out, "[auth]", auth.written()));
        self.topics.iter().for_each(|rule| push(&mut out, "[[topic]]", rule.written()));
        self.endpoints.iter().for_each(|endpoint| push(&mut out, "[[endpoint]]", endpoint.written()));
        for (name, plugin) in &self.plugins {
            let mut keys = plugin.written();
            if natives.contains(&name.as_str()) {
                keys.retain(|(key, _)| *key != "path");
                keys.push(native());
            }
            push(&mut out, &format!("[plugin.{}]", quoted(name)), keys);
        }
        for name in natives.iter().filter(|name| !self.plugins.contains_key(**name)) {
            push(&mut out, &format!("[plugin.{}]", quoted(name)), vec![native()]);
        }
        out
    }
}

/// A native plugin has no component.
fn native() -> (&'static str, String) {
    ("path", quoted("native"))
}

fn push(out: &mut String, header: &str, keys: Vec<(&str, String)>) {
    out.push_str(&format!("{header}\n"));
    for (key, value) in keys {
        out.push_str(&format!("{key} = {value}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Api, ApiKey, Endpoint, History, PluginConfig, TopicRule};
    use crate::topic::Pattern;
    use crate::{ApiOperation, Delivery};

    fn titles(change: impl FnOnce(&mut Config), natives: &[&str]) -> Vec<String> {
        let mut config = Config::default();
        change(&mut config);
        let problems = config.check(natives.iter().copied()).err();
        let problems = problems.iter().flat_map(Problems::iter);
        problems.inspect(|problem| assert_eq!(problem.line(), None)).map(|problem| problem.title().to_owned()).collect()
    }

    fn rule(pattern: &str, plugin: Option<&str>) -> TopicRule {
        let pattern = Pattern::parse(pattern).expect("a pattern");
        TopicRule { pattern, plugin: plugin.map(str::to_owned), ..TopicRule::default() }
    }

    #[test]
    fn what_is_fine_in_a_file_is_fine() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for file in ["config/rialto.toml", "config/public.toml", "config/minimal.toml"] {
            let config = Config::load(&root.join(file)).unwrap_or_else(|problems| panic!("{problems}"));
            config.check([]).unwrap_or_else(|problems| panic!("{file}: {problems}"));
        }
        assert_eq!(titles(|_| {}, &[]), [""; 0]);
        let everything = |config: &mut Config| {
            config.topics = vec![rule("a.*", Some("mine")), rule("b.*", Some("own"))];
            config.topics[0].history = Some(History::default());
            config.topics[1].delivery = Delivery::Sample { every_ms: 250 };
            config.plugins.insert("mine".to_owned(), PluginConfig::default());
            config.endpoints =
                vec![Endpoint { path: "/\u{22}x\u{7f}".replace(['"', '\u{7f}'], ""), plugin: "own".to_owned() }];
            let key = ApiKey {
                name: "a".to_owned(),
                sha256: [7; 32],
                allow: vec![ApiOperation::Publish],
                topics: vec![Pattern::parse(">").expect("a pattern")],
            };
            config.api = Some(Api { keys: vec![key] });
            config.server.control = Some("/run/\"rialto\"\n.sock".into());
        };
        assert_eq!(titles(everything, &["mine", "own"]), [""; 0]);
    }

    #[test]
    fn what_is_wrong_in_a_file_is_wrong() {
        let of = |change: fn(&mut Config)| titles(change, &["own"]);
        for (found, expected) in [
            (of(|config| config.limits.ping_ms = 0), "`ping_ms` must be 10 to 3_600_000 milliseconds"),
            (of(|config| config.limits.topics = usize::MAX), "`topics` must be 1 to 10_000_000"),
            (of(|config| config.limits.outbox_bytes = 256), "`outbox_bytes` must not be less than `message_bytes`"),
            (of(|config| config.server.shards = 257), "`shards` must be 0 to 256"),
            (of(|config| config.server.listen.clear()), "`listen` must have 1 to 16 entries, not 0"),
            (
                of(|config| config.server.hosts = vec!["http://\"a\"\n".to_owned()]),
                "`hosts` needs names as they stand in a URL between the scheme and the port",
            ),
            (
                of(|config| config.server.log = "loud\u{1b}".to_owned()),
                "`log` must be one of error, warn, info, debug, trace, not \"loud\\u{1b}\"",
            ),
            (of(|config| config.tls = Some(crate::config::Tls::default())), "`[tls]` needs a `certificate`"),
            (of(|config| config.api = Some(Api { keys: Vec::new() })), "`[api]` needs `keys`"),
            (
                of(|config| config.topics = vec![rule(">", None), rule("a", None)]),
                "no topic can reach this rule for `a`",
            ),
            (of(|config| config.topics = vec![rule("a", Some("none"))]), "unknown plugin `none`"),
            (
                of(|config| config.topics[0].history = Some(History { messages: 0, ..History::default() })),
                "`messages` must be 1 to 10_000_000",
            ),
            (
                of(|config| {
                    config.plugins.insert("own".to_owned(), PluginConfig { hook_ms: 0, ..PluginConfig::default() });
                }),
                "`hook_ms` must be 1 to 60_000 milliseconds",
            ),
            (
                of(|config| {
                    config.plugins.insert("other".to_owned(), PluginConfig::default());
                }),
                "`[plugin.other]` needs a `path`",
            ),
            (
                of(|config| {
                    config
                        .plugins
                        .insert("Own \"x\"".to_owned(), PluginConfig { path: "a".into(), ..PluginConfig::default() });
                }),
                "`Own \"x\"` cannot be the name of a plugin",
            ),
            (
                of(|config| config.endpoints = vec![Endpoint { path: "/ws".to_owned(), plugin: "own".to_owned() }]),
                "\"/ws\" belongs to the broker",
            ),
        ] {
            assert!(found.iter().any(|title| title == expected), "{expected} is not in {found:?}");
        }
    }
}
