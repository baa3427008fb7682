//! The settings of the broker, as plain structs with the documented defaults; nothing here acts on a setting. A key is
//! declared once, in the file of its table, by `settings!` (`setting.rs`).

mod api;
mod auth;
mod built;
mod callout;
mod changes;
mod check;
mod current;
mod endpoints;
mod exposure;
mod hide;
mod limits;
mod load;
mod permissions;
mod plugins;
mod problem;
mod public_key;
mod rates;
mod reference;
mod rules;
mod sandbox;
mod secret;
mod section;
mod server;
mod setting;
mod syntax;
mod tls;
mod topics;
mod users;

use std::collections::BTreeMap;

pub use self::api::{Api, ApiKey};
pub use self::auth::{Auth, AuthKey, KeyMaterial, TokenAlgorithm};
pub use self::callout::CallOut;
pub(crate) use self::changes::Changes;
pub(crate) use self::current::{ActiveConfig, CurrentConfig};
pub use self::endpoints::Endpoint;
pub use self::limits::Limits;
pub use self::permissions::{Access, Permission, Placeholder};
pub use self::plugins::{Isolation, PluginConfig};
pub use self::problem::{Problem, Problems};
pub use self::rates::{Rates, TopicRates};
pub use self::reference::{demo, markdown, reference, schema};
pub use self::rules::{RuleLines, Rules, TopicOptions};
pub use self::sandbox::Sandbox;
pub use self::secret::Secret;
pub use self::server::Server;
#[cfg(feature = "cli")]
pub(crate) use self::setting::quoted;
pub use self::tls::Tls;
pub use self::topics::{History, OnFailure, TopicRule};
pub use self::users::AuthUser;
pub(crate) use self::users::{ROLE_BYTES_MAX, ROLES_MAX, USER_BYTES_MAX, is_name};

/// The configuration of a broker. [`Config::load`] and [`Config::parse`] check every value. What a program has filled itself
/// is checked in the same way by [`Builder::start`](crate::Builder::start).
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Addresses, browser origins, proxies and logging: `[server]`.
    pub server: Server,
    /// TLS: `[tls]`. Default none.
    pub tls: Option<Tls>,
    /// The HTTP API and its keys: `[api]`. Default none: the API is off.
    pub api: Option<Api>,
    /// Authentication of sessions: `[auth]`. Default none: all are anonymous.
    pub auth: Option<Auth>,
    /// How plugins are compiled: `[sandbox]`.
    pub sandbox: Sandbox,
    /// Limits: sizes, quotas, rate limits and timeouts: `[limits]`.
    pub limits: Limits,
    /// Rate limits of what sessions ask for: `[rates]`.
    pub rates: Rates,
    /// The topic rules: the `[[topic]]` tables in file order, the first match wins. A file without any gets one rule for `>`,
    /// unless it has `[auth]`. At most 1,000.
    pub topics: Vec<TopicRule>,
    /// Where the topic rules are in their file.
    pub topic_lines: RuleLines,
    /// The plugins to load, by name: the `[plugin.NAME]` tables. At most 256; names are 1 to 64 of `a-z`, `0-9`, `-`.
    pub plugins: BTreeMap<String, PluginConfig>,
    /// The raw endpoints, at most 1,000, each with another path.
    pub endpoints: Vec<Endpoint>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            server: Server::default(),
            tls: None,
            api: None,
            auth: None,
            sandbox: Sandbox::default(),
            limits: Limits::default(),
            rates: Rates::default(),
            topics: vec![TopicRule::default()],
            topic_lines: RuleLines::default(),
            plugins: BTreeMap::new(),
            endpoints: Vec::new(),
        }
    }
}
