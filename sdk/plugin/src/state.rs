//! Typed tables in the plugin's key-value state.

use crate::error::{Error, Result, fail};
use crate::imports::{Entry, Imports, Refusal};
use crate::payload::{Encoding, Payload};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

/// How many entries one host call of a [`Scan`] asks for.
const SCAN_PAGE_ENTRIES: u32 = 1000;

/// One table of the plugin's state. Reads see the writes of the same hook.
///
/// The state is one map from text to bytes. An entry lies under the table's name, a line feed and the entry's key
/// (`members` and `ada` make `members\nada`), at most 1,024 bytes in all; a table's name has no line feed. The value is
/// MessagePack with field names, which keeps every number exact and lets later versions add fields with
/// `#[serde(default)]`.
///
/// ```
/// use rialto_plugin::prelude::*;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Account { cents: u64 }
///
/// fn pay(ctx: &Context, id: &str, cents: u64) -> Result<()> {
///     let accounts = ctx.state::<Account>("accounts");
///     let mut account = accounts.get(id)?.ok_or_else(|| reject("no such account"))?;
///     account.cents += cents;
///     accounts.put(id, &account)?;
///     Ok(())
/// }
/// ```
pub struct State<'a, T> {
    imports: &'a dyn Imports,
    table: &'a str,
    values: PhantomData<fn(T) -> T>,
}

impl<'a, T> State<'a, T> {
    pub(crate) fn new(imports: &'a dyn Imports, table: &'a str) -> Self {
        Self { imports, table, values: PhantomData }
    }

    /// Removes an entry, if it exists.
    ///
    /// # Errors
    /// When the capability `state` is missing.
    pub fn delete(&self, key: &str) -> Result<(), Refusal> {
        self.imports.delete(&state_key(self.table, key))
    }
}

impl<T: Serialize> State<'_, T> {
    /// Writes an entry.
    ///
    /// # Errors
    /// When the key is too long, a quota is used up, or the value cannot be encoded.
    pub fn put(&self, key: &str, value: &T) -> Result<(), Refusal> {
        if self.table.is_empty() || self.table.contains('\n') {
            return Err(Refusal::Invalid(format!("table name {:?}: empty, or with a line feed", self.table)));
        }
        let payload = Payload::msgpack(value).map_err(|error| Refusal::Invalid(error.to_string()))?;
        self.imports.put(&state_key(self.table, key), payload.content)
    }
}

impl<'a, T: DeserializeOwned> State<'a, T> {
    /// Reads an entry.
    ///
    /// # Errors
    /// A failure when what lies there is not a `T`, such as after an incompatible new version of the plugin.
    pub fn get(&self, key: &str) -> Result<Option<T>> {
        match self.imports.get(&state_key(self.table, key))? {
            Some(content) => decode(self.table, key, content).map(Some),
            None => Ok(None),
        }
    }

    /// All entries whose keys begin with `prefix`, in byte order of their keys, fetched page by page as they are
    /// needed. A page is 1,000 entries and one host call; all that is fetched counts towards the hook's transfer limit.
    pub fn scan(&self, prefix: &str) -> Scan<'a, T> {
        Scan {
            state: State::new(self.imports, self.table),
            prefix: prefix.to_owned(),
            page: Vec::new().into_iter(),
            after: None,
            finished: false,
        }
    }

    /// At most `limit` entries whose keys begin with `prefix`, in byte order, strictly after the key `after`.
    ///
    /// # Errors
    /// As [`State::get`].
    pub fn page(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<(String, T)>> {
        self.fetch(prefix, after, limit)?
            .into_iter()
            .map(|(key, content)| decode(self.table, &key, content).map(|value| (key, value)))
            .collect()
    }

    fn fetch(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<Entry>, Refusal> {
        let after = after.map(|key| state_key(self.table, key));
        let mut entries = self.imports.scan(&state_key(self.table, prefix), after.as_deref(), limit)?;
        for (key, _) in &mut entries {
            key.drain(..=self.table.len());
        }
        Ok(entries)
    }
}

/// The entries of [`State::scan`].
pub struct Scan<'a, T> {
    state: State<'a, T>,
    prefix: String,
    page: std::vec::IntoIter<(String, Vec<u8>)>,
    after: Option<String>,
    finished: bool,
}

impl<T: DeserializeOwned> Iterator for Scan<'_, T> {
    type Item = Result<(String, T)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0 && !self.finished {
            let entries = match self.state.fetch(&self.prefix, self.after.as_deref(), SCAN_PAGE_ENTRIES) {
                Ok(entries) => entries,
                Err(refusal) => {
                    self.finished = true;
                    return Some(Err(refusal.into()));
                }
            };
            self.finished = entries.len() < SCAN_PAGE_ENTRIES as usize;
            self.after = entries.last().map(|(key, _)| key.clone());
            self.page = entries.into_iter();
        }
        let (key, content) = self.page.next()?;
        Some(decode(self.state.table, &key, content).map(|value| (key, value)))
    }
}

pub(crate) fn state_key(table: &str, key: &str) -> String {
    [table, "\n", key].concat()
}

fn decode<T: DeserializeOwned>(table: &str, key: &str, content: Vec<u8>) -> Result<T, Error> {
    Payload { encoding: Encoding::Msgpack, content }
        .decode()
        .map_err(|error| fail(format!("state {table:?}, key {key:?}: {error}")))
}
