//! A running broker with the hostile plugin in it.

use std::ops::Deref;
use std::path::Path;
use std::sync::OnceLock;

use rialto::config::{Config, Permission, PluginConfig, TopicRule};
use rialto::topic::Pattern;
use rialto::{Broker, Builder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Running;
use crate::support::component;

/// A broker whose topics `hostile.>` belong to the hostile plugin; all others are open.
pub(crate) struct Hosted {
    running: Running,
    #[allow(dead_code, reason = "it keeps the files; a bench replaces one")]
    folder: TempDir,
}

impl Hosted {
    pub(crate) fn start() -> Self {
        Self::with(|_, _| {})
    }

    /// With other limits of the broker and of the plugin.
    pub(crate) fn with(change: impl FnOnce(&mut Config, &mut PluginConfig)) -> Self {
        Self::built(hostile(), change, |builder| builder)
    }

    /// With another plugin under its name.
    #[allow(dead_code, reason = "no bench does")]
    pub(crate) fn of(wasm: &[u8], change: impl FnOnce(&mut Config, &mut PluginConfig)) -> Self {
        Self::built(wasm, change, |builder| builder)
    }

    /// With a compiler in a process of its own, as the binary has it.
    #[allow(dead_code, reason = "a bench does")]
    pub(crate) fn compiled_by(program: &Path, change: impl FnOnce(&mut Config, &mut PluginConfig)) -> Self {
        Self::built(hostile(), change, |builder| builder.compiler(program))
    }

    fn built(
        wasm: &[u8],
        change: impl FnOnce(&mut Config, &mut PluginConfig),
        tell: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let folder = folder(wasm);
        let change = |config: &mut Config| {
            let mut plugin = PluginConfig { path: folder.path().join("plugin.wasm"), ..PluginConfig::default() };
            change(config, &mut plugin);
            own(config, plugin);
        };
        let running = Running::built(change, tell);
        Self { running, folder }
    }

    /// Puts another component where the plugin was loaded from.
    #[allow(dead_code, reason = "a bench does")]
    pub(crate) fn replace(&self, wasm: &[u8]) {
        std::fs::write(self.folder.path().join("plugin.wasm"), wasm).unwrap();
    }
}

impl Deref for Hosted {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

/// Tries to start a broker with a component; gives what the operator is told when it does not start.
pub(crate) fn start(wasm: &[u8], settings: Value) -> Result<Broker, String> {
    start_with(wasm, |_, plugin| plugin.config = settings, None)
}

/// The same with other settings, and with a compiler in a process of its own.
pub(crate) fn start_with(
    wasm: &[u8],
    change: impl FnOnce(&mut Config, &mut PluginConfig),
    compiler: Option<&Path>,
) -> Result<Broker, String> {
    let folder = folder(wasm);
    let mut config = Config::default();
    config.server.shards = 1;
    let path = folder.path().join("plugin.wasm");
    let mut plugin = PluginConfig { path, required: true, ..PluginConfig::default() };
    change(&mut config, &mut plugin);
    own(&mut config, plugin);
    let mut builder = Broker::builder().config(config);
    if let Some(compiler) = compiler {
        builder = builder.compiler(compiler);
    }
    builder.start().map_err(|error| error.to_string())
}

/// A publish that chooses how the plugin behaves.
pub(crate) fn publish(letter: char) -> Value {
    json!({"type": "publish", "topic": "hostile.a", "data": letter.to_string()})
}

/// A call that does.
pub(crate) fn call(letter: char) -> Value {
    json!({"type": "call", "topic": "hostile.a", "method": letter.to_string()})
}

fn hostile() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(component::hostile)
}

fn folder(wasm: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plugin.wasm"), wasm).unwrap();
    folder
}

fn own(config: &mut Config, plugin: PluginConfig) {
    let pattern = Pattern::parse("hostile.>").unwrap();
    config.topics.insert(
        0,
        TopicRule {
            pattern,
            plugin: Some("hostile".to_owned()),
            call: Some(Permission::parse(["anyone"]).expect("a permission")),
            ..TopicRule::default()
        },
    );
    config.plugins.insert("hostile".to_owned(), plugin);
}
