//! The kinds of rejections, by which a program tells them apart.

use rialto_plugin::prelude::*;
use serde::Serialize;

/// The detail of a rejection.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Refusal<'a> {
    /// A claim by a session that has not subscribed to the room.
    NotPresent,
    /// A name that nobody may have.
    InvalidName,
    /// A name that another member has.
    NameTaken { name: &'a str },
    /// A first claim in a room with as many members as there may be.
    RoomFull,
    /// A first claim, or a longer name, while the chat keeps as much as it may.
    ChatFull,
    /// A first claim of a client that has its share of what a nearly full chat keeps: a name in so many rooms.
    OverShare { limit: u64 },
    /// A message by a session without a name.
    NoName,
    /// A message without a visible text.
    Empty,
    /// A message with more characters than there may be.
    TooLong { length: usize, limit: u32 },
    /// A message with control characters.
    InvalidText,
    /// A call of a method that rooms do not have.
    UnknownMethod,
    /// A call to the plugin instead of a room.
    NoTopic,
}

impl Refusal<'_> {
    /// The rejection, with one sentence for a person.
    pub(crate) fn because(self, reason: impl Into<String>) -> Error {
        reject(reason).detail(&self)
    }

    /// The rejection by a chat that has so many names as there may be.
    pub(crate) fn full(limit: u32) -> Error {
        Self::ChatFull.because(format!("the chat is full: the limit is {limit} names in all rooms; try again later"))
    }

    /// The error of a write that was refused. A quota that is used up is none of the plugin's faults.
    pub(crate) fn of_write(refused: rialto_plugin::Refusal) -> Error {
        match refused {
            rialto_plugin::Refusal::Limit(_) => Self::ChatFull.because("the chat is full: try again later"),
            other => other.into(),
        }
    }
}
