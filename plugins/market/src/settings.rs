//! What the operator can set in the plugin's `config` table.

use crate::price::Price;
use crate::symbol::Symbol;
use rialto_plugin::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

const TICK_MS: RangeInclusive<u64> = 50..=3_600_000;
const SWING: RangeInclusive<u64> = 1..=1000;
const TAIL: RangeInclusive<u64> = 1..=600;
const SYMBOLS: RangeInclusive<u64> = 0..=1000;
/// `symbols` lists them all, within what one hook may transfer.
const OTHERS_MAX: RangeInclusive<u64> = 0..=500;
const FEED_MS: RangeInclusive<u64> = 0..=86_400_000;

/// What is traded when the operator says nothing: what came over the Rialto.
const SYMBOLS_USUAL: [(&str, f64); 8] = [
    ("AMBER", 148.20),
    ("GLASS", 36.75),
    ("INDIGO", 64.10),
    ("PEPPER", 27.40),
    ("SAFFRON", 612.00),
    ("SALT", 4.85),
    ("SILK", 118.50),
    ("SUGAR", 12.30),
];

/// The settings of the market plugin.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Time between two ticks of a symbol that someone follows.
    pub(crate) tick_ms: u64,
    /// How far a tick usually moves a price, in ten-thousandths of it.
    pub(crate) swing: u64,
    /// Decides all walks.
    pub(crate) seed: u64,
    /// Ticks that a new follower gets for a chart.
    pub(crate) tail: u64,
    /// What is always traded, with the price it begins at.
    pub(crate) symbols: BTreeMap<Symbol, f64>,
    /// Most symbols besides, which begin to be traded when someone follows them; see `others`.
    pub(crate) others_max: u64,
    /// How long a walk rests after the last price of a feed; 0: for good.
    pub(crate) feed_ms: u64,
    /// Who may feed prices.
    pub(crate) feed_from: FeedFrom,
}

/// Who may publish to `feed.*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FeedFrom {
    /// Every session, and what follows.
    Anyone,
    /// The HTTP API with its keys, other plugins, and the program that embeds the broker.
    Programs,
}

impl Default for Settings {
    fn default() -> Self {
        let symbols = SYMBOLS_USUAL
            .map(|(symbol, price)| (Symbol::try_from(symbol.to_owned()).expect("the table has symbols only"), price));
        Self {
            tick_ms: 1000,
            swing: 8,
            seed: 1,
            tail: 60,
            symbols: BTreeMap::from(symbols),
            others_max: 300,
            feed_ms: 60_000,
            feed_from: FeedFrom::Anyone,
        }
    }
}

impl Settings {
    /// Reads and checks the settings; the error is for the operator.
    pub(crate) fn read(config: &Config) -> Result<Self> {
        let settings: Self = config.parse()?;
        check("tick_ms", settings.tick_ms, TICK_MS)?;
        check("swing", settings.swing, SWING)?;
        check("tail", settings.tail, TAIL)?;
        check("symbols: their number", settings.symbols.len() as u64, SYMBOLS)?;
        check("others_max", settings.others_max, OTHERS_MAX)?;
        check("feed_ms", settings.feed_ms, FEED_MS)?;
        for (symbol, &price) in &settings.symbols {
            if Price::read(price).is_err() {
                let rule = "a price has at most 2 decimals and is between 0.01 and 1000000000";
                return Err(fail(format!("config: symbols.{symbol}: {price}: {rule}")));
            }
        }
        if config.topic().is_some() {
            return Err(fail("isolation: \"topic\" parts the feeds from their markets: it must be \"plugin\""));
        }
        Ok(settings)
    }

    /// The price at which a symbol begins that is always traded.
    pub(crate) fn opening(&self, symbol: &Symbol) -> Option<Price> {
        self.symbols.get(symbol).and_then(|&price| Price::read(price).ok())
    }
}

fn check(setting: &str, value: u64, allowed: RangeInclusive<u64>) -> Result<()> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(fail(format!("config: {setting}: {value} is not between {} and {}", allowed.start(), allowed.end())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Settings> {
        Settings::read(&Config::from_json(json))
    }

    #[test]
    fn settings_are_read() {
        assert_eq!(read("{}"), Ok(Settings::default()));
        let settings = read(r#"{"tick_ms":50,"symbols":{"A-1":7,"B":0.01},"feed_from":"programs","feed_ms":0}"#);
        let settings = settings.expect("valid settings");
        let opening = |symbol: &str| settings.opening(&Symbol::try_from(symbol.to_owned()).expect("a symbol"));
        assert_eq!((settings.tick_ms, settings.feed_ms, settings.feed_from), (50, 0, FeedFrom::Programs));
        assert_eq!(opening("A-1"), Some(Price::from_cents(700)));
        assert_eq!(opening("B"), Some(Price::MIN));
        assert_eq!(opening("SALT"), None, "a list of one's own replaces the usual one");
    }

    #[test]
    fn wrong_settings_are_refused() {
        let price = "a price has at most 2 decimals and is between 0.01 and 1000000000";
        let table = [
            (r#"{"tick_ms":49}"#, "config: tick_ms: 49 is not between 50 and 3600000".to_owned()),
            (r#"{"swing":0}"#, "config: swing: 0 is not between 1 and 1000".to_owned()),
            (r#"{"tail":601}"#, "config: tail: 601 is not between 1 and 600".to_owned()),
            (r#"{"others_max":501}"#, "config: others_max: 501 is not between 0 and 500".to_owned()),
            (r#"{"feed_ms":86400001}"#, "config: feed_ms: 86400001 is not between 0 and 86400000".to_owned()),
            (r#"{"symbols":{"A":0}}"#, format!("config: symbols.A: 0: {price}")),
            (r#"{"symbols":{"A":1.005}}"#, format!("config: symbols.A: 1.005: {price}")),
            (
                r#"{"feed_from":"me"}"#,
                "config: feed_from: unknown variant `me`, expected `anyone` or `programs`".to_owned(),
            ),
        ];
        for (json, expected) in table {
            assert_eq!(read(json), Err(fail(expected)), "{json}");
        }
        let unknown = read(r#"{"symbols":{"salt":1}}"#).expect_err("lower case").to_string();
        assert!(unknown.contains("\"salt\" is no symbol"), "{unknown}");
        let apart = Config::from_json("{}").for_topic(Some("market.SALT".to_owned()));
        assert!(Settings::read(&apart).expect_err("apart").to_string().contains("isolation"));
    }
}
