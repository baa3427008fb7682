//! The JSON writer: takes the events of a value and appends compact text. It checks nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::value::Sink;

/// Writes the events of a value as compact JSON to the end of a buffer.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
    comma: bool,
    closers: Vec<u8>,
}

impl<'o> Writer<'o> {
    /// A writer that appends to `out`.
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, comma: false, closers: Vec::new() }
    }

    /// Appends a value that is JSON already.
    pub fn raw(&mut self, json: &[u8]) {
        self.separate();
        self.out.extend_from_slice(json);
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
        self.comma = true;
    }

    fn scalar(&mut self, value: &(impl serde::Serialize + ?Sized)) {
        self.separate();
        serde_json::to_writer(&mut *self.out, value).expect("a scalar always serializes into memory");
    }

    fn open(&mut self, opener: u8, closer: u8) {
        self.separate();
        self.out.push(opener);
        self.closers.push(closer);
        self.comma = false;
    }
}

impl Sink for Writer<'_> {
    fn null(&mut self) {
        self.scalar(&());
    }

    fn bool(&mut self, value: bool) {
        self.scalar(&value);
    }

    fn unsigned(&mut self, value: u64) {
        self.scalar(&value);
    }

    fn signed(&mut self, value: i64) {
        self.scalar(&value);
    }

    fn float(&mut self, value: f64) {
        self.scalar(&value);
    }

    fn text(&mut self, value: &str) {
        self.scalar(value);
    }

    fn bytes(&mut self, value: &[u8]) {
        self.scalar(&BASE64.encode(value));
    }

    fn array(&mut self) {
        self.open(b'[', b']');
    }

    fn map(&mut self) {
        self.open(b'{', b'}');
    }

    fn key(&mut self, key: &str) {
        self.scalar(key);
        self.out.push(b':');
        self.comma = false;
    }

    fn end(&mut self) {
        self.out.push(self.closers.pop().expect("an end follows its beginning"));
        self.comma = true;
    }
}
