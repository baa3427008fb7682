//! The other symbols, which the operator did not list: who follows them, and which give way. They are kept one by one, so
//! that one more costs the same however many there are.

use crate::refusal::Refusal;
use crate::symbol::Symbol;
use rialto_plugin::prelude::*;
use rialto_plugin::shares::{Client, share};
use serde::{Deserialize, Serialize};

/// How many symbols give way at once: more than one only after the operator has lowered the limit.
const GIVE_WAY_MAX: u32 = 2;

/// When nearly all places are taken, a client may have this part of what is free.
const SHARE_PARTS: u64 = 16;

/// The key of the only entry with numbers.
const NUMBERS: &str = "others";

/// The other symbols during one hook.
pub(crate) struct Others<'a> {
    /// Most of them.
    limit: u32,
    /// Each of them, by symbol.
    each: State<'a, Other>,
    /// Those that nobody follows, in the order in which they give way: by the time since when, and by symbol.
    idle: State<'a, Symbol>,
    /// How many count for a client.
    held: State<'a, u32>,
    numbers: State<'a, Numbers>,
}

/// One of them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Other {
    /// Followed; it counts for this client, who follows it.
    Followed(Client),
    /// Followed by nobody since then, in Unix milliseconds.
    Idle(u64),
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Numbers {
    followed: u32,
    idle: u32,
}

impl<'a> Others<'a> {
    pub(crate) fn open(ctx: &Context<'a>, limit: u32) -> Self {
        Self {
            limit,
            each: ctx.state("others"),
            idle: ctx.state("idle"),
            held: ctx.state("held"),
            numbers: ctx.state("numbers"),
        }
    }

    /// A client follows a symbol, which counts for it unless another one follows it already. Returns those that give way;
    /// a rejection when there is no place for it.
    pub(crate) fn follow(&self, symbol: &Symbol, client: &Client) -> Result<Vec<Symbol>> {
        let known = self.each.get(symbol.as_str())?;
        if let Some(Other::Followed(_)) = known {
            return Ok(Vec::new());
        }
        let mut numbers = self.numbers()?;
        let held = self.held(client)?;
        self.check(numbers, held)?;
        if let Some(Other::Idle(since)) = known {
            self.idle.delete(&idle_key(since, symbol))?;
            numbers.idle = numbers.idle.saturating_sub(1);
        }
        let surplus = (numbers.followed + 1 + numbers.idle).saturating_sub(self.limit);
        let gone = self.give_way(surplus.min(GIVE_WAY_MAX))?;
        numbers.idle = numbers.idle.saturating_sub(u32::try_from(gone.len()).unwrap_or(GIVE_WAY_MAX));
        numbers.followed += 1;
        self.numbers.put(NUMBERS, &numbers)?;
        self.held.put(client.as_str(), &(held + 1))?;
        self.each.put(symbol.as_str(), &Other::Followed(client.clone()))?;
        Ok(gone)
    }

    /// A client has left a symbol that `other` still follows: if it counted for the first, it counts for the second.
    pub(crate) fn hand_over(&self, symbol: &Symbol, client: &Client, other: &Client) -> Result<()> {
        match self.each.get(symbol.as_str())? {
            Some(Other::Followed(holder)) if holder == *client && other != client => {
                self.let_go(client)?;
                self.held.put(other.as_str(), &(self.held(other)? + 1))?;
                Ok(self.each.put(symbol.as_str(), &Other::Followed(other.clone()))?)
            }
            _ => Ok(()),
        }
    }

    /// Nobody follows a symbol any more: it stays until another one needs its place.
    pub(crate) fn rest(&self, symbol: &Symbol, now: u64) -> Result<()> {
        let Some(Other::Followed(client)) = self.each.get(symbol.as_str())? else { return Ok(()) };
        self.let_go(&client)?;
        let Numbers { followed, idle } = self.numbers()?;
        self.numbers.put(NUMBERS, &Numbers { followed: followed.saturating_sub(1), idle: idle + 1 })?;
        self.each.put(symbol.as_str(), &Other::Idle(now))?;
        Ok(self.idle.put(&idle_key(now, symbol), symbol)?)
    }

    /// Whether a client that has so many may have one more.
    fn check(&self, numbers: Numbers, held: u32) -> Result<()> {
        let limit = self.limit;
        if limit == 0 {
            return Err(Refusal::UnknownSymbol.because("this symbol is not traded here"));
        }
        if numbers.followed >= limit {
            let reason = format!(
                "so many symbols are followed that no other fits: the limit is {limit}; follow one of those that \
                 \"symbols\" lists, or try again later"
            );
            return Err(Refusal::TooManySymbols { limit }.because(reason));
        }
        let share = share(limit.into(), numbers.followed.into(), SHARE_PARTS);
        if u64::from(held) >= share {
            let reason = format!(
                "nearly all of the {limit} places for further symbols are taken: you may have {share} now and have \
                 {held}; unsubscribe from one of yours first"
            );
            return Err(Refusal::OverShare { limit: share }.because(reason));
        }
        Ok(())
    }

    fn give_way(&self, count: u32) -> Result<Vec<Symbol>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut gone = Vec::new();
        for (key, symbol) in self.idle.page("", None, count)? {
            self.idle.delete(&key)?;
            self.each.delete(symbol.as_str())?;
            gone.push(symbol);
        }
        Ok(gone)
    }

    fn let_go(&self, client: &Client) -> Result<()> {
        match self.held(client)? {
            0 | 1 => Ok(self.held.delete(client.as_str())?),
            held => Ok(self.held.put(client.as_str(), &(held - 1))?),
        }
    }

    fn held(&self, client: &Client) -> Result<u32> {
        Ok(self.held.get(client.as_str())?.unwrap_or_default())
    }

    fn numbers(&self) -> Result<Numbers> {
        Ok(self.numbers.get(NUMBERS)?.unwrap_or_default())
    }
}

/// Keys are in the order of their times: as many digits as the largest number has.
fn idle_key(since: u64, symbol: &Symbol) -> String {
    format!("{since:020} {symbol}")
}
