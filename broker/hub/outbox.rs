//! A session's outbox: frames that wait for the socket. It decides order and counts bytes; it has no clock and no socket.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Deref;
use std::rc::Rc;

use bytes::Bytes;

/// Whole frames, shared by all sessions of a shard that get them.
#[derive(Clone, Debug)]
pub(super) enum Chunk {
    /// Frames of messages: the reference count is the shard's own, so sharing costs no atomic operation.
    Messages(Rc<Bytes>),
    /// A frame for this session alone.
    Own(Bytes),
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Messages(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    /// Everything is written.
    Done,
    /// The socket takes no more at the moment.
    Full,
    /// The socket is gone.
    Broken,
}

/// Frames on their way to one session: control frames first, then messages, each lane in order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// What the socket took only a part of: nothing may come between.
    started: Option<(Chunk, usize)>,
    control: VecDeque<Bytes>,
    messages: VecDeque<Chunk>,
    control_bytes: usize,
    message_bytes: usize,
}

/// How many chunks one write may gather.
const SLICES_MAX: usize = 64;

impl Outbox {
    /// Queues a frame that passes all waiting messages.
    pub(super) fn push_control(&mut self, frame: Bytes) {
        self.control_bytes += frame.len();
        self.control.push_back(frame);
    }

    /// Queues frames in the order of the messages.
    pub(super) fn push_messages(&mut self, chunk: Chunk) {
        self.message_bytes += chunk.len();
        self.messages.push_back(chunk);
    }

    /// Bytes of messages that wait, the rest of one that was begun included.
    pub(super) fn message_bytes(&self) -> usize {
        let begun = self.started.as_ref().map_or(0, |(chunk, written)| chunk.len() - written);
        self.message_bytes + begun
    }

    /// Bytes of control frames that wait.
    pub(super) fn control_bytes(&self) -> usize {
        self.control_bytes
    }

    /// Drops the messages that wait; what the socket took a part of stays.
    pub(super) fn drop_messages(&mut self) {
        self.messages = VecDeque::new();
        self.message_bytes = 0;
    }

    /// Writes until everything is written or the socket is full. `write` takes slices and says how many bytes it took.
    pub(super) fn flush(&mut self, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> Flush {
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = self.gather(&mut slices);
            if count == 0 {
                return Flush::Done;
            }
            match write(&slices[..count]) {
                Ok(0) => return Flush::Broken,
                Ok(written) => self.consume(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flush::Full,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Flush::Broken,
            }
        }
    }

    fn gather<'o>(&'o self, slices: &mut [IoSlice<'o>; SLICES_MAX]) -> usize {
        let started = self.started.iter().map(|(chunk, written)| &chunk[*written..]);
        let control = self.control.iter().map(|frame| &frame[..]);
        let messages = self.messages.iter().map(|chunk| &chunk[..]);
        let mut count = 0;
        for (slot, bytes) in slices.iter_mut().zip(started.chain(control).chain(messages)) {
            *slot = IoSlice::new(bytes);
            count += 1;
        }
        count
    }

    fn consume(&mut self, mut written: usize) {
        while written > 0 {
            let (chunk, before) = self.started.take().unwrap_or_else(|| (self.next(), 0));
            let left = chunk.len() - before;
            if written < left {
                self.started = Some((chunk, before + written));
                return;
            }
            written -= left;
        }
    }

    fn next(&mut self) -> Chunk {
        if let Some(frame) = self.control.pop_front() {
            self.control_bytes -= frame.len();
            return Chunk::Own(frame);
        }
        let chunk = self.messages.pop_front().expect("no more is written than was gathered");
        self.message_bytes -= chunk.len();
        chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(text: &str) -> Chunk {
        Chunk::Messages(Rc::new(Bytes::copy_from_slice(text.as_bytes())))
    }

    /// A socket that takes `room` bytes at once and is full after `writes` writes.
    fn flush(outbox: &mut Outbox, room: usize, writes: usize, wire: &mut String) -> Flush {
        let mut left = writes;
        outbox.flush(|slices| {
            if left == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            left -= 1;
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let taken = all.len().min(room);
            wire.push_str(std::str::from_utf8(&all[..taken]).expect("ascii"));
            Ok(taken)
        })
    }

    #[test]
    fn control_passes_messages_but_never_cuts_a_started_chunk() {
        let mut outbox = Outbox::default();
        let mut wire = String::new();
        outbox.push_messages(chunk("aaaa"));
        outbox.push_messages(chunk("bbbb"));
        assert_eq!(flush(&mut outbox, 3, 1, &mut wire), Flush::Full);
        outbox.push_control(Bytes::from_static(b"!"));
        assert_eq!(flush(&mut outbox, 100, 9, &mut wire), Flush::Done);
        assert_eq!(wire, "aaaa!bbbb");
        assert_eq!((outbox.message_bytes(), outbox.control_bytes()), (0, 0));
    }

    #[test]
    fn every_byte_arrives_in_order_whatever_the_socket_takes() {
        for room in 1..40 {
            let mut outbox = Outbox::default();
            let mut wire = String::new();
            let mut expected = String::new();
            for index in 0..200 {
                let text = format!("<{index}>");
                outbox.push_messages(chunk(&text));
                expected.push_str(&text);
                if index % 7 == 0 {
                    flush(&mut outbox, room, 1, &mut wire);
                }
            }
            while flush(&mut outbox, room, 5, &mut wire) == Flush::Full {}
            assert_eq!(wire, expected, "{room}");
            assert_eq!(outbox.message_bytes(), 0);
        }
    }

    #[test]
    fn dropping_messages_keeps_the_started_one_whole() {
        let mut outbox = Outbox::default();
        let mut wire = String::new();
        outbox.push_messages(chunk("aaaa"));
        outbox.push_messages(chunk("bbbb"));
        flush(&mut outbox, 2, 1, &mut wire);
        outbox.drop_messages();
        outbox.push_control(Bytes::from_static(b"close"));
        assert_eq!(flush(&mut outbox, 100, 9, &mut wire), Flush::Done);
        assert_eq!(wire, "aaaaclose");
    }

    #[test]
    fn a_socket_that_takes_nothing_is_broken() {
        let mut outbox = Outbox::default();
        outbox.push_messages(chunk("a"));
        assert_eq!(outbox.flush(|_| Ok(0)), Flush::Broken);
        assert_eq!(outbox.flush(|_| Err(io::ErrorKind::BrokenPipe.into())), Flush::Broken);
    }
}
