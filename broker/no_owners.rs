//! Stands in for `owners.rs` where the feature `plugins` is off: no topic has an owner.

use std::convert::Infallible;
use std::sync::Arc;

use rialto_protocol::Payload;

use crate::answer::Answer;
use crate::broker::{Broker, Question, Wish};
use crate::client::Client;
use crate::directory::Entry;
use crate::engine::Keyed;
use crate::hub::{SessionKey, UnderWay};
use crate::topic::Topic;

/// No plugins.
#[derive(Debug, Default)]
pub(crate) struct Owners;

/// A message of a socket on a raw endpoint.
#[derive(Debug)]
#[allow(dead_code, reason = "nobody is there to take it")]
pub(crate) enum Bare {
    Text(String),
    Binary(Vec<u8>),
}

/// A plugin that owns topics: there is none.
pub(crate) struct Owner(Infallible);

impl Owners {
    pub(crate) fn get(&self, _: &str) -> Option<Arc<Owner>> {
        None
    }

    pub(crate) fn signal_stop(&self) {}

    pub(crate) fn stop(&self) {}
}

impl Owner {
    pub(crate) fn publish(
        &self,
        _: &Broker,
        _: &Arc<Entry>,
        _: (Option<&Client>, Option<SessionKey>, u8),
        _: Payload,
        _: Option<Keyed>,
        _: Answer,
    ) {
        match self.0 {}
    }

    pub(crate) fn subscribe(&self, _: &Broker, _: Arc<Entry>, _: &Client, _: Wish, _: Answer) {
        match self.0 {}
    }

    pub(crate) fn unsubscribe(&self, _: &Broker, _: &Topic, _: &Client, _: Option<Answer>) {
        match self.0 {}
    }

    pub(crate) fn is_down(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn has_let_in(&self, _: &Topic, _: &str) -> bool {
        match self.0 {}
    }

    pub(crate) fn connect(&self, _: &Broker, _: &Client, _: &Arc<str>) -> Result<(), String> {
        match self.0 {}
    }

    pub(crate) fn message(&self, _: &Broker, _: &Client, _: &Arc<str>, _: Bare, _: UnderWay) -> Result<(), Bare> {
        match self.0 {}
    }

    pub(crate) fn disconnect(&self, _: &Broker, _: &Client, _: &Arc<str>) {
        match self.0 {}
    }

    pub(crate) fn call(&self, _: &Broker, _: Option<&Client>, _: Option<Arc<Entry>>, _: Question, _: Answer) {
        match self.0 {}
    }
}
