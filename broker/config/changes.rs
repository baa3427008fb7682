//! What differs between the configuration in force and a new one, key by key. No value is repeated: it may be secret.

use super::{Api, Config, Endpoint};

/// The keys and tables that differ, as they are named in logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// What a reload applies.
    pub(crate) applied: Vec<String>,
    /// What takes effect only when the broker is started again.
    pub(crate) restart: Vec<String>,
}

impl Changes {
    /// What a reload of `new` changes.
    pub(crate) fn between(running: &Config, new: &Config) -> Self {
        let mut changes = Self::default();
        changes.table("server", running.server.changed(&new.server));
        match (&running.tls, &new.tls) {
            (Some(running), Some(new)) => changes.table("tls", running.changed(new)),
            (None, None) => {}
            (None, Some(_)) => changes.restart.push("tls: added".to_owned()),
            (Some(_), None) => changes.restart.push("tls: removed".to_owned()),
        }
        changes.entries("API key", &keys(running.api.as_ref()), &keys(new.api.as_ref()));
        match (&running.auth, &new.auth) {
            (Some(running), Some(new)) => changes.table("auth", running.changed(new)),
            (None, None) => {}
            (None, Some(_)) => changes.applied.push("auth: added".to_owned()),
            (Some(_), None) => changes.applied.push("auth: removed".to_owned()),
        }
        changes.table("sandbox", running.sandbox.changed(&new.sandbox));
        changes.table("limits", running.limits.changed(&new.limits));
        changes.table("rates", running.rates.changed(&new.rates));
        changes.topics(running, new);
        changes.entries("endpoint", &endpoints(running), &endpoints(new));
        let plugins = |config: &Config| config.plugins.clone().into_iter().collect::<Vec<_>>();
        changes.entries("plugin", &plugins(running), &plugins(new));
        changes
    }

    /// Moves what cannot be applied here to what needs a restart.
    pub(crate) fn defer(&mut self, is_fixed: impl Fn(&str) -> bool) {
        let (deferred, applied) = std::mem::take(&mut self.applied).into_iter().partition(|change| is_fixed(change));
        self.applied = applied;
        self.restart.extend::<Vec<String>>(deferred);
    }

    fn table(&mut self, table: &str, changed: Vec<(&'static str, bool)>) {
        for (key, needs_restart) in changed {
            let list = if needs_restart { &mut self.restart } else { &mut self.applied };
            list.push(format!("{table}.{key}"));
        }
    }

    fn topics(&mut self, running: &Config, new: &Config) {
        let rules = |config: &Config| -> Vec<_> {
            config.topics.iter().map(|rule| (rule.pattern.as_str().to_owned(), rule.clone())).collect()
        };
        let (running, new) = (rules(running), rules(new));
        let before = self.applied.len();
        self.entries("topic rule", &running, &new);
        if self.applied.len() == before && running != new {
            self.applied.push("order of the topic rules".to_owned());
        }
    }

    /// Entries of a list, each known by its name.
    fn entries<T: PartialEq>(&mut self, what: &str, running: &[(String, T)], new: &[(String, T)]) {
        for (name, entry) in new {
            match running.iter().find(|(known, _)| known == name) {
                None => self.applied.push(format!("{what} {name}: added")),
                Some((_, known)) if known != entry => self.applied.push(format!("{what} {name}: changed")),
                Some(_) => {}
            }
        }
        for (name, _) in running.iter().filter(|(name, _)| new.iter().all(|(known, _)| known != name)) {
            self.applied.push(format!("{what} {name}: removed"));
        }
    }
}

impl Config {
    /// Takes over, from what runs, everything of which a change needs a restart.
    pub(crate) fn keep_fixed(&mut self, running: &Config) {
        self.server.keep_fixed(&running.server);
        self.tls.clone_from(&running.tls);
        self.sandbox.keep_fixed(&running.sandbox);
        self.limits.keep_fixed(&running.limits);
    }
}

fn keys(api: Option<&Api>) -> Vec<(String, super::ApiKey)> {
    api.into_iter().flat_map(|api| &api.keys).map(|key| (key.name.clone(), key.clone())).collect()
}

fn endpoints(config: &Config) -> Vec<(String, Endpoint)> {
    config.endpoints.iter().map(|endpoint| (endpoint.path.clone(), endpoint.clone())).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const HASH: &str = "d1bf10a7f3b6aeffd970fd7a9ea67298e5fd2a56c99f405797a2f494b3feb59a";

    fn parse(text: &str) -> Config {
        Config::parse(text, Path::new("rialto.toml")).expect("valid")
    }

    fn between(running: &str, new: &str) -> (Vec<String>, Vec<String>) {
        let Changes { applied, restart } = Changes::between(&parse(running), &parse(new));
        (applied, restart)
    }

    #[test]
    fn each_change_is_named_and_needs_a_restart_or_not() {
        let key = |name: &str, hash: &str| format!("[api]\nkeys = [{{ name = \"{name}\", sha256 = \"{hash}\" }}]\n");
        let (old, other) = (key("backend", HASH), key("backend", &HASH.replace('d', "e")));
        for (running, new, applied, restart) in [
            ("", "", &[][..], &[][..]),
            (
                "[server]\nlog = \"info\"\n",
                "[server]\nlog = \"debug\"\nhosts = \"x\"\n",
                &["server.hosts", "server.log"],
                &[],
            ),
            ("", "[server]\nshards = 3\nlisten = \"127.0.0.1:1\"\n", &[], &["server.listen", "server.shards"]),
            ("", "[limits]\nsessions = 7\nunsent_bytes = 8_192\n", &["limits.sessions"], &["limits.unsent_bytes"]),
            (&old, &other, &["API key backend: changed"], &[]),
            (&old, "", &["API key backend: removed"], &[]),
            ("", &key("other", HASH), &["API key other: added"], &[]),
            ("", "[sandbox]\ncompile_ms = 5_000\n", &[], &["sandbox.compile_ms"]),
            (
                "[[topic]]\npattern = \"a.*\"\n[[topic]]\npattern = \"b.*\"\n",
                "[[topic]]\npattern = \"b.*\"\npresence = true\n[[topic]]\npattern = \"c.*\"\n",
                &["topic rule b.*: changed", "topic rule c.*: added", "topic rule a.*: removed"],
                &[],
            ),
            (
                "[[topic]]\npattern = \"a.*\"\n[[topic]]\npattern = \"*.b\"\n",
                "[[topic]]\npattern = \"*.b\"\n[[topic]]\npattern = \"a.*\"\n",
                &["order of the topic rules"],
                &[],
            ),
        ] {
            let (got_applied, got_restart) = between(running, new);
            assert_eq!((got_applied, got_restart), (owned(applied), owned(restart)), "{running} -> {new}");
        }
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn what_needs_a_restart_stays_and_is_named_again() {
        let running = parse("[server]\nshards = 2\nlog = \"warn\"\n");
        let wanted = parse("[server]\nshards = 3\nlog = \"debug\"\n");
        let mut new = wanted.clone();
        new.keep_fixed(&running);
        assert_eq!((new.server.shards, new.server.log.as_str()), (2, "debug"));
        assert_eq!(Changes::between(&new, &wanted).restart, ["server.shards"]);
        assert_eq!(Changes::between(&new, &wanted).applied, Vec::<String>::new());
    }
}
