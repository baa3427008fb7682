//! The kinds of rejections, by which a program tells them apart.

use rialto_plugin::prelude::*;
use serde::Serialize;

/// The detail of a rejection.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Refusal {
    /// A topic that is neither a market nor a feed.
    NoMarket,
    /// Something that cannot be a symbol.
    InvalidSymbol,
    /// A symbol that is not traded here.
    UnknownSymbol,
    /// One symbol more than there may be, while all others are followed.
    TooManySymbols { limit: u32 },
    /// One symbol more than a client may have while nearly all places are taken: so many it may.
    OverShare { limit: u64 },
    /// A message to a topic on which prices are read.
    ReadOnly,
    /// A subscription to a topic on which prices are written.
    WriteOnly,
    /// A price of a client that may not feed any.
    NotAFeed,
    /// A price that is no finite number.
    NotANumber,
    /// A price below 0.
    Negative,
    /// A price of 0.
    Zero,
    /// A price above the largest.
    TooLarge { limit: f64 },
    /// A price with more than two decimals.
    TooFine { decimals: u32 },
    /// A call of a method that the market does not have.
    UnknownMethod,
}

impl Refusal {
    /// The rejection, with one sentence for a person.
    pub(crate) fn because(self, reason: impl Into<String>) -> Error {
        reject(reason).detail(&self)
    }
}
