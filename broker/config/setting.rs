//! One declaration per key: [`settings!`] makes of it the field, its default, its check and its description, from which
//! the reference, the JSON Schema and the book come.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::section::{Report, Unit, Value, grouped};

/// Stands for a space at which no line may break, until the lines are broken.
pub(super) const NO_BREAK: &str = "\u{a0}";

/// A table of a file: its header, what it is about and its keys.
#[derive(Debug)]
pub(super) struct Table {
    /// The header in a file, like `[limits]`.
    pub(super) header: &'static str,
    /// What it is about, line by line.
    pub(super) about: &'static [&'static str],
    /// Its keys, in the order of the reference.
    pub(super) keys: &'static [&'static str],
    /// Keys that have another name now: the old and the new one. An old name works for one version and is warned of.
    pub(super) renamed: &'static [(&'static str, &'static str)],
    /// Keys that exist no more: the key and what to do instead. They are ignored and warned of for one version.
    pub(super) retired: &'static [(&'static str, &'static str)],
    /// Keys without which it is wrong.
    pub(super) required: &'static [&'static str],
    /// Describes its settings, in the order of `keys`.
    pub(super) settings: fn() -> Vec<Setting>,
}

/// One key, described for those who write files.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// What it means, line by line.
    pub(super) about: &'static [&'static str],
    pub(super) form: Form,
    /// The default as it is written in a file; none if a file without the key behaves like no value of it.
    pub(super) default: Option<String>,
    /// Whether a change takes effect only when the broker is started again.
    pub(super) needs_restart: bool,
}

/// What may be written for a key.
#[derive(Clone, Debug, Default)]
pub(super) struct Form {
    /// JSON Schema of the value, without its description and default.
    pub(super) schema: Json,
    /// The range of a number with its unit, like `256 to 1_048_576 bytes`.
    pub(super) range: Option<String>,
    /// A value to show where there is no default.
    pub(super) example: Option<&'static str>,
    /// The keys of a value that is a table.
    pub(super) keys: Vec<Setting>,
}

/// How the value of a setting is read and described.
pub(super) trait Kind<T> {
    /// Sets `target`, which holds the default, to the value, or reports what is wrong with it.
    fn read<'a>(&self, report: &mut Report, key: &str, value: &'a Value<'a>, target: &mut T);

    /// The value as it is written in a file, if it can be.
    fn written(&self, value: &T) -> Option<String>;

    /// What may be written.
    fn form(&self) -> Form;
}

/// An integer within a range.
pub(super) struct Number {
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) unit: Unit,
}

/// `true` or `false`.
pub(super) struct Flag;

/// One of a few words.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

/// A value that the section checks itself, because it depends on other keys or has a form of its own.
pub(super) struct Custom {
    pub(super) form: fn() -> Form,
}

/// The lines of a documentation comment as paragraphs and list items, each in one line.
pub(super) fn paragraphs(lines: &[&str]) -> String {
    let (mut text, mut is_ended) = (String::new(), true);
    for line in lines.iter().map(|line| line.trim()) {
        match (line.is_empty(), is_ended || line.starts_with("- ")) {
            (true, _) => {}
            (false, true) if text.is_empty() => text.push_str(line),
            (false, true) => text.push_str(&format!("\n{line}")),
            (false, false) => text.push_str(&format!(" {line}")),
        }
        is_ended = line.is_empty();
    }
    text
}

/// Values that can be written as they are.
pub(super) trait Written {
    fn written(&self) -> Option<String>;
}

impl Setting {
    pub(super) fn new<T>(
        name: &'static str,
        about: &'static [&'static str],
        kind: &impl Kind<T>,
        default: &T,
    ) -> Setting {
        Setting { name, about, form: kind.form(), default: kind.written(default), needs_restart: false }
    }

    /// The same setting, of which a change may need a restart.
    pub(super) fn restart(self, needs_restart: bool) -> Setting {
        Setting { needs_restart, ..self }
    }

    /// What it means, in paragraphs and lists, with its range.
    pub(super) fn text(&self) -> String {
        let mut text = paragraphs(self.about);
        if let Some(range) = &self.form.range {
            text.push_str(&format!(" {}.", format!("Range: {range}").replace(' ', NO_BREAK)));
        }
        if self.needs_restart {
            text.push_str(" A change needs a restart.");
        }
        for key in &self.form.keys {
            let range = key.form.range.as_deref().unwrap_or_default();
            let meaning = paragraphs(key.about);
            let meaning = meaning.trim_end_matches('.');
            text.push_str(&format!("\n- `{}`: {meaning}, {range}; default {}", key.name, key.shown()));
        }
        text
    }

    /// The default as JSON.
    fn default_json(&self) -> Option<Json> {
        let document = format!("value = {}", self.default.as_ref()?);
        let table = toml::de::DeTable::parse(&document).ok()?.into_inner();
        super::plugins::as_json(table.get("value")?)
    }

    /// The value that the reference shows: the default, or an example where there is none.
    pub(super) fn shown(&self) -> String {
        if let Some(shown) = self.default.clone().or_else(|| self.form.example.map(str::to_owned)) {
            return shown;
        }
        let keys: Vec<String> = self.form.keys.iter().map(|key| format!("{} = {}", key.name, key.shown())).collect();
        if keys.is_empty() { String::new() } else { format!("{{ {} }}", keys.join(", ")) }
    }
}

impl Table {
    /// A table within the value of a key, which describes it.
    pub(super) const fn within(name: &'static str, keys: &'static [&'static str]) -> Table {
        Table { header: name, about: &[], keys, renamed: &[], retired: &[], required: &[], settings: Vec::new }
    }

    /// JSON Schema of the table.
    pub(super) fn schema(&self) -> Json {
        let described = |setting: Setting| {
            let mut schema = setting.form.schema.clone();
            schema["description"] = setting.text().replace(NO_BREAK, " ").into();
            if let Some(default) = setting.default_json() {
                schema["default"] = default;
            }
            (setting.name.to_owned(), schema)
        };
        let mut properties: serde_json::Map<String, Json> = (self.settings)().into_iter().map(described).collect();
        for (old, new) in self.renamed {
            properties.insert((*old).to_owned(), json!({ "deprecated": true, "description": format!("Now `{new}`.") }));
        }
        for (old, instead) in self.retired {
            properties.insert((*old).to_owned(), json!({ "deprecated": true, "description": instead }));
        }
        json!({
            "type": "object", "properties": properties, "required": self.required, "additionalProperties": false,
        })
    }
}

impl Form {
    /// A value that is a table of its own.
    pub(super) fn table(table: &Table) -> Form {
        Form { keys: (table.settings)(), ..Form::of(table.schema()) }
    }

    /// Any value that fits the schema.
    pub(super) fn of(schema: Json) -> Form {
        Form { schema, ..Form::default() }
    }

    pub(super) fn example(self, example: &'static str) -> Form {
        Form { example: Some(example), ..self }
    }
}

impl<T> Kind<T> for Number
where
    T: Copy + TryFrom<u64> + TryInto<u64>,
{
    fn read<'a>(&self, report: &mut Report, key: &str, value: &'a Value<'a>, target: &mut T) {
        let default: u64 = (*target).try_into().unwrap_or_default();
        if let Some(number) = report.number(key, value, self, default).and_then(|number| T::try_from(number).ok()) {
            *target = number;
        }
    }

    fn written(&self, value: &T) -> Option<String> {
        (*value).try_into().ok().map(grouped)
    }

    fn form(&self) -> Form {
        let range = format!("{} to {}{}", grouped(self.min), grouped(self.max), self.unit.short());
        let schema = json!({ "type": "integer", "minimum": self.min, "maximum": self.max });
        Form { range: Some(range), ..Form::of(schema) }
    }
}

impl Kind<bool> for Flag {
    fn read<'a>(&self, report: &mut Report, key: &str, value: &'a Value<'a>, target: &mut bool) {
        if let Some(flag) = report.flag(key, value, *target) {
            *target = flag;
        }
    }

    fn written(&self, value: &bool) -> Option<String> {
        Some(value.to_string())
    }

    fn form(&self) -> Form {
        Form::of(json!({ "type": "boolean" }))
    }
}

impl<T: Copy + PartialEq> Kind<T> for Choice<T> {
    fn read<'a>(&self, report: &mut Report, key: &str, value: &'a Value<'a>, target: &mut T) {
        if let Some(choice) = report.choice(key, value, self.0) {
            *target = choice;
        }
    }

    fn written(&self, value: &T) -> Option<String> {
        self.0.iter().find(|(_, choice)| choice == value).map(|(word, _)| format!("\"{word}\""))
    }

    fn form(&self) -> Form {
        let words: Vec<&str> = self.0.iter().map(|(word, _)| *word).collect();
        Form::of(json!({ "enum": words }))
    }
}

impl<T: Written> Kind<T> for Custom {
    fn read<'a>(&self, _: &mut Report, _: &str, _: &'a Value<'a>, _: &mut T) {}

    fn written(&self, value: &T) -> Option<String> {
        value.written()
    }

    fn form(&self) -> Form {
        (self.form)()
    }
}

impl Written for String {
    fn written(&self) -> Option<String> {
        (!self.is_empty()).then(|| quoted(self))
    }
}

impl Written for PathBuf {
    fn written(&self) -> Option<String> {
        (!self.as_os_str().is_empty()).then(|| quoted(&self.to_string_lossy()))
    }
}

impl<T: Written> Written for Option<T> {
    fn written(&self) -> Option<String> {
        self.as_ref().and_then(Written::written)
    }
}

impl Written for Vec<String> {
    fn written(&self) -> Option<String> {
        Some(written_list(self, false))
    }
}

impl Written for Vec<std::net::SocketAddr> {
    fn written(&self) -> Option<String> {
        Some(written_list(self, true))
    }
}

impl Written for Vec<ipnet::IpNet> {
    fn written(&self) -> Option<String> {
        Some(written_list(self, false))
    }
}

impl Written for bool {
    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// A string in TOML: basic strings have the escapes of JSON, and DEL is no part of one either.
pub(crate) fn quoted(text: &str) -> String {
    Json::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// The strings of a list: one alone needs no brackets, where `alone` says so.
fn written_list<T: ToString>(items: &[T], alone: bool) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(&item.to_string())).collect();
    match &items[..] {
        [item] if alone => item.clone(),
        items => format!("[{}]", items.join(", ")),
    }
}

/// Declares a table of the configuration: a struct, and for each field its name in a file, its default and what may be
/// written. The documentation of a field is what the reference, the schema and the book say of the key, so it is written
/// for an operator; the range and the default are added to it.
///
/// ```text
/// settings! {
///     /// What the table is about.
///     #[derive(Clone, Debug)]
///     pub struct Limits: "[limits]" {
///         /// What the key means.
///         message_bytes: usize = 65_536, 256 to 1_048_576 bytes;
///         /// A key that had another name in the last version.
///         header_ms (was "head_ms"): u64 = 5_000, 10 to 600_000 ms;
///         /// A key that is no number: how it is read.
///         page: bool = true => Flag;
///         /// A key of which a change takes effect only when the broker is started again; of all others a reload applies it.
///         shards [restart]: usize = 0, 0 to 256 items;
///     }
/// }
/// ```
macro_rules! settings {
    (
        $(#[doc = $about:literal])+
        $(#[derive($($derive:ident),+)])?
        pub struct $name:ident: $header:literal
        $(requires [$($required:literal),+])?
        $(retired [$($retired:literal: $instead:literal),+])?
        {
            $(
                $(#[doc = $doc:literal])+
                $key:ident $((was $($old:literal),+))? $([$restart:ident])?: $type:ty = $default:expr
                $(, $min:literal to $max:literal $unit:ident)? $(=> $kind:expr)?;
            )+
        }
    ) => {
        $(#[doc = $about])+
        $(#[derive($($derive),+)])?
        pub struct $name {
            $(
                $(#[doc = $doc])+
                $(
                    #[doc = ""]
                    #[doc = concat!(
                        "Range: ", stringify!($min), " to ", stringify!($max),
                        $crate::config::setting::unit_word!($unit), ". Default ", stringify!($default), "."
                    )]
                )?
                pub $key: $type,
            )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default),+ }
            }
        }

        impl $name {
            pub(super) const TABLE: $crate::config::setting::Table = $crate::config::setting::Table {
                header: $header,
                about: &[$($about),+],
                keys: &[$(stringify!($key)),+],
                renamed: &[$($($(($old, stringify!($key)),)+)?)+],
                retired: &[$($(($retired, $instead)),+)?],
                required: &[$($($required),+)?],
                settings: Self::settings,
            };

            /// Sets every field whose key is there and whose kind reads it, and reports what is wrong.
            #[allow(dead_code, reason = "a table of which every key has a check of its own does not need it")]
            fn read_keys(&mut self, report: &mut $crate::config::section::Report, section: &$crate::config::section::Section) {
                $(
                    section.read(
                        report,
                        stringify!($key),
                        &$crate::config::setting::kind!($($min, $max, $unit)? $($kind)?),
                        &mut self.$key,
                    );
                )+
            }

            /// The keys and their values as a file has them; without those that no file could have.
            #[allow(dead_code, reason = "not every table stands alone in a file")]
            pub(super) fn written(&self) -> Vec<(&'static str, String)> {
                let all = [$(
                    (
                        stringify!($key),
                        $crate::config::setting::Kind::written(
                            &$crate::config::setting::kind!($($min, $max, $unit)? $($kind)?),
                            &self.$key,
                        ),
                    )
                ),+];
                all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
            }

            fn settings() -> Vec<$crate::config::setting::Setting> {
                let default = Self::default();
                vec![$(
                    $crate::config::setting::Setting::new(
                        stringify!($key),
                        &[$($doc),+],
                        &$crate::config::setting::kind!($($min, $max, $unit)? $($kind)?),
                        &default.$key,
                    )
                    .restart($crate::config::setting::needs_restart!($($restart)?))
                ),+]
            }

            /// The keys with another value in `new`, each with whether that needs a restart.
            #[allow(dead_code, reason = "entries of a list are compared as a whole")]
            pub(super) fn changed(&self, new: &Self) -> Vec<(&'static str, bool)> {
                let mut changed = Vec::new();
                $(
                    if self.$key != new.$key {
                        changed.push((stringify!($key), $crate::config::setting::needs_restart!($($restart)?)));
                    }
                )+
                changed
            }

            /// Takes over, from what runs, the values of which a change needs a restart.
            #[allow(dead_code, reason = "entries of a list are replaced as a whole")]
            pub(super) fn keep_fixed(&mut self, running: &Self) {
                $(
                    if $crate::config::setting::needs_restart!($($restart)?) {
                        self.$key.clone_from(&running.$key);
                    }
                )+
            }
        }
    };
}

/// The kind of a setting: a number with its range, or what was given.
macro_rules! kind {
    ($min:literal, $max:literal, $unit:ident) => {
        $crate::config::setting::Number { min: $min, max: $max, unit: $crate::config::setting::unit!($unit) }
    };
    ($kind:expr) => {
        $kind
    };
}

/// Whether a key was marked as `[restart]`.
macro_rules! needs_restart {
    () => {
        false
    };
    (restart) => {
        true
    };
}

macro_rules! unit {
    (bytes) => {
        $crate::config::section::Unit::Bytes
    };
    (ms) => {
        $crate::config::section::Unit::Milliseconds
    };
    (items) => {
        $crate::config::section::Unit::Items
    };
}

macro_rules! unit_word {
    (bytes) => {
        " bytes"
    };
    (ms) => {
        " ms"
    };
    (items) => {
        ""
    };
}

pub(super) use {kind, needs_restart, settings, unit, unit_word};

#[cfg(test)]
#[allow(unreachable_pub, reason = "the tables of the configuration are public")]
mod tests {
    use std::path::Path;

    use toml::Spanned;
    use toml::de::{DeTable, DeValue};

    use super::*;
    use crate::config::section::Section;

    settings! {
        /// A table of this test.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Sample: "[sample]" retired ["old_flag": "leave it out"] {
            /// A key that had two other names.
            wait_ms (was "wait", "delay_ms"): u64 = 50, 10 to 600 ms;
            /// A key that has always been named so.
            page: bool = true => Flag;
            /// A key that is read once.
            shards [restart]: usize = 0, 0 to 256 items;
        }
    }

    /// Reads a table, and returns it with the titles of its problems and of its warnings.
    fn read(text: &str) -> (Sample, Vec<String>, Vec<String>) {
        let table = Spanned::new(0..0, DeValue::Table(DeTable::parse(text).expect("valid").into_inner()));
        let mut report = Report::new(text, Path::new(""));
        let mut sample = Sample::default();
        if let Some(section) = Section::open(&mut report, "[sample]", &Sample::TABLE, &table) {
            sample.read_keys(&mut report, &section);
        }
        let titles = |list: &[crate::config::Problem]| list.iter().map(|problem| problem.title().to_owned()).collect();
        (sample, titles(&report.problems), titles(&report.warnings))
    }

    #[test]
    fn an_old_name_works_and_is_warned_of() {
        for old in ["wait", "delay_ms"] {
            let (sample, problems, warnings) = read(&format!("{old} = 70\npage = false\n"));
            assert_eq!(sample, Sample { wait_ms: 70, page: false, shards: 0 });
            assert_eq!(problems, Vec::<String>::new());
            assert_eq!(warnings, [format!("`{old}` in `[sample]` is now named `wait_ms`")]);
        }
    }

    #[test]
    fn an_old_name_beside_the_new_one_is_a_problem() {
        let (sample, problems, warnings) = read("wait = 70\nwait_ms = 80\n");
        assert_eq!((sample.wait_ms, warnings.len()), (80, 0));
        assert_eq!(problems, ["`wait` is the old name of `wait_ms`, which is there too"]);
    }

    #[test]
    fn a_retired_key_has_no_effect_and_is_warned_of() {
        let (sample, problems, warnings) = read("old_flag = 7\n");
        assert_eq!((sample, problems), (Sample::default(), Vec::new()));
        assert_eq!(warnings, ["`old_flag` in `[sample]` has no effect any more"]);
    }

    #[test]
    fn an_old_name_has_the_range_of_the_new_one() {
        let (_, problems, _) = read("wait = 7\n");
        assert_eq!(problems, ["`wait_ms` must be 10 to 600 milliseconds"]);
    }

    #[test]
    fn changes_are_found_and_what_needs_a_restart_stays() {
        let running = Sample { wait_ms: 70, page: true, shards: 2 };
        let mut new = Sample { wait_ms: 80, page: true, shards: 4 };
        assert_eq!(running.changed(&new), [("wait_ms", false), ("shards", true)]);
        new.keep_fixed(&running);
        assert_eq!(new, Sample { wait_ms: 80, page: true, shards: 2 });
        assert_eq!(new.changed(&new), []);
    }

    #[test]
    fn settings_are_described() {
        let [wait, page, shards] = &(Sample::TABLE.settings)()[..] else { panic!("there are three") };
        assert_eq!(wait.text(), "A key that had two other names. Range:\u{a0}10\u{a0}to\u{a0}600\u{a0}ms.");
        assert_eq!((wait.shown().as_str(), page.shown().as_str()), ("50", "true"));
        assert!(shards.text().ends_with("Range:\u{a0}0\u{a0}to\u{a0}256. A change needs a restart."));
        let schema = Sample::TABLE.schema();
        assert_eq!(schema["properties"]["wait_ms"]["minimum"], 10);
        assert_eq!(schema["properties"]["wait_ms"]["default"], 50);
        assert_eq!(schema["properties"]["delay_ms"]["deprecated"], true);
        assert_eq!(schema["properties"]["old_flag"]["description"], "leave it out");
    }
}
