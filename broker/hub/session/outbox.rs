//! A session's outbox: frames queued for the socket. It decides the order and counts bytes; it has no clock and no socket.

use std::io::{self, IoSlice};
use std::ops::Deref;
use std::rc::Rc;

use bytes::Bytes;

use super::batch::Batch;
use crate::collections::small_queue::SmallQueue;
use crate::hub::StreamId;
use crate::message::SharedMessage;

/// Whole frames that keep their order.
#[derive(Clone, Debug)]
pub(in crate::hub) enum Chunk {
    /// Messages that other sessions receive too. Shared on one thread, so no atomic operation is needed.
    Batch(Rc<Batch>),
    /// A frame for this session alone.
    One(Bytes),
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Batch(batch) => &batch.bytes,
            Self::One(bytes) => bytes,
        }
    }
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) enum Flush {
    /// Everything is written.
    Done,
    /// The socket is full.
    Full,
    /// The socket is broken.
    Broken,
}

/// Frames on their way to one session: control frames first, then messages, each lane in order.
#[derive(Debug, Default)]
pub(in crate::hub) struct Outbox {
    /// A partly written chunk, which has to be finished first.
    started: Option<(Chunk, usize)>,
    control: SmallQueue<Bytes>,
    messages: SmallQueue<Chunk>,
    control_bytes: usize,
    message_bytes: usize,
}

/// How many chunks one write may gather.
const SLICES_MAX: usize = 64;

impl Outbox {
    /// Queues a control frame, which is sent before all queued messages.
    pub(in crate::hub) fn push_control(&mut self, frame: Bytes) {
        self.control_bytes += frame.len();
        self.control.push(frame);
    }

    /// Queues a pong. Of several queued one after the other only the last is sent (RFC 6455 section 5.5.3).
    pub(in crate::hub) fn push_pong(&mut self, frame: Bytes) {
        match self.control.last_mut() {
            Some(last) if last.first() == frame.first() => {
                self.control_bytes = self.control_bytes - last.len() + frame.len();
                *last = frame;
            }
            _ => self.push_control(frame),
        }
    }

    /// Queues frames in the order of the messages.
    pub(in crate::hub) fn push_messages(&mut self, chunk: Chunk) {
        self.message_bytes += chunk.len();
        self.messages.push(chunk);
    }

    /// Bytes of queued messages, including the rest of a partly written one.
    pub(in crate::hub) fn message_bytes(&self) -> usize {
        let begun = self.started.as_ref().map_or(0, |(chunk, written)| chunk.len() - written);
        self.message_bytes + begun
    }

    /// Whether more than `bytes_max` is queued, not counting a single partly written frame.
    pub(in crate::hub) fn is_over(&self, bytes_max: usize) -> bool {
        let one_frame = self.messages.is_empty() && matches!(self.started, Some((Chunk::One(_), _)));
        self.message_bytes() > bytes_max && !one_frame
    }

    /// Bytes of memory of this outbox, as if nothing of it were shared.
    pub(in crate::hub) fn held_bytes(&self) -> usize {
        let begun = self.started.as_ref().map_or(0, |(chunk, _)| chunk.len());
        self.message_bytes + begun + self.control_bytes
    }

    /// Bytes of queued control frames.
    pub(in crate::hub) fn control_bytes(&self) -> usize {
        self.control_bytes
    }

    /// Drops everything but a partly written frame.
    pub(in crate::hub) fn drop_all(&mut self) {
        self.drop_messages();
        self.control = SmallQueue::default();
        self.control_bytes = 0;
    }

    /// Drops the queued messages, but not a partly written frame.
    pub(in crate::hub) fn drop_messages(&mut self) {
        self.cut_started();
        self.messages = SmallQueue::default();
        self.message_bytes = 0;
    }

    /// Removes the queued messages of the streams that `may` selects, by stream and in order. Their batches must have
    /// kept them.
    pub(in crate::hub) fn take_back(&mut self, may: impl Fn(StreamId) -> bool) -> Vec<(StreamId, Vec<SharedMessage>)> {
        let mut taken = Vec::new();
        if let Some((Chunk::Batch(batch), _)) = &self.started
            && may(batch.stream)
        {
            let batch = Rc::clone(batch);
            let begun = self.cut_started();
            taken.push((batch.stream, batch.after(begun)));
        }
        for chunk in self.messages.take() {
            match chunk {
                Chunk::Batch(batch) if may(batch.stream) => {
                    self.message_bytes -= batch.bytes.len();
                    taken.push((batch.stream, batch.after(0)));
                }
                stays => self.messages.push(stays),
            }
        }
        taken
    }

    /// Cuts a partly written batch after the frame that was begun. Returns how many of its frames were begun.
    fn cut_started(&mut self) -> usize {
        let Some((Chunk::Batch(batch), written)) = &self.started else { return 0 };
        let cut = batch.cut(*written);
        // Copied, so that it does not keep the memory of the whole batch.
        let rest = Bytes::copy_from_slice(&batch.bytes[*written..cut.end]);
        self.started = (!rest.is_empty()).then_some((Chunk::One(rest), 0));
        cut.begun
    }

    /// Releases memory that only a busy session needs.
    pub(in crate::hub) fn shrink(&mut self) {
        self.messages.shrink();
        self.control.shrink();
    }

    /// Writes until everything is written or the socket is full. `write` returns how many bytes of the slices it wrote.
    pub(in crate::hub) fn flush(&mut self, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> Flush {
        loop {
            let written = match self.only() {
                Some([]) => return Flush::Done,
                Some(only) => write(&[IoSlice::new(only)]),
                None => {
                    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                    let count = self.gather(&mut slices);
                    write(&slices[..count])
                }
            };
            match written {
                Ok(0) => return Flush::Broken,
                Ok(written) => self.consume(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flush::Full,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Flush::Broken,
            }
        }
    }

    /// What is to be written, if it is contiguous, as it nearly always is: nothing, or a single message.
    fn only(&self) -> Option<&[u8]> {
        if self.started.is_some() || !self.control.is_empty() {
            return None;
        }
        match self.messages.only() {
            Ok(only) => Some(only.map_or(&[], |chunk| &**chunk)),
            Err(_) => None,
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
        if let Some(frame) = self.control.pop() {
            self.control_bytes -= frame.len();
            return Chunk::One(frame);
        }
        let chunk = self.messages.pop().expect("no more is written than was queued");
        self.message_bytes -= chunk.len();
        chunk
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::Codec;

    use super::*;
    use crate::hub::session::batch::tests::messages;
    use crate::metrics::Metrics;

    fn chunk(text: &str) -> Chunk {
        Chunk::One(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn batch(stream: u64, offsets: std::ops::RangeInclusive<u64>) -> Chunk {
        let messages = messages(stream, offsets);
        let batch = Batch::join(&messages, crate::message::Wire::Frames(Codec::Json), &Metrics::default());
        batch.keep_messages(&messages);
        Chunk::Batch(Rc::new(batch))
    }

    /// A socket that accepts `room` bytes per write and is full after `writes` writes.
    fn flush(outbox: &mut Outbox, room: usize, writes: usize, wire: &mut Vec<u8>) -> Flush {
        let mut left = writes;
        outbox.flush(|slices| {
            if left == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            left -= 1;
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let taken = all.len().min(room);
            wire.extend_from_slice(&all[..taken]);
            Ok(taken)
        })
    }

    #[test]
    fn control_frames_overtake_messages_but_not_a_partly_written_chunk() {
        let mut outbox = Outbox::default();
        let mut wire = Vec::new();
        outbox.push_messages(chunk("aaaa"));
        outbox.push_messages(chunk("bbbb"));
        assert_eq!(flush(&mut outbox, 3, 1, &mut wire), Flush::Full);
        outbox.push_control(Bytes::from_static(b"!"));
        assert_eq!(flush(&mut outbox, 100, 9, &mut wire), Flush::Done);
        assert_eq!(wire, b"aaaa!bbbb");
        assert_eq!((outbox.message_bytes(), outbox.control_bytes()), (0, 0));
    }

    #[test]
    fn every_byte_is_written_in_order_in_writes_of_any_size() {
        for room in 1..40 {
            let mut outbox = Outbox::default();
            let mut wire = Vec::new();
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
            assert_eq!(wire, expected.as_bytes(), "{room}");
            assert_eq!(outbox.message_bytes(), 0);
        }
    }

    #[test]
    fn of_queued_pongs_only_the_last_is_sent() {
        let pong = |payload: &'static [u8]| Bytes::from_static(payload);
        let mut outbox = Outbox::default();
        let mut wire = Vec::new();
        outbox.push_messages(chunk("aaaa"));
        flush(&mut outbox, 2, 1, &mut wire);
        for frame in [&b"\x8a\x011"[..], b"\x8a\x00", b"\x8a\x022x"] {
            outbox.push_pong(pong(frame));
        }
        assert_eq!(outbox.control_bytes(), 4);
        outbox.push_control(pong(b"\x81\x01!"));
        outbox.push_pong(pong(b"\x8a\x013"));
        assert_eq!(flush(&mut outbox, 100, 9, &mut wire), Flush::Done);
        assert_eq!((&wire[..], outbox.control_bytes()), (&b"aaaa\x8a\x022x\x81\x01!\x8a\x013"[..], 0));
    }

    #[test]
    fn dropping_messages_keeps_the_partly_written_one_whole() {
        let mut outbox = Outbox::default();
        let mut wire = Vec::new();
        outbox.push_messages(chunk("aaaa"));
        outbox.push_messages(chunk("bbbb"));
        flush(&mut outbox, 2, 1, &mut wire);
        outbox.drop_messages();
        outbox.push_control(Bytes::from_static(b"close"));
        assert_eq!(flush(&mut outbox, 100, 9, &mut wire), Flush::Done);
        assert_eq!(wire, b"aaaaclose");
    }

    /// The offsets of stream 1 that are taken back after `room` bytes were written, and how many bytes are still queued.
    fn taken_back(chunks: &[Chunk], room: usize) -> (Vec<u64>, usize) {
        let mut outbox = Outbox::default();
        let mut wire = Vec::new();
        chunks.iter().for_each(|chunk| outbox.push_messages(chunk.clone()));
        flush(&mut outbox, room, room.min(1), &mut wire);
        let taken = outbox.take_back(|stream| stream == StreamId::topic(1));
        let offsets = taken.iter().flat_map(|(_, messages)| messages.iter().map(|message| message.offset)).collect();
        let written = wire.len();
        while flush(&mut outbox, 1_000, 9, &mut wire) == Flush::Full {}
        assert_eq!(outbox.held_bytes(), 0);
        (offsets, wire.len() - written)
    }

    #[test]
    fn messages_are_taken_back_whole() {
        let (first, second, other) = (batch(1, 1..=3), batch(1, 4..=5), batch(2, 1..=2));
        let frame = first.len() / 3;
        let answer = || Chunk::One(Bytes::from_static(b"answer"));
        for (chunks, room, taken, rest) in [
            (vec![first.clone(), second.clone()], 0, vec![1, 2, 3, 4, 5], 0),
            (vec![first.clone(), second.clone()], 1, vec![2, 3, 4, 5], frame - 1),
            (vec![first.clone(), second.clone()], frame, vec![2, 3, 4, 5], 0),
            (vec![first.clone(), second.clone()], 3 * frame, vec![4, 5], 0),
            (vec![first.clone(), other.clone(), second.clone()], 5, vec![2, 3, 4, 5], frame - 5 + other.len()),
            (vec![answer(), first.clone(), second.clone()], 1, vec![1, 2, 3, 4, 5], 5),
            (vec![other.clone(), first.clone()], 1, vec![1, 2, 3], other.len() - 1),
        ] {
            assert_eq!(taken_back(&chunks, room), (taken, rest), "{chunks:?} {room}");
        }
    }

    #[test]
    fn dropping_messages_cuts_a_batch_after_the_frame_that_was_begun() {
        let mut outbox = Outbox::default();
        let mut wire = Vec::new();
        let (first, second) = (batch(1, 1..=3), batch(1, 4..=5));
        outbox.push_messages(first.clone());
        outbox.push_messages(second);
        flush(&mut outbox, first.len() / 3 + 1, 1, &mut wire);
        assert!(outbox.is_over(first.len()) && outbox.held_bytes() > first.len());
        outbox.drop_messages();
        assert!(!outbox.is_over(1), "one frame never exceeds the limit");
        assert_eq!(outbox.held_bytes(), first.len() / 3 - 1);
        flush(&mut outbox, 1_000, 9, &mut wire);
        assert_eq!(wire, first[..2 * first.len() / 3]);
    }

    #[test]
    fn a_socket_that_writes_zero_bytes_is_broken() {
        let mut outbox = Outbox::default();
        outbox.push_messages(chunk("a"));
        assert_eq!(outbox.flush(|_| Ok(0)), Flush::Broken);
        assert_eq!(outbox.flush(|_| Err(io::ErrorKind::BrokenPipe.into())), Flush::Broken);
    }
}
