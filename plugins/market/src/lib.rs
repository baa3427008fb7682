//! A market ticker: prices of symbols that move while somebody follows them, or come from a real feed.
//!
//! All that the market knows is kept in the plugin's state, so that a trap or a reload loses nothing.

mod board;
mod chance;
mod feed;
mod others;
mod price;
mod quote;
mod refusal;
mod settings;
mod symbol;
mod tape;
mod tick;
mod walk;

use board::Board;
use feed::Fed;
use refusal::Refusal;
use rialto_plugin::prelude::*;
use serde::Serialize;
use settings::{FeedFrom, Settings};
use symbol::{Place, Symbol};
use tick::{Snapshot, Tick};

/// The market plugin. Prices of a symbol are read on `market.{symbol}` and written to `feed.{symbol}`.
///
/// A follower first gets a frame `{"type":"x-snapshot","topic":…,"data":{"tick":…,"tail":[[time,price],…]}}`, then ticks
/// `{"symbol":"SALT","price":4.87,"change":0.02,"percent":0.41,"time":…}`: changes are since the last price of the day
/// before (in UTC). Only symbols that someone follows move; a walk goes on from the last price, however long ago that
/// was. A price that is published to `feed.{symbol}`, as a number or as `{"price":4.9}`, becomes a tick, and the walk of
/// that symbol rests. `symbols` lists what is traded. Symbols that the operator did not list begin when someone follows
/// them, and clients share the places for those. Rejections carry their kind in the detail.
#[derive(Debug, Default)]
pub struct Market {
    settings: Settings,
}

#[derive(Serialize)]
struct Symbols<'a> {
    symbols: Vec<Tick<'a>>,
}

impl Plugin for Market {
    fn start(&mut self, _: &mut Context, config: Config) -> Result<()> {
        self.settings = Settings::read(&config)?;
        Ok(())
    }

    fn serves(&self) -> Vec<String> {
        [
            "topic market.{symbol}: {\"symbol\",\"price\",\"change\",\"percent\",\"time\"}, at first the frame x-snapshot",
            "topic feed.{symbol}: publish a price, such as 4.9 or {\"price\":4.9}",
            "call symbols: {\"symbols\":[…]}",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn on_subscribe(&mut self, ctx: &mut Context, session: &Session, topic: &str) -> Result<()> {
        let Place::Market(symbol) = Place::of(topic)? else {
            let reason = "a feed is written, not read: its prices come on market.SYMBOL";
            return Err(Refusal::WriteOnly.because(reason));
        };
        let board = Board::open(ctx, &self.settings);
        let quote = board.follow(&symbol, session)?;
        // Not only for the first one: a timer that got lost is set again.
        if !board.is_walking(&symbol)? {
            board.go_on(&symbol, &quote)?;
        }
        let tape = board.tape(&symbol, &quote)?;
        Ok(ctx.send(session, &Snapshot::new(topic, quote.tick(&symbol), &tape))?)
    }

    fn on_unsubscribe(&mut self, ctx: &mut Context, session: &Session, topic: &str) -> Result<()> {
        let Place::Market(symbol) = Place::of(topic)? else { return Ok(()) };
        Board::open(ctx, &self.settings).leave(&symbol, session)
    }

    fn on_publish(&mut self, ctx: &mut Context, message: Message) -> Result<Verdict> {
        match Place::of(&message.topic)? {
            Place::Feed(symbol) => self.feed(ctx, &symbol, &message),
            Place::Market(_) => {
                Err(Refusal::ReadOnly.because("prices are read here: publish them to feed.SYMBOL instead"))
            }
        }
    }

    fn on_call(&mut self, ctx: &mut Context, call: Call) -> Result<Reply> {
        match call.method.as_str() {
            "symbols" => self.symbols(ctx, &call),
            other => {
                let reason = format!("unknown method {other:?}: the market has \"symbols\"");
                Err(Refusal::UnknownMethod.because(reason))
            }
        }
    }

    fn on_timer(&mut self, ctx: &mut Context, timer: Timer) -> Result<()> {
        let symbol = board::symbol_of(&timer.name)?;
        let board = Board::open(ctx, &self.settings);
        if board.followers(&symbol)? == 0 {
            // The hook that should have said so came to nothing.
            return board.close(&symbol);
        }
        let Some(mut quote) = board.find(&symbol)? else { return Ok(()) };
        if !quote.is_resting(board.now()) {
            let swing = u32::try_from(self.settings.swing).expect("the settings have bounds");
            quote.walk(swing, board.now());
            board.tell(&symbol, &quote)?;
        }
        board.go_on(&symbol, &quote)
    }
}

impl Market {
    /// A price from outside. The message itself goes nowhere: what it says goes out as a tick.
    fn feed(&self, ctx: &Context, symbol: &Symbol, message: &Message) -> Result<Verdict> {
        if message.session.is_some() && self.settings.feed_from == FeedFrom::Programs {
            return Err(Refusal::NotAFeed.because("only programs of the operator may feed prices"));
        }
        let price = message.data::<Fed>()?.price()?;
        let board = Board::open(ctx, &self.settings);
        let Some(mut quote) = board.find(symbol)? else {
            return Err(Refusal::UnknownSymbol.because(format!("{symbol} is not traded here")));
        };
        quote.feed(price, self.settings.feed_ms, board.now());
        board.tell(symbol, &quote)?;
        match board.followers(symbol)? {
            0 => board.close(symbol)?,
            _ => board.go_on(symbol, &quote)?,
        }
        Ok(Verdict::Swallow)
    }

    fn symbols(&self, ctx: &Context, call: &Call) -> Result<Reply> {
        let all = Board::open(ctx, &self.settings).all()?;
        let symbols = all.iter().map(|(symbol, quote)| quote.tick(symbol)).collect();
        Ok(call.reply(&Symbols { symbols })?)
    }
}

rialto_plugin::export!(Market, needs: ["sessions", "state", "timers"]);
