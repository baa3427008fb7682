//! The `[plugin.NAME]` tables: their check, which also converts the plugins' own settings to JSON. It does not read components.

use std::{collections::BTreeMap, fmt, io::ErrorKind, path::PathBuf};

use rialto_plugin::host::Capability;
use serde_json::{Map, Number, json};
use toml::de::{DeTable, DeValue};

use super::{
    exposure::is_capability,
    problem::Problem,
    section::{Report, Section, Text, Value, echo, echo_name, grouped},
    server::{strings, texts},
    setting::{Choice, Custom, Flag, Form, Written, settings},
    tls::file,
};

settings! {
    /// Plugins, at most 256: one table for each. The name has 1 to 64 of the characters a-z, 0-9 and "-". A plugin that no
    /// topic rule names can still be called by its name.
    #[derive(Clone, PartialEq)]
    pub struct PluginConfig: "[plugin.NAME]" requires ["path"] {
        /// The component. A relative path starts at the folder of this file.
        path: PathBuf = PathBuf::new() => Custom { form: || file().example("\"chat.wasm\"") };
        /// Whether the broker does not start without it. Otherwise a plugin that cannot be loaded is logged and shown by
        /// `rialto plugin status`, requests to its topics are answered with `plugin_failed`, and everything else works.
        required: bool = false => Flag;
        /// Memory of one instance.
        memory_bytes: u64 = 33_554_432, 65_536 to 4_294_967_296 bytes;
        /// Time for one hook. A hook that takes longer is stopped and has no effect.
        hook_ms: u64 = 50, 1 to 60_000 ms;
        /// Mailbox: events queued for an instance. When it is full, requests fail with `busy`.
        mailbox: usize = 1_024, 1 to 1_048_576 items;
        /// Largest component file.
        component_bytes: u64 = 8_388_608, 1_024 to 268_435_456 bytes;
        /// Quota for its state in the store: keys, values, and 96 bytes for each entry.
        state_bytes: u64 = 67_108_864, 0 to 1_099_511_627_776 bytes;
        /// Bytes that one hook may pass to the broker.
        output_bytes: usize = 1_048_576, 1_024 to 268_435_456 bytes;
        /// Calls to the broker in one hook.
        host_calls: usize = 1_000, 1 to 1_000_000 items;
        /// Effects (messages, replies, timers, changes of state) of one hook.
        effects: usize = 10_000, 1 to 1_000_000 items;
        /// Pending timers.
        timers: usize = 10_000, 0 to 10_000_000 items;
        /// The capabilities that it is granted: `state`, `timers`, `sessions`, `publish PATTERN` (to topics that are not its
        /// own) and `subscribe PATTERN` (its sessions, to topics that are not its own). A plugin may use the capabilities
        /// that it requests and is granted; a plugin that requests more does not load.
        grants: Vec<String> = Capability::OWN.iter().map(ToString::to_string).collect() => Custom { form: grants };
        /// Isolation: with `"plugin"` one instance serves all its topics, in one order; with `"topic"` each topic has an
        /// instance with state of its own.
        isolation: Isolation = Isolation::Plugin => Choice(&ISOLATIONS);
        /// With isolation `"topic"`: instances in memory. Beyond it the one used longest ago begins anew when it is needed
        /// again.
        instances: usize = 1_000, 1 to 1_000_000 items;
        /// With isolation `"topic"`: how long an idle instance is kept.
        instance_idle_ms: u64 = 600_000, 10 to 86_400_000 ms;
        /// Quarantine: after this many failures (traps, exceeded limits, timeouts) within `failures_ms` no hook is called
        /// for `quarantine_ms`. A client that makes a plugin fail on purpose must not get it quarantined easily.
        failures: usize = 500, 1 to 1_000_000 items;
        /// The time in which `failures` bring quarantine.
        failures_ms: u64 = 10_000, 10 to 86_400_000 ms;
        /// How long quarantine lasts; 0 means until the plugin is loaded again.
        quarantine_ms: u64 = 10_000, 0 to 86_400_000 ms;
        /// Recording: the last events that each instance keeps. When a hook traps or exceeds a limit, they are written to
        /// the folder `recordings` of `[sandbox]`; `rialto plugin replay FILE` replays them. They contain what clients sent.
        record: usize = 0, 0 to 100_000 items;
        /// Whether the plugin is loaded again when its file changes.
        watch: bool = false => Flag;
        /// The plugin's own settings, in any form, usually as a table `[plugin.NAME.config]`: it receives them as JSON when
        /// it starts. They never appear in logs.
        config: serde_json::Value = serde_json::Value::Object(Map::new()) => Custom { form: || Form::of(json!({ "type": "object" })) };
    }
}

/// Isolation: what has its own instance of a plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// The plugin: one instance, one order for all its topics.
    #[default]
    Plugin,
    /// Each topic, with state of its own.
    Topic,
}

/// What may have an instance of its own.
const ISOLATIONS: [(&str, Isolation); 2] = [("plugin", Isolation::Plugin), ("topic", Isolation::Topic)];

/// Most capabilities of a plugin.
const GRANTS_MAX: usize = 1_000;

/// Most plugins.
pub(super) const PLUGINS_MAX: usize = 256;

/// Most bytes of a plugin's name.
pub(super) const NAME_BYTES_MAX: usize = 64;

/// Most characters of a path that a problem repeats.
const PATH_CHARS_MAX: usize = 120;

/// Capabilities.
fn grants() -> Form {
    strings()
}

impl Written for serde_json::Value {
    fn written(&self) -> Option<String> {
        None
    }
}

impl fmt::Debug for PluginConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginConfig")
            .field("path", &self.path)
            .field("memory_bytes", &self.memory_bytes)
            .field("hook_ms", &self.hook_ms)
            .field("mailbox", &self.mailbox)
            .field("component_bytes", &self.component_bytes)
            .field("state_bytes", &self.state_bytes)
            .field("output_bytes", &self.output_bytes)
            .field("host_calls", &self.host_calls)
            .field("effects", &self.effects)
            .finish_non_exhaustive()
    }
}

/// The names of the plugins in the file, valid or not.
pub(super) fn names<'a>(value: Option<&'a Value<'a>>) -> Vec<&'a str> {
    match value.map(|value| value.get_ref()) {
        Some(DeValue::Table(plugins)) => plugins.keys().map(|name| name.get_ref().as_ref()).collect(),
        _ => Vec::new(),
    }
}

pub(super) fn check<'a>(report: &mut Report, value: &'a Value<'a>) -> BTreeMap<String, PluginConfig> {
    let mut found = BTreeMap::new();
    let DeValue::Table(plugins) = value.get_ref() else {
        let title = "each plugin has its own table: `[plugin.NAME]`";
        report.add(Problem::at(value.span(), title).help("write `[plugin.chat]`, and below it `path = \"chat.wasm\"`"));
        return found;
    };
    if plugins.len() > PLUGINS_MAX {
        let title = format!("{} plugins, at most {PLUGINS_MAX}", plugins.len());
        report.add(Problem::at(value.span(), title));
        return found;
    }
    for (key, value) in plugins.iter() {
        let name = key.get_ref().as_ref();
        if PluginConfig::TABLE.keys.contains(&name) && !matches!(value.get_ref(), DeValue::Table(_)) {
            let title = format!("`{name}` of a plugin without a name");
            report.add(Problem::at(key.span(), title).help("write `[plugin.NAME]` above it, like `[plugin.chat]`"));
            continue;
        }
        if !is_name(name) {
            let title = format!("`{}` cannot be the name of a plugin", echo_name(name));
            report.add(Problem::at(key.span(), title).help("use 1 to 64 of the characters a-z, 0-9 and -"));
        }
        if let Some(plugin) = check_plugin(report, name, value) {
            found.insert(name.to_owned(), plugin);
        }
    }
    found
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits)
}

fn check_plugin<'a>(report: &mut Report, name: &str, value: &'a Value<'a>) -> Option<PluginConfig> {
    let header = format!("[plugin.{}]", echo_name(name));
    let section = Section::open(report, &header, &PluginConfig::TABLE, value)?;
    let mut plugin = PluginConfig::default();
    plugin.read_keys(report, &section);
    check_grants(report, &section, &mut plugin.grants);
    if section.get("path").is_none() && !report.torn {
        let title = format!("`{header}` needs a `path`");
        report.add(
            Problem::at(section.span(), title).help("add `path = \"chat.wasm\"`, seen from the folder of this file"),
        );
    }
    if let Some(path) = section.text(report, "path", "\"chat.wasm\"") {
        plugin.path = check_path(report, &path, plugin.component_bytes);
    }
    match section.get("config").map(|value| (value, value.get_ref())) {
        None => {}
        Some((_, DeValue::Table(table))) => plugin.config = serde_json::Value::Object(to_object(report, table)),
        Some((value, _)) => {
            let title = format!("the settings of a plugin are a table: `[plugin.{}.config]`", echo_name(name));
            report.add(Problem::at(value.span(), title));
        }
    }
    Some(plugin)
}

fn check_grants(report: &mut Report, section: &Section, grants: &mut Vec<String>) {
    let Some(value) = section.get("grants") else { return };
    grants.clear();
    for text in texts(report, "grants", value, "write `grants = [\"state\", \"timers\"]`", 0..=GRANTS_MAX) {
        match Capability::parse(text.value) {
            Ok(_) => grants.push(text.value.to_owned()),
            Err(_) => {
                // What is not at least similar to one may be anything.
                let title = match is_capability(text.value) {
                    true => format!("`{}` is no capability", echo(text.value)),
                    false => "this is no capability".to_owned(),
                };
                let help = "there are state, timers, sessions, publish PATTERN and subscribe PATTERN";
                report.add(Problem::at(text.span, title).help(help));
            }
        }
    }
}

/// The component must exist and not be too large. Its content is checked when it is loaded.
fn check_path(report: &mut Report, text: &Text, component_bytes: u64) -> PathBuf {
    let path = report.folder.join(text.value);
    if !report.reads_files {
        return path;
    }
    let full = path.display().to_string();
    let cut = full.char_indices().rev().nth(PATH_CHARS_MAX).map(|(at, _)| at);
    let shown = cut.map_or(full.clone(), |at| format!("…{}", &full[at..]));
    let (title, help) = match std::fs::metadata(&path) {
        Ok(file) if file.is_file() && file.len() <= component_bytes => return path,
        Ok(file) if file.is_file() => (
            format!("{shown} has {} bytes, more than `component_bytes` allows", grouped(file.len())),
            format!("raise `component_bytes` (now {}), or build without debug information", grouped(component_bytes)),
        ),
        _ if text.value.is_empty() => ("`path` is empty".to_owned(), "name the plugin's .wasm file".to_owned()),
        Ok(_) => (format!("{shown} is not a file"), "name the plugin's .wasm file".to_owned()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => (
            format!("no plugin at {shown}"),
            "a relative path starts at the folder of the configuration file".to_owned(),
        ),
        Err(error) => (format!("cannot read {shown}"), error.to_string()),
    };
    report.add(Problem::at(text.span.clone(), title).help(help));
    path
}

/// A value as JSON, if JSON can hold it.
pub(super) fn as_json(value: &Value) -> Option<serde_json::Value> {
    let mut report = Report::new("", std::path::Path::new(""));
    let json = to_json(&mut report, value);
    report.problems.is_empty().then_some(json)
}

fn to_object(report: &mut Report, table: &DeTable) -> Map<String, serde_json::Value> {
    table.iter().map(|(key, value)| (key.get_ref().to_string(), to_json(report, value))).collect()
}

/// Dates and times become text. What JSON cannot hold is reported and becomes null. The parser bounds the depth.
fn to_json(report: &mut Report, value: &Value) -> serde_json::Value {
    let number = match value.get_ref() {
        DeValue::String(text) => return text.as_ref().into(),
        DeValue::Boolean(flag) => return (*flag).into(),
        DeValue::Datetime(datetime) => return datetime.to_string().into(),
        DeValue::Array(array) => return array.iter().map(|value| to_json(report, value)).collect(),
        DeValue::Table(table) => return to_object(report, table).into(),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(Number::from),
        DeValue::Float(float) => float.as_str().parse().ok().and_then(Number::from_f64),
    };
    if number.is_none() {
        let (title, help) = match value.get_ref() {
            DeValue::Integer(_) => ("this number does not fit into 64 bits", "write it as a string"),
            _ => ("plugins get their settings as JSON, which has no nan and no inf", "leave it out, or write a string"),
        };
        report.add(Problem::at(value.span(), title).help(help));
    }
    number.map_or(serde_json::Value::Null, serde_json::Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn settings_become_json() {
        let text = "a = 1\nb = [-2.5, true]\nc.d = 1979-05-27T07:32:00Z\ne = \"x\"\nf = 0xff\n";
        let table = DeTable::parse(text).expect("valid").into_inner();
        let mut report = Report::new(text, Path::new(""));
        let got = to_object(&mut report, &table);
        let expected = r#"{"a":1,"b":[-2.5,true],"c":{"d":"1979-05-27T07:32:00Z"},"e":"x","f":255}"#;
        assert_eq!(serde_json::Value::Object(got).to_string(), expected);
        assert!(report.problems.is_empty());
    }

    #[test]
    fn json_has_no_nan() {
        for text in ["a = nan", "a = -inf", "a = [1e999]", "a = 9223372036854775808"] {
            let table = DeTable::parse(text).expect("valid").into_inner();
            let mut report = Report::new(text, Path::new(""));
            to_object(&mut report, &table);
            assert_eq!(report.problems.len(), 1, "{text}");
        }
    }

    #[test]
    fn names_have_only_allowed_characters() {
        let long = "x".repeat(65);
        let cases = [("chat", true), ("a-1", true), ("", false), ("Chat", false), ("a_b", false), (&long, false)];
        for (name, expected) in cases {
            assert_eq!(is_name(name), expected, "{name}");
        }
    }
}
