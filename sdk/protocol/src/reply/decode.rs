//! Decodes a reply from either codec. Only the client that sent the request knows which kind of reply it is.

use std::sync::Arc;

use crate::entries::{Entries, FrameError};
use crate::frame::{failure, info, needed, position, present, publisher, rates, topic};
use crate::{Answered, Failure, Past, PastMessage, Payload, Present, Published, RequestRates, Subscribed};

/// What an `ok` carries, not interpreted yet.
#[derive(Clone, Debug)]
pub struct Answer<'b>(Entries<'b>);

/// The outcome of one topic of a `subscribe`: the topic and why, where it was refused.
pub type Outcome = Result<Subscribed, (Arc<str>, Failure)>;

/// Who the session is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// Who it authenticated as.
    pub user: Option<Arc<str>>,
    /// The user as one token of a topic, where a topic rule has `{user}`.
    pub user_token: Option<Arc<str>>,
    /// What others see of the user beside the name.
    pub info: Option<Arc<Payload>>,
    /// When its token runs out, Unix milliseconds.
    pub expires_at: Option<u64>,
    /// How much it may ask for in a second.
    pub rates: RequestRates,
}

impl<'b> Answer<'b> {
    pub(crate) fn new(entries: Entries<'b>) -> Self {
        Self(entries)
    }

    /// The answer to `connect`.
    ///
    /// # Errors
    /// As all readings: a field is missing or of another kind.
    pub fn connected(&self) -> Result<Connected, FrameError> {
        let user = self.0.text_or_null("user")?.map(|user| Arc::from(&*user));
        let user_token = self.0.text("user_token")?.map(|token| Arc::from(&*token));
        let (info, expires_at) = (info(&self.0)?, self.0.number("expires_at")?);
        Ok(Connected { user, user_token, info, expires_at, rates: rates(&self.0)? })
    }

    /// The answer to `subscribe`: the outcome of each topic in the order of the request.
    ///
    /// # Errors
    /// See [`Answer::connected`].
    pub fn subscribed(&self) -> Result<Vec<Outcome>, FrameError> {
        let each = |item: &Entries<'_>| match item.map("error")? {
            Some(error) => Ok(Err((topic(item)?, failure(&error)?))),
            None => subscribed(item).map(Ok),
        };
        match self.0.each("topics", each)? {
            Some(outcomes) => Ok(outcomes),
            None => Ok(vec![Ok(subscribed(&self.0)?)]),
        }
    }

    /// The answer to `publish`.
    ///
    /// # Errors
    /// See [`Answer::connected`].
    pub fn published(&self) -> Result<Published, FrameError> {
        Ok(Published { position: position(&self.0)?, duplicate: self.is_duplicate()? })
    }

    /// The answer to `call`.
    ///
    /// # Errors
    /// See [`Answer::connected`].
    pub fn answered(&self) -> Result<Answered, FrameError> {
        Ok(Answered { payload: self.0.payload()?, duplicate: self.is_duplicate()? })
    }

    /// The answer to `history`.
    ///
    /// # Errors
    /// See [`Answer::connected`].
    pub fn past(&self) -> Result<Past, FrameError> {
        let message = |item: &Entries<'_>| {
            Ok(PastMessage {
                offset: needed("offset", item.number("offset"))?,
                time: needed("time", item.number("time"))?,
                from: publisher(item)?,
                payload: needed("data", item.payload())?,
            })
        };
        Ok(Past {
            messages: needed("messages", self.0.each("messages", message))?,
            position: needed("position", position(&self.0))?,
            more: self.0.flag("more")?.unwrap_or(false),
        })
    }

    /// The answer to `presence`.
    ///
    /// # Errors
    /// See [`Answer::connected`].
    pub fn present(&self) -> Result<Present, FrameError> {
        needed("count", present(&self.0))
    }

    fn is_duplicate(&self) -> Result<bool, FrameError> {
        Ok(self.0.flag("duplicate")?.unwrap_or(false))
    }
}

fn subscribed(entries: &Entries<'_>) -> Result<Subscribed, FrameError> {
    Ok(Subscribed {
        topic: topic(entries)?,
        position: position(entries)?,
        recovered: entries.flag("recovered")?,
        more: entries.flag("more")?,
        present: present(entries)?,
    })
}
