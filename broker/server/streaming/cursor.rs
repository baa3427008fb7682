//! The id of an event: how far a stream has come in all of its topics, so that the id of the last event is all that a client
//! needs to go on (WHATWG HTML section 9.2). Clients keep it and understand nothing of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rialto_protocol::Position;

/// The first byte: what follows is written as it is here.
const FORM: u8 = 1;

/// The position of each topic, in the order of the stream's topics; none where nothing is known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    topics: Vec<(Mark, Option<Position>)>,
}

/// What stands for a topic: short, and the same whatever the order and number of the topics that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark([u8; 3]);

impl Cursor {
    pub(super) fn new(topics: &[String]) -> Self {
        Self { topics: topics.iter().map(|topic| (Mark::of(topic), None)).collect() }
    }

    /// Takes the positions out of the id of an event. None for what is no such id.
    pub(super) fn recall(&mut self, id: &str) -> Option<()> {
        let bytes = BASE64.decode(id).ok()?;
        let mut rest = bytes.strip_prefix(&[FORM])?;
        while !rest.is_empty() {
            let (mark, behind) = rest.split_first_chunk()?;
            let (length, behind) = behind.split_first()?;
            let (epoch, behind) = behind.split_at_checked((*length).into())?;
            let epoch = std::str::from_utf8(epoch).ok()?;
            let (offset, behind) = read_number(behind)?;
            let mark = Mark(*mark);
            // Topics that are no longer asked for are left out. Two that have the same mark stand in the same order.
            let free = self.topics.iter_mut().find(|(known, position)| *known == mark && position.is_none());
            if let Some((_, position)) = free {
                *position = Some(Position { epoch: epoch.into(), offset });
            }
            rest = behind;
        }
        Some(())
    }

    pub(super) fn position(&self, place: usize) -> Option<&Position> {
        self.topics[place].1.as_ref()
    }

    pub(super) fn set(&mut self, place: usize, position: Position) {
        self.topics[place].1 = Some(position);
    }

    /// The id of an event after which the stream stands here.
    pub(super) fn id(&self) -> String {
        let mut bytes = vec![FORM];
        for (Mark(mark), position) in &self.topics {
            let Some(Position { epoch, offset }) = position else { continue };
            // Longer epochs there are none; without its position the topic would begin anew.
            let Ok(length) = u8::try_from(epoch.len()) else { continue };
            bytes.extend(mark);
            bytes.push(length);
            bytes.extend(epoch.as_bytes());
            write_number(&mut bytes, *offset);
        }
        BASE64.encode(bytes)
    }
}

impl Mark {
    /// Three bytes of the FNV-1a hash.
    fn of(topic: &str) -> Self {
        let hash = topic.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let [a, b, c, d] = hash.to_be_bytes();
        Self([a ^ d, b, c])
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7f).checked_shl(7 * place as u32)?;
        if byte & 0x80 == 0 {
            return Some((number, &bytes[place + 1..]));
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
    fn an_id_brings_back_the_positions_of_the_topics_that_are_still_asked_for() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut cursor = Cursor::new(&names(&["a", "chat.lobby", "c", "d"]));
        for (place, offset) in [(0, 0), (1, 300), (3, u64::MAX)] {
            cursor.set(place, position("s2puzmhh", offset));
        }
        let mut same = Cursor::new(&names(&["a", "chat.lobby", "c", "d"]));
        assert_eq!(same.recall(&cursor.id()), Some(()));
        assert_eq!(same, cursor);
        let mut other = Cursor::new(&names(&["d", "new", "chat.lobby"]));
        assert_eq!(other.recall(&cursor.id()), Some(()));
        let offsets: Vec<_> = (0..3).map(|place| other.position(place).map(|position| position.offset)).collect();
        assert_eq!(offsets, [Some(u64::MAX), None, Some(300)]);
        assert!(Cursor::new(&names(&["a"])).id().len() < 4);
    }

    #[test]
    fn what_is_no_id_is_refused_wherever_it_is_cut() {
        let mut cursor = Cursor::new(&["a".to_owned()]);
        cursor.set(0, position("s2puzmhh", 1_000));
        let whole = BASE64.decode(cursor.id()).expect("base64");
        for cut in (0..whole.len()).filter(|cut| *cut != 1) {
            assert_eq!(cursor.clone().recall(&BASE64.encode(&whole[..cut])), None, "{cut}");
        }
        for text in ["5", "!", "Aw", "AQ==", "s2puzmhh:5"] {
            assert_eq!(cursor.clone().recall(text), None, "{text}");
        }
    }
}
