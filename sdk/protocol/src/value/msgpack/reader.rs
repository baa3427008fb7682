//! The MessagePack reader. Lengths are compared with what is left before anything is done with them.

use rmp::Marker;

use crate::value::{Sink, ValueError};

/// What stands at one place of a value.
#[derive(Debug)]
pub(super) enum Token<'b> {
    Scalar(Scalar<'b>),
    /// An array of so many items, which follow.
    Array(usize),
    /// A map of so many entries, which follow.
    Map(usize),
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
    Text(&'b str),
    Bytes(&'b [u8]),
}

impl Scalar<'_> {
    #[inline(always)]
    pub(super) fn tell(self, sink: &mut impl Sink) {
        match self {
            Self::Null => sink.null(),
            Self::Bool(value) => sink.bool(value),
            Self::Unsigned(value) => sink.unsigned(value),
            Self::Signed(value) => sink.signed(value),
            Self::Float(value) => sink.float(value),
            Self::Text(value) => sink.text(value),
            Self::Bytes(value) => sink.bytes(value),
        }
    }
}

/// A cursor over one value. It always stands on the first byte of what comes next, and it is done with whatever it was asked
/// to read; after an error it stands anywhere.
///
/// All that is called for each value is inlined: a token that passes through memory costs more than to read it.
#[derive(Debug)]
pub(super) struct Reader<'b> {
    bytes: &'b [u8],
    position: usize,
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// How many bytes lie behind it.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Reads a scalar, or the header of an array or a map.
    #[inline(always)]
    pub(super) fn token(&mut self) -> Result<Token<'b>, ValueError> {
        let start = self.position;
        let marker = self.marker()?;
        if let Some(length) = self.text_length(marker)? {
            return Ok(Token::Scalar(Scalar::Text(self.text(length)?)));
        }
        let scalar = match marker {
            Marker::Null => Scalar::Null,
            Marker::True => Scalar::Bool(true),
            Marker::False => Scalar::Bool(false),
            Marker::FixPos(value) => Scalar::Unsigned(value.into()),
            Marker::U8 => Scalar::Unsigned(self.u8()?.into()),
            Marker::U16 => Scalar::Unsigned(self.u16()?.into()),
            Marker::U32 => Scalar::Unsigned(self.u32()?.into()),
            Marker::U64 => Scalar::Unsigned(u64::from_be_bytes(self.array()?)),
            Marker::FixNeg(value) => signed(value.into()),
            Marker::I8 => signed(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => signed(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => signed(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => signed(i64::from_be_bytes(self.array()?)),
            Marker::F32 => float(f32::from_be_bytes(self.array()?).into(), start)?,
            Marker::F64 => float(f64::from_be_bytes(self.array()?), start)?,
            Marker::FixArray(length) => return self.check_count(length.into(), 1).map(Token::Array),
            Marker::FixMap(length) => return self.check_count(length.into(), 2).map(Token::Map),
            Marker::Reserved => return Err(ValueError::Reserved(start)),
            _ => return self.long_token(marker, start),
        };
        Ok(Token::Scalar(scalar))
    }

    /// Reads the key of an entry.
    #[inline(always)]
    pub(super) fn key(&mut self) -> Result<&'b str, ValueError> {
        let start = self.position;
        let marker = self.marker()?;
        match self.text_length(marker)? {
            Some(length) => self.text(length),
            None => Err(ValueError::Key(start)),
        }
    }

    /// Passes over one value, however deep and whatever is in it, without holding it to the rules.
    pub(super) fn skip(&mut self) -> Result<(), ValueError> {
        let mut left: usize = 1;
        while left > 0 {
            left -= 1;
            let marker = self.marker()?;
            if let Some((length, each)) = self.container_length(marker)? {
                let inner = self.check_count(length, each)? * each;
                left = left.checked_add(inner).ok_or(ValueError::Truncated(self.bytes.len()))?;
                continue;
            }
            let length = match (self.text_length(marker)?, self.bin_length(marker)?) {
                (Some(length), _) | (_, Some(length)) => length,
                (None, None) => self.other_length(marker)?,
            };
            self.take(length)?;
        }
        Ok(())
    }

    /// Goes back to where a value begins and passes over it.
    pub(super) fn skip_from(&mut self, start: usize) -> Result<(), ValueError> {
        self.position = start;
        self.skip()
    }

    /// Makes sure that nothing follows.
    pub(super) fn finish(&self) -> Result<(), ValueError> {
        if self.position < self.bytes.len() { Err(ValueError::Trailing(self.position)) } else { Ok(()) }
    }

    /// A `bin`, an array or a map; all that is left is an extension.
    fn long_token(&mut self, marker: Marker, start: usize) -> Result<Token<'b>, ValueError> {
        match self.container_length(marker)? {
            Some((length, 1)) => return self.check_count(length, 1).map(Token::Array),
            Some((length, each)) => return self.check_count(length, each).map(Token::Map),
            None => {}
        }
        match self.bin_length(marker)? {
            Some(length) => Ok(Token::Scalar(Scalar::Bytes(self.take(length)?))),
            None => Err(ValueError::Extension(start)),
        }
    }

    #[inline(always)]
    fn text_length(&mut self, marker: Marker) -> Result<Option<usize>, ValueError> {
        Ok(Some(match marker {
            Marker::FixStr(length) => length.into(),
            Marker::Str8 => self.u8()?.into(),
            Marker::Str16 => self.u16()?.into(),
            Marker::Str32 => self.u32()? as usize,
            _ => return Ok(None),
        }))
    }

    fn bin_length(&mut self, marker: Marker) -> Result<Option<usize>, ValueError> {
        Ok(Some(match marker {
            Marker::Bin8 => self.u8()?.into(),
            Marker::Bin16 => self.u16()?.into(),
            Marker::Bin32 => self.u32()? as usize,
            _ => return Ok(None),
        }))
    }

    /// How many elements an array or a map has, and how many values each of them is.
    fn container_length(&mut self, marker: Marker) -> Result<Option<(usize, usize)>, ValueError> {
        Ok(Some(match marker {
            Marker::FixArray(length) => (length.into(), 1),
            Marker::Array16 => (self.u16()?.into(), 1),
            Marker::Array32 => (self.u32()? as usize, 1),
            Marker::FixMap(length) => (length.into(), 2),
            Marker::Map16 => (self.u16()?.into(), 2),
            Marker::Map32 => (self.u32()? as usize, 2),
            _ => return Ok(None),
        }))
    }

    /// How many bytes follow the marker of anything else.
    fn other_length(&mut self, marker: Marker) -> Result<usize, ValueError> {
        Ok(match marker {
            Marker::U8 | Marker::I8 => 1,
            Marker::U16 | Marker::I16 => 2,
            Marker::U32 | Marker::I32 | Marker::F32 => 4,
            Marker::U64 | Marker::I64 | Marker::F64 => 8,
            // An extension has one byte more, its type.
            Marker::FixExt1 => 2,
            Marker::FixExt2 => 3,
            Marker::FixExt4 => 5,
            Marker::FixExt8 => 9,
            Marker::FixExt16 => 17,
            Marker::Ext8 => usize::from(self.u8()?) + 1,
            Marker::Ext16 => usize::from(self.u16()?) + 1,
            Marker::Ext32 => self.u32()? as usize + 1,
            // All others are a marker and nothing else, also the one that MessagePack never uses.
            _ => 0,
        })
    }

    #[inline(always)]
    fn text(&mut self, length: usize) -> Result<&'b str, ValueError> {
        let start = self.position;
        std::str::from_utf8(self.take(length)?).map_err(|error| ValueError::Utf8(start + error.valid_up_to()))
    }

    #[inline]
    /// A container with more elements than bytes left is cut off; say so before walking it.
    fn check_count(&self, count: usize, bytes_each: usize) -> Result<usize, ValueError> {
        match count.checked_mul(bytes_each) {
            Some(least) if least <= self.bytes.len() - self.position => Ok(count),
            _ => Err(ValueError::Truncated(self.bytes.len())),
        }
    }

    #[inline(always)]
    fn marker(&mut self) -> Result<Marker, ValueError> {
        self.u8().map(Marker::from_u8)
    }

    #[inline(always)]
    fn u8(&mut self) -> Result<u8, ValueError> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, ValueError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, ValueError> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], ValueError> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("take gives what was asked for"))
    }

    #[inline(always)]
    fn take(&mut self, length: usize) -> Result<&'b [u8], ValueError> {
        let end = self.position.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(ValueError::Truncated(self.bytes.len()))?;
        let bytes = &self.bytes[self.position..end];
        self.position = end;
        Ok(bytes)
    }
}

#[inline]
/// Whole numbers that are not negative are one kind, in whatever form they are written.
fn signed(value: i64) -> Scalar<'static> {
    match u64::try_from(value) {
        Ok(value) => Scalar::Unsigned(value),
        Err(_) => Scalar::Signed(value),
    }
}

#[inline]
fn float(value: f64, start: usize) -> Result<Scalar<'static>, ValueError> {
    if value.is_finite() { Ok(Scalar::Float(value)) } else { Err(ValueError::NotFinite(start)) }
}
