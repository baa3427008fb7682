//! The configuration described for people and editors, from the declarations of its settings: the reference, the files
//! under `config/`, the JSON Schema and the chapter of the book.

use serde_json::{Value as Json, json};

use super::{
    Api, Auth, Endpoint, Limits, PluginConfig, Rates, Sandbox, Server, Tls, TopicRule,
    endpoints::ENDPOINTS_MAX,
    plugins::{NAME_BYTES_MAX, PLUGINS_MAX},
    setting::{NO_BREAK, Setting, Table, paragraphs},
    topics::RULES_MAX,
};

/// Columns of the reference.
const COLUMNS: usize = 120;

/// The chat and the market of the repository, as an example of plugins.
const CHAT_CONFIG: &str = include_str!("examples/chat_config.toml");
const TOPICS: &str = include_str!("examples/topics.toml");
const MARKET: &str = include_str!("examples/market.toml");

const HEAD: &str = "\
The configuration of Rialto: every key there is, with its meaning, unit, range and default.
A line that starts with \"#\" and a key, without a space between them, shows a default: remove the \"#\" to change it. One \
with \"#\" and a section shows one that is switched off: remove the \"#\" of the section too.
Check a file with `rialto check FILE`: it shows every mistake with line and hint, and starts nothing.
The unit is a part of a key's name: _ms are milliseconds, _bytes are bytes. Other numbers count something.";

/// How the header of a table and its keys are shown.
enum Show<'a> {
    /// The table as it would be without a file, and the keys that have a value all the same.
    On(&'a [(&'a str, &'a str)]),
    /// A table that is switched off.
    Off,
}

/// Every key with its meaning, range and default, as a file that serves plain topics at the default address:
/// `rialto config`.
pub fn reference() -> String {
    let mut out = opening();
    push_table(&mut out, &TopicRule::TABLE, "[[topic]]", &Show::On(&[("pattern", "\">\"")]));
    push_table(&mut out, &Endpoint::TABLE, "[[endpoint]]", &Show::Off);
    push_table(&mut out, &PluginConfig::TABLE, "[plugin.chat]", &Show::Off);
    out
}

/// The reference with the chat and the market of the repository: the file `config/rialto.toml`.
pub fn demo() -> String {
    let mut out = format!("#:schema rialto.schema.json\n{}", opening());
    let rule = [("pattern", "\"chat.*\""), ("plugin", "\"chat\"")];
    push_table(&mut out, &TopicRule::TABLE, "[[topic]]", &Show::On(&rule));
    out.push_str(&format!("\n{TOPICS}"));
    push_table(&mut out, &Endpoint::TABLE, "[[endpoint]]", &Show::Off);
    let component = [("path", "\"../plugins/dist/chat.wasm\""), ("config", "")];
    push_table(&mut out, &PluginConfig::TABLE, "[plugin.chat]", &Show::On(&component));
    out.push_str(CHAT_CONFIG);
    out.push_str(&format!("\n\n{MARKET}"));
    out
}

/// The JSON Schema of a file, for editors: `rialto config --schema`.
pub fn schema() -> String {
    let about = |table: &Table| {
        let mut schema = table.schema();
        schema["description"] = paragraphs(table.about).into();
        schema
    };
    let list = |table: &Table, max: usize| json!({ "type": "array", "items": about(table), "maxItems": max });
    let name = format!("^[a-z0-9-]{{1,{NAME_BYTES_MAX}}}$");
    let plugins = json!({
        "type": "object", "patternProperties": { name: about(&PluginConfig::TABLE) }, "additionalProperties": false,
        "maxProperties": PLUGINS_MAX,
    });
    let schema: Json = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "The configuration of Rialto",
        "type": "object",
        "properties": {
            "server": about(&Server::TABLE),
            "tls": about(&Tls::TABLE),
            "api": about(&Api::TABLE),
            "auth": about(&Auth::TABLE),
            "sandbox": about(&Sandbox::TABLE),
            "limits": about(&Limits::TABLE),
            "rates": about(&Rates::TABLE),
            "topic": list(&TopicRule::TABLE, RULES_MAX),
            "endpoint": list(&Endpoint::TABLE, ENDPOINTS_MAX),
            "plugin": plugins,
        },
        "additionalProperties": false,
    });
    format!("{schema:#}\n")
}

/// The reference as a chapter of the book: `rialto config --markdown`.
pub fn markdown() -> String {
    let mut out = "# Configuration reference\n\nGenerated from the declarations of the settings; `rialto config` prints the \
                   same as a file.\nThe unit is a part of a key's name: `_ms` are milliseconds, `_bytes` are bytes. Other \
                   numbers count something.\n"
        .to_owned();
    for table in super::check::TABLES {
        out.push_str(&format!("\n## `{}`\n\n{}\n", table.header, markdown_text(&paragraphs(table.about))));
        for setting in (table.settings)() {
            out.push_str(&format!("\n### `{}`\n\n", setting.name));
            match &setting.default {
                Some(default) => out.push_str(&format!("Default: `{default}`\n\n")),
                None if table.required.contains(&setting.name) => out.push_str("Required.\n\n"),
                None => {}
            }
            out.push_str(&format!("{}\n", markdown_text(&setting.text())));
            if setting.default.is_none() && !setting.shown().is_empty() {
                out.push_str(&format!("\nExample: `{} = {}`\n", setting.name, setting.shown()));
            }
        }
    }
    out
}

/// What a section shows when nothing is said about it: `[tls]`, `[api]` and `[auth]` are off.
fn shown_alone(table: &Table) -> Show<'static> {
    match table.header {
        "[server]" => Show::On(&[("listen", "\"127.0.0.1:8080\"")]),
        "[auth]" => Show::Off,
        _ if table.required.is_empty() => Show::On(&[]),
        _ => Show::Off,
    }
}

/// How to read the file, and the tables before the topic rules.
fn opening() -> String {
    let mut lines = HEAD.lines();
    let mut out = comment(lines.next().unwrap_or_default());
    out.push_str("#\n");
    out.extend(lines.map(comment));
    for table in super::check::TABLES.iter().take_while(|table| table.header != TopicRule::TABLE.header) {
        push_table(&mut out, table, table.header, &shown_alone(table));
    }
    out
}

/// A table with all its keys. A key whose value is empty in `Show::On` is left out.
fn push_table(out: &mut String, table: &Table, header: &str, show: &Show) {
    let (mark, values) = match show {
        Show::On(values) => ("", *values),
        Show::Off => ("#", &[][..]),
    };
    out.push_str(&format!("\n\n{}{mark}{header}\n", comment(&paragraphs(table.about))));
    for setting in (table.settings)() {
        let value = values.iter().find(|(key, _)| *key == setting.name).map(|(_, value)| *value);
        match value {
            Some("") => {}
            Some(value) => push_setting(out, &setting, &format!("{} = {value}", setting.name)),
            None if setting.shown().is_empty() => {}
            None => push_setting(out, &setting, &format!("#{} = {}", setting.name, setting.shown())),
        }
    }
}

fn push_setting(out: &mut String, setting: &Setting, line: &str) {
    out.push_str(&format!("\n{}{line}\n", comment(&setting.text())));
}

/// The text as comments; items of a list keep their lines.
fn comment(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let indent = if line.starts_with("- ") { "  " } else { "" };
        for row in wrap(line, COLUMNS - 2, indent) {
            out.push_str(&format!("# {row}\n"));
        }
    }
    out
}

/// Breaks a line between words; rows after the first are indented.
fn wrap(line: &str, columns: usize, indent: &str) -> Vec<String> {
    let options = textwrap::Options::new(columns)
        .subsequent_indent(indent)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(line, options).iter().map(|row| row.replace(NO_BREAK, " ")).collect()
}

/// Paragraphs and lists in lines of at most 120 columns, with the empty lines that Markdown needs between them.
fn markdown_text(text: &str) -> String {
    let mut out = String::new();
    let mut was_item = false;
    for line in text.lines() {
        let is_item = line.starts_with("- ");
        if !out.is_empty() {
            out.push_str(if is_item && was_item { "\n" } else { "\n\n" });
        }
        was_item = is_item;
        out.push_str(&wrap(line, COLUMNS, if is_item { "  " } else { "" }).join("\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    /// Compares with a file of the repository.
    fn is_file(text: &str, path: &str, command: &str) {
        let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let file = std::fs::read_to_string(full).expect("the file is there");
        assert!(text == file, "{path} is not what the settings say: run `cargo run -- {command} > {path}`");
    }

    #[test]
    fn the_files_are_what_the_settings_say() {
        is_file(&demo(), "config/rialto.toml", "config --demo");
        is_file(&schema(), "config/rialto.schema.json", "config --schema");
        is_file(&markdown(), "broker/book/src/configuration.md", "config --markdown");
    }

    #[test]
    fn the_reference_is_a_file_that_serves() {
        let config = Config::parse(&reference(), Path::new("rialto.toml")).expect("nothing is wrong");
        assert_eq!(config, Config::default());
    }

    #[test]
    fn every_key_is_in_the_reference_the_schema_and_the_book() {
        let (reference, schema, markdown) = (reference(), schema(), markdown());
        for table in crate::config::check::TABLES {
            for key in table.keys {
                let is_shown = ["\n", "\n#"].iter().any(|mark| reference.contains(&format!("{mark}{key} = ")));
                assert!(is_shown || matches!(*key, "config" | "callout"), "{key}");
                assert!(schema.contains(&format!("\"{key}\": {{")), "{key}");
                assert!(markdown.contains(&format!("\n### `{key}`\n")), "{key}");
            }
        }
    }

    #[test]
    fn every_key_is_checked() {
        for table in crate::config::check::TABLES {
            for key in table.keys {
                // No key takes a date.
                let text = format!("{}\n{key} = 1979-05-27\n", table.header.replace("NAME", "chat"));
                let Err(problems) = Config::parse(&text, Path::new("")) else { panic!("{key} is not checked") };
                assert!(problems.iter().any(|problem| problem.line() == Some(2)), "{key}: {problems}");
            }
        }
    }

    #[test]
    fn the_texts_name_the_most_that_there_may_be() {
        let about = |table: &Table| paragraphs(table.about);
        for (text, max) in [
            (about(&TopicRule::TABLE), RULES_MAX),
            (about(&Endpoint::TABLE), ENDPOINTS_MAX),
            (about(&PluginConfig::TABLE), PLUGINS_MAX),
        ] {
            let max = crate::config::section::grouped(max as u64);
            assert!(text.to_lowercase().contains(&format!("at most {max}")), "at most {max}: {text}");
        }
    }

    #[test]
    fn lines_are_at_most_120_columns() {
        for line in [reference(), demo(), markdown()].iter().flat_map(|text| text.lines()) {
            assert!(line.chars().count() <= COLUMNS, "{line}");
        }
    }

    #[test]
    fn lists_keep_their_lines() {
        let text = paragraphs(&[" One", " two:", " - three", "   four", " - five", "", " Six."]);
        assert_eq!(text, "One two:\n- three four\n- five\nSix.");
        assert_eq!(comment(&text), "# One two:\n# - three four\n# - five\n# Six.\n");
        assert_eq!(markdown_text(&text), "One two:\n\n- three four\n- five\n\nSix.");
    }
}
