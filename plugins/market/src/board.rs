//! The board: every symbol's quote and tape, kept in the plugin's state, and the timer of those that someone follows.

use crate::chance::Chance;
use crate::others::Others;
use crate::price::Price;
use crate::quote::Quote;
use crate::settings::Settings;
use crate::symbol::Symbol;
use crate::tape::Tape;
use rialto_plugin::prelude::*;
use rialto_plugin::shares::Client;
use std::collections::BTreeMap;

/// What timers of walks are called: this and the symbol.
const TIMER: &str = "tick.";

/// Where a symbol begins that the operator did not list, in hundredths: from 1.00 and less than 500.00.
const OPENING_CENTS: std::ops::Range<u64> = 100..50_000;

/// The state of the market during one hook.
pub(crate) struct Board<'a> {
    ctx: &'a Context<'a>,
    settings: &'a Settings,
    /// Asked once: to ask for each of a thousand symbols would use up the calls of a hook.
    now: u64,
    quotes: State<'a, Quote>,
    tapes: State<'a, Tape>,
    others: Others<'a>,
}

impl<'a> Board<'a> {
    pub(crate) fn open(ctx: &'a Context<'a>, settings: &'a Settings) -> Self {
        let others_max = u32::try_from(settings.others_max).expect("the settings have bounds");
        let others = Others::open(ctx, others_max);
        Self { ctx, settings, now: ctx.now_ms(), quotes: ctx.state("quotes"), tapes: ctx.state("tapes"), others }
    }

    /// Unix time in milliseconds, the same throughout the hook.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// The quote of a symbol that is traded: listed by the operator, or followed before.
    pub(crate) fn find(&self, symbol: &Symbol) -> Result<Option<Quote>> {
        let known = self.quotes.get(symbol.as_str())?;
        Ok(known.or_else(|| self.settings.opening(symbol).map(|price| self.begin(symbol, price))))
    }

    /// The quote of a symbol that a session begins to follow. One that is not traded begins to be, if there is a place for
    /// it.
    pub(crate) fn follow(&self, symbol: &Symbol, session: &Session) -> Result<Quote> {
        if !self.is_listed(symbol) {
            for gone in self.others.follow(symbol, &Client::of(session))? {
                self.forget(&gone)?;
            }
        }
        if let Some(quote) = self.find(symbol)? {
            return Ok(quote);
        }
        let cents = OPENING_CENTS.start + self.chance(symbol).next() % (OPENING_CENTS.end - OPENING_CENTS.start);
        let price = Price::from_cents(i64::try_from(cents).expect("less than 50,000"));
        let quote = self.begin(symbol, price);
        self.quotes.put(symbol.as_str(), &quote)?;
        Ok(quote)
    }

    /// The last prices of a symbol, of which there is at least the one it begins with.
    pub(crate) fn tape(&self, symbol: &Symbol, quote: &Quote) -> Result<Tape> {
        let tape = self.tapes.get(symbol.as_str())?;
        Ok(tape.unwrap_or_else(|| {
            let mut tape = Tape::default();
            tape.push(quote.time(), quote.price(), 1);
            tape
        }))
    }

    /// Keeps a quote that has changed, and tells it to those who follow.
    pub(crate) fn tell(&self, symbol: &Symbol, quote: &Quote) -> Result<()> {
        let mut tape = self.tapes.get(symbol.as_str())?.unwrap_or_default();
        let ticks_max = u32::try_from(self.settings.tail).expect("the settings have bounds");
        tape.push(quote.time(), quote.price(), ticks_max);
        self.tapes.put(symbol.as_str(), &tape)?;
        self.quotes.put(symbol.as_str(), quote)?;
        Ok(self.ctx.publish(&symbol.topic(), &quote.tick(symbol))?)
    }

    /// All that is traded, sorted.
    pub(crate) fn all(&self) -> Result<BTreeMap<Symbol, Quote>> {
        let mut all = BTreeMap::new();
        for symbol in self.settings.symbols.keys() {
            if let Some(price) = self.settings.opening(symbol) {
                all.insert(symbol.clone(), self.begin(symbol, price));
            }
        }
        for entry in self.quotes.scan("") {
            let (symbol, quote) = entry?;
            all.insert(Symbol::try_from(symbol).map_err(fail)?, quote);
        }
        Ok(all)
    }

    /// A session has left a symbol. Once nobody follows it, it has no timer, and one that is not listed may give way.
    pub(crate) fn leave(&self, symbol: &Symbol, session: &Session) -> Result<()> {
        let topic = symbol.topic();
        match self.ctx.sessions(&topic).page(None, 1)?.first() {
            None => self.close(symbol),
            Some(_) if self.is_listed(symbol) => Ok(()),
            Some(other) => self.others.hand_over(symbol, &Client::of(session), &Client::of(other)),
        }
    }

    /// Nobody follows a symbol any more.
    pub(crate) fn close(&self, symbol: &Symbol) -> Result<()> {
        self.others.rest(symbol, self.now)?;
        self.rest(symbol)
    }

    /// How many sessions follow a symbol.
    pub(crate) fn followers(&self, symbol: &Symbol) -> Result<u64> {
        Ok(self.ctx.sessions(&symbol.topic()).count()?)
    }

    /// Whether the next step of a walk has its timer already.
    pub(crate) fn is_walking(&self, symbol: &Symbol) -> Result<bool> {
        Ok(self.ctx.timer_due_ms(&timer_of(symbol))?.is_some())
    }

    /// Sets the timer for the next step of a walk, or takes it away when there will be none.
    pub(crate) fn go_on(&self, symbol: &Symbol, quote: &Quote) -> Result<()> {
        let every_ms = self.settings.tick_ms;
        // So that not all prices change in the same moment.
        let phase_ms = self.chance(symbol).next() % every_ms;
        match quote.next_step_ms(every_ms, phase_ms, self.now) {
            Some(delay_ms) => Ok(self.ctx.set_timer(&timer_of(symbol), delay_ms)?),
            None => self.rest(symbol),
        }
    }

    /// There will be no next step.
    fn rest(&self, symbol: &Symbol) -> Result<()> {
        Ok(self.ctx.cancel_timer(&timer_of(symbol))?)
    }

    /// A symbol has given way. One that was listed meanwhile keeps its price.
    fn forget(&self, symbol: &Symbol) -> Result<()> {
        if !self.is_listed(symbol) {
            self.quotes.delete(symbol.as_str())?;
            self.tapes.delete(symbol.as_str())?;
        }
        Ok(())
    }

    fn is_listed(&self, symbol: &Symbol) -> bool {
        self.settings.symbols.contains_key(symbol)
    }

    fn begin(&self, symbol: &Symbol, price: Price) -> Quote {
        Quote::new(price, self.chance(symbol), self.now)
    }

    fn chance(&self, symbol: &Symbol) -> Chance {
        Chance::of(self.settings.seed, symbol.as_str())
    }
}

/// The symbol whose walk a timer is for.
pub(crate) fn symbol_of(timer: &str) -> Result<Symbol> {
    let symbol = timer.strip_prefix(TIMER).unwrap_or(timer).to_owned();
    Symbol::try_from(symbol).map_err(|problem| fail(format!("timer {timer:?}: {problem}")))
}

fn timer_of(symbol: &Symbol) -> String {
    format!("{TIMER}{symbol}")
}
