//! The MessagePack writer: takes the events of a value and appends bytes in the shortest forms. It checks nothing.

use rmp::encode;

use crate::value::Sink;

/// Writes the events of a value as MessagePack, in the shortest forms, to the end of a buffer.
///
/// Containers do not announce their length, so their header is put in when they end.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
    open: Vec<Container>,
}

#[derive(Debug)]
struct Container {
    start: usize,
    length: u32,
    map: bool,
}

impl<'o> Writer<'o> {
    /// A writer that appends to `out`.
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, open: Vec::new() }
    }

    /// Appends a value that is MessagePack already.
    pub fn raw(&mut self, msgpack: &[u8]) {
        self.count();
        self.out.extend_from_slice(msgpack);
    }

    fn count(&mut self) {
        if let Some(container) = self.open.last_mut()
            && !container.map
        {
            container.length += 1;
        }
    }

    fn begin(&mut self, map: bool) {
        self.count();
        self.open.push(Container { start: self.out.len(), length: 0, map });
        // Most containers have at most 15 elements: a header of one byte, patched in place at the end.
        self.out.push(0);
    }
}

const INTO_MEMORY: &str = "writing into memory does not fail";

impl Sink for Writer<'_> {
    fn null(&mut self) {
        self.count();
        encode::write_nil(self.out).expect(INTO_MEMORY);
    }

    fn bool(&mut self, value: bool) {
        self.count();
        encode::write_bool(self.out, value).expect(INTO_MEMORY);
    }

    fn unsigned(&mut self, value: u64) {
        self.count();
        encode::write_uint(self.out, value).expect(INTO_MEMORY);
    }

    fn signed(&mut self, value: i64) {
        self.count();
        encode::write_sint(self.out, value).expect(INTO_MEMORY);
    }

    fn float(&mut self, value: f64) {
        self.count();
        encode::write_f64(self.out, value).expect(INTO_MEMORY);
    }

    fn text(&mut self, value: &str) {
        self.count();
        encode::write_str(self.out, value).expect(INTO_MEMORY);
    }

    fn bytes(&mut self, value: &[u8]) {
        self.count();
        encode::write_bin(self.out, value).expect(INTO_MEMORY);
    }

    fn array(&mut self) {
        self.begin(false);
    }

    fn map(&mut self) {
        self.begin(true);
    }

    fn key(&mut self, key: &str) {
        encode::write_str(self.out, key).expect(INTO_MEMORY);
        self.open.last_mut().expect("a key stands in a map").length += 1;
    }

    fn end(&mut self) {
        let Container { start, length, map } = self.open.pop().expect("an end follows its beginning");
        let mut header = Vec::with_capacity(5);
        if map {
            encode::write_map_len(&mut header, length).expect(INTO_MEMORY);
        } else {
            encode::write_array_len(&mut header, length).expect(INTO_MEMORY);
        }
        if header.len() == 1 {
            self.out[start] = header[0];
        } else {
            self.out.splice(start..=start, header);
        }
    }
}
