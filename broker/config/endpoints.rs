//! The `[[endpoint]]` tables and their check: valid and different paths, each with a plugin of the file.

use serde_json::json;
use toml::de::DeValue;

use super::{
    problem::Problem,
    section::{Report, Section, Value, echo},
    setting::{Custom, Form, settings},
    topics::check_plugin,
};

settings! {
    /// A raw endpoint: the messages of WebSockets at `path` go to the plugin, in a format of its own instead of Rialto's
    /// protocol. Other requests to that path are served as usual. At most 1_000.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Endpoint: "[[endpoint]]" requires ["path", "plugin"] {
        /// The path, like `"/"` or `"/feed"`, each only once.
        path: String = String::new() => Custom { form: || Form::of(json!({ "type": "string", "pattern": "^/" })).example("\"/raw\"") };
        /// The NAME of its `[plugin.NAME]`.
        plugin: String = String::new() => Custom { form: || Form::of(json!({ "type": "string" })).example("\"chat\"") };
    }
}

/// Most raw endpoints.
pub(super) const ENDPOINTS_MAX: usize = 1_000;

/// Most bytes of a path.
const PATH_BYTES_MAX: usize = 255;

/// Paths of the broker itself.
const TAKEN: [&str; 3] = ["/ws", "/sse", "/poll"];

/// A hint with an example of an endpoint.
const EXAMPLE: &str = "write a line `[[endpoint]]`, and below it `path = \"/\"` and `plugin = \"chat\"`";

/// `plugins` are the names of the plugins in the file, valid or not.
pub(super) fn check<'a>(report: &mut Report, value: &'a Value<'a>, plugins: &[&str]) -> Vec<Endpoint> {
    let DeValue::Array(tables) = value.get_ref() else {
        let title = "endpoints are a list: `[[endpoint]]`, with two brackets";
        report.add(Problem::at(value.span(), title).help(EXAMPLE));
        return Vec::new();
    };
    if let Some(first_too_many) = tables.get(ENDPOINTS_MAX) {
        let title = format!("{} endpoints, at most {ENDPOINTS_MAX}", tables.len());
        report.add(Problem::at(first_too_many.span(), title));
        return Vec::new();
    }
    let mut found: Vec<Endpoint> = Vec::new();
    for table in tables.iter() {
        if let Some(endpoint) = check_endpoint(report, table, plugins, &found) {
            found.push(endpoint);
        }
    }
    found
}

fn check_endpoint<'a>(
    report: &mut Report,
    value: &'a Value<'a>,
    plugins: &[&str],
    found: &[Endpoint],
) -> Option<Endpoint> {
    let section = Section::open(report, "[[endpoint]]", &Endpoint::TABLE, value)?;
    let plugin = section.text(report, "plugin", "\"chat\"");
    let path = section.text(report, "path", "\"/\"");
    for key in Endpoint::TABLE.keys.iter().filter(|key| section.get(key).is_none()) {
        if !report.torn {
            report.add(Problem::at(section.span(), format!("an endpoint needs a `{key}`")).help(EXAMPLE));
        }
    }
    let (plugin, path) = (plugin?, path?);
    check_plugin(report, &plugin, plugins);
    let text = path.value;
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
    let fault = if !text.starts_with('/') || !is_visible || text.len() > PATH_BYTES_MAX {
        Some(format!("`path` is a path like \"/\" or \"/feed\", not \"{}\"", echo(text)))
    } else if TAKEN.contains(&text) || text == "/api" || text.starts_with("/api/") {
        Some(format!("\"{}\" belongs to the broker", echo(text)))
    } else if found.iter().any(|other| other.path == text) {
        Some(format!("\"{}\" already has a plugin", echo(text)))
    } else {
        None
    };
    if let Some(title) = fault {
        report.add(Problem::at(path.span, title));
        return None;
    }
    Some(Endpoint { path: text.to_owned(), plugin: plugin.value.to_owned() })
}
