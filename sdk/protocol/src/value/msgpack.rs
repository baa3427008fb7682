//! MessagePack values: the reader that checks and the writer that sinks write through. Bytes in, events out, and back.

use rmp::Marker;
use rmp::encode;

use super::{Sink, ValueError};
use crate::DEPTH_MAX;

/// Reads one MessagePack value and tells it to `sink`.
///
/// # Errors
/// Any [`ValueError`] but [`ValueError::Json`].
pub fn read(bytes: &[u8], sink: &mut impl Sink) -> Result<(), ValueError> {
    let mut reader = Reader::new(bytes);
    reader.value(sink, 0)?;
    if reader.position < bytes.len() {
        return Err(ValueError::Trailing(reader.position));
    }
    Ok(())
}

/// A cursor over MessagePack bytes. Lengths are compared with what is left before anything is done with them.
#[derive(Debug)]
pub(crate) struct Reader<'b> {
    bytes: &'b [u8],
    position: usize,
}

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// The number of entries of the map that begins here, or `None` when something else does.
    pub(crate) fn map_header(&mut self) -> Result<Option<usize>, ValueError> {
        let length = match self.marker()? {
            Marker::FixMap(length) => usize::from(length),
            Marker::Map16 => usize::from(self.u16()?),
            Marker::Map32 => self.u32()? as usize,
            _ => return Ok(None),
        };
        self.check_count(length, 2).map(Some)
    }

    /// The text that begins here, which stands where a map key must.
    pub(crate) fn key(&mut self) -> Result<&'b str, ValueError> {
        let start = self.position;
        let marker = self.marker()?;
        match self.text_length(marker)? {
            Some(length) => self.text(length),
            None => Err(ValueError::Key(start)),
        }
    }

    /// Passes over one value, however deep, and gives the bytes it is written in. Only lengths are looked at.
    pub(crate) fn skip(&mut self) -> Result<&'b [u8], ValueError> {
        let start = self.position;
        let mut left: usize = 1;
        while left > 0 {
            left -= 1;
            let at = self.position;
            let marker = self.marker()?;
            if let Some(inner) = self.inner_values(marker)? {
                left = left.checked_add(inner).ok_or(ValueError::Truncated(self.bytes.len()))?;
                continue;
            }
            let length = match self.text_length(marker)? {
                Some(length) => length,
                None => self.scalar_bytes(marker).ok_or(ValueError::Reserved(at))??,
            };
            self.take(length)?;
        }
        Ok(&self.bytes[start..self.position])
    }

    /// How many values an array or a map holds, keys included; none for anything else.
    fn inner_values(&mut self, marker: Marker) -> Result<Option<usize>, ValueError> {
        let (length, each) = match marker {
            Marker::FixArray(length) => (length.into(), 1),
            Marker::Array16 => (self.u16()?.into(), 1),
            Marker::Array32 => (self.u32()? as usize, 1),
            Marker::FixMap(length) => (length.into(), 2),
            Marker::Map16 => (self.u16()?.into(), 2),
            Marker::Map32 => (self.u32()? as usize, 2),
            _ => return Ok(None),
        };
        Ok(Some(self.check_count(length, each)? * each))
    }

    /// How many bytes of content follow the marker of a value that is neither text nor container; none for the marker
    /// that MessagePack never uses.
    fn scalar_bytes(&mut self, marker: Marker) -> Option<Result<usize, ValueError>> {
        Some(Ok(match marker {
            Marker::Null | Marker::True | Marker::False | Marker::FixPos(_) | Marker::FixNeg(_) => 0,
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
            Marker::Bin8 => return Some(self.array::<1>().map(|length| length[0].into())),
            Marker::Bin16 => return Some(self.u16().map(usize::from)),
            Marker::Bin32 => return Some(self.u32().map(|length| length as usize)),
            Marker::Ext8 => return Some(self.array::<1>().map(|length| usize::from(length[0]) + 1)),
            Marker::Ext16 => return Some(self.u16().map(|length| usize::from(length) + 1)),
            Marker::Ext32 => return Some(self.u32().map(|length| length as usize + 1)),
            _ => return None,
        }))
    }

    fn value(&mut self, sink: &mut impl Sink, depth: usize) -> Result<(), ValueError> {
        let start = self.position;
        let marker = self.marker()?;
        if let Some(length) = self.text_length(marker)? {
            sink.text(self.text(length)?);
            return Ok(());
        }
        match marker {
            Marker::Null => sink.null(),
            Marker::True => sink.bool(true),
            Marker::False => sink.bool(false),
            Marker::FixPos(value) => sink.unsigned(value.into()),
            Marker::U8 => sink.unsigned(self.array::<1>()?[0].into()),
            Marker::U16 => sink.unsigned(self.u16()?.into()),
            Marker::U32 => sink.unsigned(self.u32()?.into()),
            Marker::U64 => sink.unsigned(u64::from_be_bytes(self.array()?)),
            Marker::FixNeg(value) => signed(sink, value.into()),
            Marker::I8 => signed(sink, i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => signed(sink, i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => signed(sink, i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => signed(sink, i64::from_be_bytes(self.array()?)),
            Marker::F32 => float(sink, f32::from_be_bytes(self.array()?).into(), start)?,
            Marker::F64 => float(sink, f64::from_be_bytes(self.array()?), start)?,
            Marker::Bin8 => {
                let length = self.array::<1>()?[0].into();
                sink.bytes(self.take(length)?);
            }
            Marker::Bin16 => {
                let length = self.u16()?.into();
                sink.bytes(self.take(length)?);
            }
            Marker::Bin32 => {
                let length = self.u32()? as usize;
                sink.bytes(self.take(length)?);
            }
            Marker::FixArray(length) => self.items(sink, length.into(), depth)?,
            Marker::Array16 => {
                let length = self.u16()?.into();
                self.items(sink, length, depth)?;
            }
            Marker::Array32 => {
                let length = self.u32()? as usize;
                self.items(sink, length, depth)?;
            }
            Marker::FixMap(length) => self.entries(sink, length.into(), depth)?,
            Marker::Map16 => {
                let length = self.u16()?.into();
                self.entries(sink, length, depth)?;
            }
            Marker::Map32 => {
                let length = self.u32()? as usize;
                self.entries(sink, length, depth)?;
            }
            Marker::Reserved => return Err(ValueError::Reserved(start)),
            _ => return Err(ValueError::Extension(start)),
        }
        Ok(())
    }

    fn items(&mut self, sink: &mut impl Sink, length: usize, depth: usize) -> Result<(), ValueError> {
        let depth = deeper(depth)?;
        self.check_count(length, 1)?;
        sink.array();
        for _ in 0..length {
            self.value(sink, depth)?;
        }
        sink.end();
        Ok(())
    }

    fn entries(&mut self, sink: &mut impl Sink, length: usize, depth: usize) -> Result<(), ValueError> {
        let depth = deeper(depth)?;
        self.check_count(length, 2)?;
        sink.map();
        for _ in 0..length {
            sink.key(self.key()?);
            self.value(sink, depth)?;
        }
        sink.end();
        Ok(())
    }

    fn text_length(&mut self, marker: Marker) -> Result<Option<usize>, ValueError> {
        Ok(Some(match marker {
            Marker::FixStr(length) => length.into(),
            Marker::Str8 => self.array::<1>()?[0].into(),
            Marker::Str16 => self.u16()?.into(),
            Marker::Str32 => self.u32()? as usize,
            _ => return Ok(None),
        }))
    }

    fn text(&mut self, length: usize) -> Result<&'b str, ValueError> {
        let start = self.position;
        std::str::from_utf8(self.take(length)?).map_err(|_| ValueError::Utf8(start))
    }

    /// A container with more elements than bytes left is cut off; say so before walking it.
    fn check_count(&self, count: usize, bytes_each: usize) -> Result<usize, ValueError> {
        match count.checked_mul(bytes_each) {
            Some(least) if least <= self.bytes.len() - self.position => Ok(count),
            _ => Err(ValueError::Truncated(self.bytes.len())),
        }
    }

    fn marker(&mut self) -> Result<Marker, ValueError> {
        Ok(Marker::from_u8(self.array::<1>()?[0]))
    }

    fn u16(&mut self) -> Result<u16, ValueError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, ValueError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ValueError> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("take gives what was asked for"))
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], ValueError> {
        let end = self.position.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(ValueError::Truncated(self.bytes.len()))?;
        let bytes = &self.bytes[self.position..end];
        self.position = end;
        Ok(bytes)
    }
}

fn deeper(depth: usize) -> Result<usize, ValueError> {
    if depth == DEPTH_MAX { Err(ValueError::Depth) } else { Ok(depth + 1) }
}

fn signed(sink: &mut impl Sink, value: i64) {
    match u64::try_from(value) {
        Ok(value) => sink.unsigned(value),
        Err(_) => sink.signed(value),
    }
}

fn float(sink: &mut impl Sink, value: f64, start: usize) -> Result<(), ValueError> {
    if !value.is_finite() {
        return Err(ValueError::NotFinite(start));
    }
    sink.float(value);
    Ok(())
}

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
