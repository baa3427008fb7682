//! A cache of conflation keys, so that each key of a message is extracted once per turn, however many sessions need it.

use rialto_protocol::{Key, Pointer};
use rustc_hash::FxHashMap;

use crate::hub::StreamId;
use crate::message::Message;

/// The keys that were extracted in one turn.
#[derive(Default)]
pub(in crate::hub) struct ConflationKeys {
    found: FxHashMap<(StreamId, u64, Pointer), Key>,
}

impl ConflationKeys {
    /// The value of a message's field.
    pub(in crate::hub) fn of(&mut self, message: &Message, field: &Pointer) -> Key {
        let place = (message.stream, message.offset, field.clone());
        self.found.entry(place).or_insert_with(|| Key::of(&message.payload, field)).clone()
    }

    pub(in crate::hub) fn clear(&mut self) {
        self.found.clear();
    }
}
