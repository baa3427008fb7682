//! The walk through a value, the same for both codecs: a reader says what stands where, and the walk holds it to the rules.

use std::borrow::Cow;

use super::{Sink, ValueError};
use crate::DEPTH_MAX;

/// What stands at one place of a value. `I` is how far a reader has come within an array or a map.
#[derive(Debug)]
pub(crate) enum Token<'b, I> {
    Scalar(Scalar<'b>),
    Array(I),
    Map(I),
}

/// A value with no other values in it.
#[derive(Debug)]
pub(crate) enum Scalar<'b> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    /// Always finite.
    Float(f64),
    Text(Cow<'b, str>),
    Bytes(&'b [u8]),
}

/// A cursor over one value in one codec. It always stands on the first byte of what comes next, and it is done with whatever
/// it was asked to read; after an error it stands anywhere.
///
/// Readers inline all that is called for each value: a token that passes through memory costs more than to read it.
pub(crate) trait Reader<'b>: Sized {
    /// How far it has come within an array or a map.
    type Inside;

    fn new(bytes: &'b [u8]) -> Self;

    /// How many bytes lie behind it.
    fn position(&self) -> usize;

    /// Reads a scalar, or enters the array or the map that begins here.
    fn token(&mut self) -> Result<Token<'b, Self::Inside>, ValueError>;

    /// Whether another item or another entry follows. At the end it has left the array or the map.
    fn more(&mut self, inside: &mut Self::Inside) -> Result<bool, ValueError>;

    /// Reads the key of an entry.
    fn key(&mut self) -> Result<Cow<'b, str>, ValueError>;

    /// Passes over one value, however deep and whatever is in it, without holding it to the rules.
    fn skip(&mut self) -> Result<(), ValueError>;

    /// Passes over the key of an entry, whatever it is, and gives the bytes it is written in.
    fn skip_key(&mut self) -> Result<&'b [u8], ValueError>;

    /// Makes sure that nothing follows.
    fn finish(&mut self) -> Result<(), ValueError>;
}

/// Reads bytes that are one value.
pub(crate) fn whole<'b, R: Reader<'b>>(bytes: &'b [u8], sink: &mut impl Sink) -> Result<(), ValueError> {
    let mut reader = R::new(bytes);
    value(&mut reader, sink)?;
    reader.finish()
}

/// Reads the value that stands here. Its depth counts from here, whatever it stands in.
///
/// It does not call itself: in a build without optimisation each level would take kilobytes of the stack.
pub(crate) fn value<'b, R: Reader<'b>>(reader: &mut R, sink: &mut impl Sink) -> Result<(), ValueError> {
    let mut level = match reader.token()? {
        Token::Scalar(scalar) => {
            scalar.tell(sink);
            return Ok(());
        }
        Token::Array(inside) => Level::array(inside, sink),
        Token::Map(inside) => Level::map(inside, sink),
    };
    // The levels around the innermost one.
    let mut around: [Option<Level<R::Inside>>; DEPTH_MAX - 1] = [const { None }; DEPTH_MAX - 1];
    let mut depth = 0;
    loop {
        if !reader.more(&mut level.inside)? {
            sink.end();
            if depth == 0 {
                return Ok(());
            }
            depth -= 1;
            level = around[depth].take().expect("a level stands in the one around it");
            continue;
        }
        if level.is_map {
            sink.key(&reader.key()?);
        }
        let inner = match reader.token()? {
            Token::Scalar(scalar) => {
                scalar.tell(sink);
                continue;
            }
            _ if depth == DEPTH_MAX - 1 => return Err(ValueError::Depth),
            Token::Array(inside) => Level::array(inside, sink),
            Token::Map(inside) => Level::map(inside, sink),
        };
        around[depth] = Some(std::mem::replace(&mut level, inner));
        depth += 1;
    }
}

/// An array or a map that is open.
struct Level<I> {
    inside: I,
    is_map: bool,
}

impl<I> Level<I> {
    fn array(inside: I, sink: &mut impl Sink) -> Self {
        sink.array();
        Self { inside, is_map: false }
    }

    fn map(inside: I, sink: &mut impl Sink) -> Self {
        sink.map();
        Self { inside, is_map: true }
    }
}

impl Scalar<'_> {
    fn tell(self, sink: &mut impl Sink) {
        match self {
            Self::Null => sink.null(),
            Self::Bool(value) => sink.bool(value),
            Self::Unsigned(value) => sink.unsigned(value),
            Self::Signed(value) => sink.signed(value),
            Self::Float(value) => sink.float(value),
            Self::Text(value) => sink.text(&value),
            Self::Bytes(value) => sink.bytes(value),
        }
    }
}
