//! A plugin as the operator sees it by the HTTP API: what it is, what it may do, how it does. It knows no plugin.

use crate::writer::Writer;

/// One plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginLine {
    /// Its name in the configuration.
    pub name: String,
    /// What the component calls itself.
    pub package: String,
    /// The component's version.
    pub version: String,
    /// SHA-256 of the component's file, in hexadecimal.
    pub hash: String,
    /// The size of the component's file.
    pub bytes: u64,
    /// The capabilities it asks for.
    pub needs: Vec<String>,
    /// The capabilities that the operator grants.
    pub grants: Vec<String>,
    /// What it says that it serves.
    pub serves: Vec<String>,
    /// `running`, `restarting`, `quarantined` or `not_loaded`.
    pub state: String,
    /// Running copies.
    pub instances: u64,
    /// Timers that wait.
    pub timers: u64,
    /// Hooks that were called.
    pub hooks: u64,
    /// Hooks that failed.
    pub failures: u64,
    /// The last failure.
    pub last_failure: Option<PluginFailureLine>,
    /// Events of clients that wait for it.
    pub waiting: u64,
    /// Bytes of its state.
    pub state_bytes: u64,
    /// Whether it is part of the program, without a sandbox.
    pub native: bool,
}

/// A failure of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginFailureLine {
    /// The hook that failed.
    pub hook: String,
    /// The topic it was about.
    pub topic: Option<String>,
    /// What went wrong: kind, panic message, file and line.
    pub text: String,
    /// When, in Unix milliseconds.
    pub time: u64,
}

pub(crate) fn write_plugins(out: &mut impl Writer, plugins: &[PluginLine]) {
    out.key("plugins");
    out.array();
    for plugin in plugins {
        out.map();
        write_plugin(out, plugin);
        out.end();
    }
    out.end();
}

pub(crate) fn write_plugin(out: &mut impl Writer, plugin: &PluginLine) {
    out.text_field("name", &plugin.name);
    out.text_field("package", &plugin.package);
    out.text_field("version", &plugin.version);
    out.text_field("hash", &plugin.hash);
    out.number_field("bytes", plugin.bytes);
    for (key, texts) in [("needs", &plugin.needs), ("grants", &plugin.grants), ("serves", &plugin.serves)] {
        out.key(key);
        out.array();
        texts.iter().for_each(|text| out.text(text));
        out.end();
    }
    out.text_field("state", &plugin.state);
    for (key, number) in [
        ("instances", plugin.instances),
        ("timers", plugin.timers),
        ("hooks", plugin.hooks),
        ("failures", plugin.failures),
        ("waiting", plugin.waiting),
        ("state_bytes", plugin.state_bytes),
    ] {
        out.number_field(key, number);
    }
    out.key("native");
    out.bool(plugin.native);
    if let Some(failure) = &plugin.last_failure {
        out.key("last_failure");
        out.map();
        write_plugin_failure(out, failure);
        out.end();
    }
}

fn write_plugin_failure(out: &mut impl Writer, failure: &PluginFailureLine) {
    out.text_field("hook", &failure.hook);
    if let Some(topic) = &failure.topic {
        out.text_field("topic", topic);
    }
    out.text_field("text", &failure.text);
    out.number_field("time", failure.time);
}
