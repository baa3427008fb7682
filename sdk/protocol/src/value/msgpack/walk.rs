//! The walk through a MessagePack value: the reader says what stands where, and the walk holds it to the rules.

use super::reader::{Reader, Scalar, Token};
use crate::DEPTH_MAX;
use crate::value::{Discard, Sink, Validity, ValueError};

/// Reads bytes that are one value.
pub(super) fn whole(bytes: &[u8], sink: &mut impl Sink) -> Result<(), ValueError> {
    let mut reader = Reader::new(bytes);
    value(&mut reader, sink)?;
    reader.finish()
}

/// Gives the entries of a map one after the other, values as they are written; says no when it is something else.
pub(crate) fn entries<'b>(
    bytes: &'b [u8],
    validity: Validity,
    mut each: impl FnMut(Result<&'b str, ValueError>, Result<&'b [u8], ValueError>),
) -> Result<bool, ValueError> {
    let mut reader = Reader::new(bytes);
    let Token::Map(entries) = reader.token()? else { return Ok(false) };
    for _ in 0..entries {
        let start = reader.position();
        let key = reader.key();
        if key.is_err() {
            reader.skip_from(start)?;
        }
        let start = reader.position();
        let passed = match validity {
            Validity::Unchecked => value(&mut reader, &mut Discard),
            Validity::Checked => reader.skip(),
        };
        let is_right = passed.is_ok();
        each(key, passed.map(|()| &bytes[start..reader.position()]));
        if !is_right {
            reader.skip_from(start)?;
        }
    }
    reader.finish()?;
    Ok(true)
}

/// Gives the items of an array one after the other, as they are written; says no when it is something else.
pub(crate) fn items<'b>(bytes: &'b [u8], mut each: impl FnMut(&'b [u8])) -> Result<bool, ValueError> {
    let mut reader = Reader::new(bytes);
    let Token::Array(items) = reader.token()? else { return Ok(false) };
    for _ in 0..items {
        let start = reader.position();
        reader.skip()?;
        each(&bytes[start..reader.position()]);
    }
    reader.finish()?;
    Ok(true)
}

/// Reads a value with no other values in it; none when it is something else.
#[inline]
pub(crate) fn scalar(bytes: &[u8]) -> Option<Scalar<'_>> {
    match Reader::new(bytes).token() {
        Ok(Token::Scalar(scalar)) => Some(scalar),
        _ => None,
    }
}

/// Reads the value that stands here. Its depth counts from here, whatever it stands in.
///
/// It does not call itself: in a build without optimisation each level would take kilobytes of the stack.
fn value(reader: &mut Reader<'_>, sink: &mut impl Sink) -> Result<(), ValueError> {
    let mut level = match reader.token()? {
        Token::Scalar(scalar) => {
            scalar.tell(sink);
            return Ok(());
        }
        Token::Array(items) => Level::array(items, sink),
        Token::Map(entries) => Level::map(entries, sink),
    };
    // The levels around the innermost one.
    let mut around = [Level::default(); DEPTH_MAX - 1];
    let mut depth = 0;
    loop {
        if level.left == 0 {
            sink.end();
            if depth == 0 {
                return Ok(());
            }
            depth -= 1;
            level = around[depth];
            continue;
        }
        level.left -= 1;
        if level.is_map {
            sink.key(reader.key()?);
        }
        let inner = match reader.token()? {
            Token::Scalar(scalar) => {
                scalar.tell(sink);
                continue;
            }
            _ if depth == DEPTH_MAX - 1 => return Err(ValueError::Depth),
            Token::Array(items) => Level::array(items, sink),
            Token::Map(entries) => Level::map(entries, sink),
        };
        around[depth] = level;
        depth += 1;
        level = inner;
    }
}

/// An array or a map that is open.
#[derive(Clone, Copy, Default)]
struct Level {
    /// How many items or entries are to come.
    left: usize,
    is_map: bool,
}

impl Level {
    fn array(left: usize, sink: &mut impl Sink) -> Self {
        sink.array();
        Self { left, is_map: false }
    }

    fn map(left: usize, sink: &mut impl Sink) -> Self {
        sink.map();
        Self { left, is_map: true }
    }
}
