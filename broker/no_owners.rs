//! Stands in for `owners.rs` where the feature `plugins` is off: no topic has an owner.

use std::convert::Infallible;
use std::sync::Arc;

use rialto_protocol::{Member, Payload};

use crate::answer::Answer;
use crate::broker::{Broker, Client, PluginStatus, Question, Wish};
use crate::directory::Entry;
use crate::engine::Keyed;
use crate::hub::SessionKey;
use crate::topic::Topic;

/// No plugins.
#[derive(Debug, Default)]
pub(crate) struct Owners;

/// A plugin that owns topics: there is none.
pub(crate) struct Owner(Infallible);

impl Owners {
    pub(crate) fn get(&self, _: &str) -> Option<&Owner> {
        None
    }

    pub(crate) fn status(&self) -> Vec<PluginStatus> {
        Vec::new()
    }

    pub(crate) fn signal_stop(&self) {}

    pub(crate) fn stop(&self) {}
}

impl Owner {
    pub(crate) fn publish(
        &self,
        _: &Broker,
        _: &Arc<Entry>,
        _: (Option<Member>, Option<SessionKey>),
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

    pub(crate) fn call(&self, _: &Broker, _: Option<Member>, _: Option<Arc<Entry>>, _: Question, _: Answer) {
        match self.0 {}
    }
}
