//! How many names are kept for each client and for all, which bounds what the chat keeps.

use crate::refusal::Refusal;
use rialto_plugin::prelude::*;
use rialto_plugin::shares::{Client, share};

/// When the chat is nearly full, a client may have this part of what is free: so few that it takes thousands to fill it.
const SHARE_PARTS: u64 = 1000;

/// The key of the only entry that counts all names.
const ALL: &str = "names";

/// The numbers of names in all rooms. A name is counted as long as it is kept.
pub(crate) struct Holdings<'a> {
    /// By client.
    clients: State<'a, u32>,
    totals: State<'a, u32>,
}

impl<'a> Holdings<'a> {
    pub(crate) fn open(ctx: &Context<'a>) -> Self {
        Self { clients: ctx.state("clients"), totals: ctx.state("totals") }
    }

    /// Counts one more name of a client, of at most `limit` in all, or says why there is none for it.
    pub(crate) fn take(&self, client: &Client, limit: u32) -> Result<()> {
        let (held, total) = (self.held(client)?, self.total()?);
        if total >= limit {
            return Err(Refusal::full(limit));
        }
        let share = share(limit.into(), total.into(), SHARE_PARTS);
        if u64::from(held) >= share {
            let reason = format!(
                "the chat is nearly full: you may have a name in {share} of its rooms now and have one in {held}; leave \
                 a room first"
            );
            return Err(Refusal::OverShare { limit: share }.because(reason));
        }
        self.clients.put(client.as_str(), &(held + 1)).map_err(Refusal::of_write)?;
        self.totals.put(ALL, &(total + 1)).map_err(Refusal::of_write)
    }

    /// Counts one name of a client less.
    pub(crate) fn give_back(&self, client: &Client) -> Result<()> {
        match self.held(client)? {
            0 | 1 => self.clients.delete(client.as_str())?,
            held => self.clients.put(client.as_str(), &(held - 1))?,
        }
        Ok(self.totals.put(ALL, &self.total()?.saturating_sub(1))?)
    }

    fn held(&self, client: &Client) -> Result<u32> {
        Ok(self.clients.get(client.as_str())?.unwrap_or_default())
    }

    fn total(&self) -> Result<u32> {
        Ok(self.totals.get(ALL)?.unwrap_or_default())
    }
}
