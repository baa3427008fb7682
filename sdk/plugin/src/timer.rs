//! A timer that is due.

use crate::payload::{DecodeError, Payload};
use serde::de::DeserializeOwned;

/// A timer that this plugin has set, and that is now due.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timer {
    /// Its name.
    pub name: String,
    /// What it was set with, if with anything.
    pub payload: Option<Payload>,
}

impl Timer {
    /// A timer as a host hands it to [`Plugin::on_timer`](crate::Plugin::on_timer).
    pub fn new(name: impl Into<String>, payload: Option<Payload>) -> Self {
        Self { name: name.into(), payload }
    }

    /// Reads what it was set with.
    ///
    /// # Errors
    /// When it was set with nothing, or that is not a `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        match &self.payload {
            Some(payload) => payload.decode(),
            None => Err(DecodeError(format!("the timer {:?} was set without data", self.name))),
        }
    }
}
