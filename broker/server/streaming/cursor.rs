//! The id of an event: the position of a stream in all of its topics, so that `Last-Event-ID` is all that a client needs to
//! resume (WHATWG HTML section 9.2). It is opaque to clients.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rialto_protocol::Position;

/// The first byte: the version of the format.
const FORMAT: u8 = 1;

/// The position in each topic, in the order of the stream's topics; none where it is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    topics: Vec<(TopicHash, Option<Position>)>,
}

/// A short hash of a topic name, independent of the order and number of the topics that are requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TopicHash([u8; 3]);

impl Cursor {
    pub(super) fn new(topics: &[String]) -> Self {
        Self { topics: topics.iter().map(|topic| (TopicHash::of(topic), None)).collect() }
    }

    /// Restores the positions from the id of an event. None if it is not such an id.
    pub(super) fn restore(&mut self, id: &str) -> Option<()> {
        let bytes = BASE64.decode(id).ok()?;
        let mut rest = bytes.strip_prefix(&[FORMAT])?;
        while !rest.is_empty() {
            let (hash, behind) = rest.split_first_chunk()?;
            let (length, behind) = behind.split_first()?;
            let (epoch, behind) = behind.split_at_checked((*length).into())?;
            let epoch = std::str::from_utf8(epoch).ok()?;
            let (offset, behind) = read_number(behind)?;
            let hash = TopicHash(*hash);
            // Topics that are no longer requested are skipped. Two with the same hash keep their order.
            let free = self.topics.iter_mut().find(|(known, position)| *known == hash && position.is_none());
            if let Some((_, position)) = free {
                *position = Some(Position { epoch: epoch.into(), offset });
            }
            rest = behind;
        }
        Some(())
    }

    pub(super) fn position(&self, index: usize) -> Option<&Position> {
        self.topics[index].1.as_ref()
    }

    pub(super) fn set(&mut self, index: usize, position: Position) {
        self.topics[index].1 = Some(position);
    }

    /// The id of an event that leads to these positions.
    pub(super) fn id(&self) -> String {
        let mut bytes = vec![FORMAT];
        for (TopicHash(hash), position) in &self.topics {
            let Some(Position { epoch, offset }) = position else { continue };
            // No epoch is longer; a topic without a position would start anew.
            let Ok(length) = u8::try_from(epoch.len()) else { continue };
            bytes.extend(hash);
            bytes.push(length);
            bytes.extend(epoch.as_bytes());
            write_number(&mut bytes, *offset);
        }
        BASE64.encode(bytes)
    }
}

impl TopicHash {
    /// Three bytes of the FNV-1a hash.
    fn of(topic: &str) -> Self {
        let hash = topic.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let [a, b, c, d] = hash.to_be_bytes();
        Self([a ^ d, b, c])
    }
}

/// LEB128: seven bits a byte, the lowest first; the highest bit says that more follow.
fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7f).checked_shl(7 * index as u32)?;
        if byte & 0x80 == 0 {
            return Some((number, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(epoch: &str, offset: u64) -> Position {
        Position { epoch: epoch.into(), offset }
    }

    #[test]
    fn an_id_restores_the_positions_of_the_topics_that_are_still_requested() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut cursor = Cursor::new(&names(&["a", "chat.lobby", "c", "d"]));
        for (index, offset) in [(0, 0), (1, 300), (3, u64::MAX)] {
            cursor.set(index, position("s2puzmhh", offset));
        }
        let mut same = Cursor::new(&names(&["a", "chat.lobby", "c", "d"]));
        assert_eq!(same.restore(&cursor.id()), Some(()));
        assert_eq!(same, cursor);
        let mut other = Cursor::new(&names(&["d", "new", "chat.lobby"]));
        assert_eq!(other.restore(&cursor.id()), Some(()));
        let offsets: Vec<_> = (0..3).map(|index| other.position(index).map(|position| position.offset)).collect();
        assert_eq!(offsets, [Some(u64::MAX), None, Some(300)]);
        assert!(Cursor::new(&names(&["a"])).id().len() < 4);
    }

    #[test]
    fn truncated_and_foreign_ids_are_rejected() {
        let mut cursor = Cursor::new(&["a".to_owned()]);
        cursor.set(0, position("s2puzmhh", 1_000));
        let whole = BASE64.decode(cursor.id()).expect("base64");
        for cut in (0..whole.len()).filter(|cut| *cut != 1) {
            assert_eq!(cursor.clone().restore(&BASE64.encode(&whole[..cut])), None, "{cut}");
        }
        for text in ["5", "!", "Aw", "AQ==", "s2puzmhh:5"] {
            assert_eq!(cursor.clone().restore(text), None, "{text}");
        }
    }
}
