//! Checks the `[plugin.NAME]` tables and converts the plugins' own settings to JSON. It does not read components.

use std::{collections::BTreeMap, io::ErrorKind, path::PathBuf};

use rialto_plugin::host::Capability;
use serde_json::{Map, Number};
use toml::de::{DeTable, DeValue};

use super::{
    Isolation, PluginConfig,
    problem::Problem,
    section::{Report, Section, Text, Unit, Value, echo, grouped},
    server::texts,
};

/// The keys of a `[plugin.NAME]`.
pub(super) const KEYS: &[&str] = &[
    "path",
    "memory_bytes",
    "hook_ms",
    "mailbox",
    "component_bytes",
    "state_bytes",
    "output_bytes",
    "host_calls",
    "effects",
    "timers",
    "grants",
    "isolation",
    "instances",
    "instance_idle_ms",
    "failures",
    "failures_ms",
    "quarantine_ms",
    "record",
    "watch",
    "config",
];

/// What may have an instance of its own.
const ISOLATIONS: [(&str, Isolation); 2] = [("plugin", Isolation::Plugin), ("topic", Isolation::Topic)];

/// Most capabilities of a plugin.
const GRANTS_MAX: usize = 1_000;

/// Most plugins.
const PLUGINS_MAX: usize = 256;

/// Most bytes of a plugin's name.
const NAME_BYTES_MAX: usize = 64;

/// Most characters of a path that a problem repeats.
const PATH_CHARS_MAX: usize = 120;

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
        if KEYS.contains(&name) && !matches!(value.get_ref(), DeValue::Table(_)) {
            let title = format!("`{name}` of a plugin without a name");
            report.add(Problem::at(key.span(), title).help("write `[plugin.NAME]` above it, like `[plugin.chat]`"));
            continue;
        }
        if !is_name(name) {
            let title = format!("`{}` cannot be the name of a plugin", echo(name));
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
    use Unit::{Bytes, Items, Milliseconds};
    let header = format!("[plugin.{}]", echo(name));
    let section = Section::open(report, &header, KEYS, value)?;
    let mut plugin = PluginConfig::default();
    let to = &mut plugin;
    section.number(report, "memory_bytes", Bytes, 65_536..=4_294_967_296, &mut to.memory_bytes);
    section.number(report, "hook_ms", Milliseconds, 1..=60_000, &mut to.hook_ms);
    section.number(report, "mailbox", Items, 1..=1_048_576, &mut to.mailbox);
    section.number(report, "component_bytes", Bytes, 1_024..=268_435_456, &mut to.component_bytes);
    section.number(report, "state_bytes", Bytes, 0..=1_099_511_627_776, &mut to.state_bytes);
    section.number(report, "output_bytes", Bytes, 1_024..=268_435_456, &mut to.output_bytes);
    section.number(report, "host_calls", Items, 1..=1_000_000, &mut to.host_calls);
    section.number(report, "effects", Items, 1..=1_000_000, &mut to.effects);
    section.number(report, "timers", Items, 0..=10_000_000, &mut to.timers);
    section.number(report, "instances", Items, 1..=1_000_000, &mut to.instances);
    section.number(report, "instance_idle_ms", Milliseconds, 10..=86_400_000, &mut to.instance_idle_ms);
    section.number(report, "failures", Items, 1..=1_000_000, &mut to.failures);
    section.number(report, "failures_ms", Milliseconds, 10..=86_400_000, &mut to.failures_ms);
    section.number(report, "quarantine_ms", Milliseconds, 0..=86_400_000, &mut to.quarantine_ms);
    section.number(report, "record", Items, 0..=100_000, &mut to.record);
    section.flag(report, "watch", &mut to.watch);
    check_grants(report, &section, &mut to.grants);
    section.choice(report, "isolation", &ISOLATIONS, &mut to.isolation);
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
            let title = format!("the settings of a plugin are a table: `[plugin.{}.config]`", echo(name));
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
                let title = format!("`{}` is no capability", echo(text.value));
                let help = "there are state, timers, sessions, publish PATTERN and subscribe PATTERN";
                report.add(Problem::at(text.span, title).help(help));
            }
        }
    }
}

/// The component must exist and not be too large. Its content is checked when it is loaded.
fn check_path(report: &mut Report, text: &Text, component_bytes: u64) -> PathBuf {
    let path = report.folder.join(text.value);
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
        let mut report = Report { text, folder: Path::new(""), torn: false, problems: Vec::new() };
        let got = to_object(&mut report, &table);
        let expected = r#"{"a":1,"b":[-2.5,true],"c":{"d":"1979-05-27T07:32:00Z"},"e":"x","f":255}"#;
        assert_eq!(serde_json::Value::Object(got).to_string(), expected);
        assert!(report.problems.is_empty());
    }

    #[test]
    fn json_has_no_nan() {
        for text in ["a = nan", "a = -inf", "a = [1e999]", "a = 9223372036854775808"] {
            let table = DeTable::parse(text).expect("valid").into_inner();
            let mut report = Report { text, folder: Path::new(""), torn: false, problems: Vec::new() };
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
