//! What is traded: a symbol, which is the last token of its two topics.

use crate::refusal::Refusal;
use rialto_plugin::prelude::*;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest symbol.
const CHARACTERS_MAX: usize = 12;

/// A symbol: 1 to 12 of the characters A-Z, 0-9 and "-".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Symbol(String);

/// What a topic of this plugin is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `market.{symbol}`: where the prices of a symbol are read.
    Market(Symbol),
    /// `feed.{symbol}`: where a feed writes them.
    Feed(Symbol),
}

impl Symbol {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The topic on which its prices are read.
    pub(crate) fn topic(&self) -> String {
        format!("market.{self}")
    }

    fn is_valid(text: &str) -> bool {
        let is_allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=CHARACTERS_MAX).contains(&text.len()) && text.bytes().all(is_allowed)
    }
}

impl Place {
    /// What `topic` is for; a rejection when it is neither.
    pub(crate) fn of(topic: &str) -> Result<Self> {
        let (kind, symbol) = topic.split_once('.').unwrap_or((topic, ""));
        let place = match kind {
            "market" => Self::Market,
            "feed" => Self::Feed,
            _ => {
                let reason = format!("{topic:?} is no topic of the market: those are market.SYMBOL and feed.SYMBOL");
                return Err(Refusal::NoMarket.because(reason));
            }
        };
        match Symbol::try_from(symbol.to_owned()) {
            Ok(symbol) => Ok(place(symbol)),
            Err(reason) => Err(Refusal::InvalidSymbol.because(reason)),
        }
    }
}

impl TryFrom<String> for Symbol {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if Self::is_valid(&text) {
            return Ok(Self(text));
        }
        Err(format!("{text:?} is no symbol: those have 1 to {CHARACTERS_MAX} of the characters A-Z, 0-9 and \"-\""))
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_have_a_place() {
        let symbol = |text: &str| Symbol::try_from(text.to_owned()).expect("a symbol");
        assert_eq!(Place::of("market.SALT"), Ok(Place::Market(symbol("SALT"))));
        assert_eq!(Place::of("feed.A-1"), Ok(Place::Feed(symbol("A-1"))));
        assert_eq!(symbol("ABCDEFGHIJKL").topic(), "market.ABCDEFGHIJKL");
        let invalid = ["market.", "market", "market.salt", "market.ABCDEFGHIJKLM", "feed.A B", "market.A.B", "feed.Ä"];
        for topic in invalid {
            let error = Place::of(topic).expect_err(topic).to_string();
            assert!(error.contains("is no symbol: those have 1 to 12 of"), "{error}");
        }
        assert!(Place::of("chat.SALT").expect_err("no market").to_string().contains("is no topic of the market"));
    }
}
