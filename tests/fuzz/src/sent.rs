//! What a client may send, right and wrong, made from a fuzzer's bytes: frames that are mostly in order, so that what is
//! wrong with one of them is not all there is to find.

use arbitrary::{Arbitrary, Result, Unstructured};

/// A frame.
#[derive(Clone, Debug)]
pub struct Sent {
    first: u8,
    mask: Option<[u8; 4]>,
    /// How many bytes the length is written in, or as many as it needs.
    length_bytes: Option<usize>,
    /// What the frame says of its length; else the truth.
    promise: Option<u64>,
    payload: Vec<u8>,
}

impl<'a> Arbitrary<'a> for Sent {
    fn arbitrary(from: &mut Unstructured<'a>) -> Result<Self> {
        let mut first = *from.choose(&[0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x00, 0x80, 0x89, 0x8a, 0x88])?;
        if is_rare(from)? {
            first = from.arbitrary()?;
        }
        let mask = if is_rare(from)? { None } else { Some(from.arbitrary()?) };
        let length_bytes = if is_rare(from)? { Some(*from.choose(&[0, 2, 8])?) } else { None };
        let promise = if is_rare(from)? { Some(from.arbitrary()?) } else { None };
        Ok(Self { first, mask, length_bytes, promise, payload: payload(first, from)? })
    }
}

fn is_rare(from: &mut Unstructured<'_>) -> Result<bool> {
    from.ratio(1, 24)
}

fn payload(first: u8, from: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    if first & 0x0f == 8 {
        let code = *from.choose(&[1000, 1001, 1004, 1005, 1007, 1012, 1014, 1015, 2999, 3000, 4000, 4999, 5000])?;
        let code: u16 = if is_rare(from)? { from.arbitrary()? } else { code };
        return Ok([&code.to_be_bytes(), from.arbitrary::<&str>()?.as_bytes()].concat());
    }
    Ok(match from.int_in_range(0..=5)? {
        0 => Vec::new(),
        // Halves of characters, so that fragments may make whole ones of them.
        1 => from.choose(&[&b"\xe2\x82"[..], b"\xac", b"\xf0\x9f", b"\x98\x80", b"\xc3", b"\xa9"])?.to_vec(),
        2 => vec![from.arbitrary()?; from.int_in_range(120..=130)?],
        3 => vec![b'a'; from.int_in_range(190..=210)?],
        4 => from.arbitrary::<&[u8]>()?.to_vec(),
        _ => from.arbitrary::<&str>()?.as_bytes().to_vec(),
    })
}

impl Sent {
    /// The frame as it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let length = self.promise.unwrap_or(self.payload.len() as u64);
        let needed = match length {
            0..126 => 0,
            126..0x1_0000 => 2,
            _ => 8,
        };
        let code = match self.length_bytes.unwrap_or(needed) {
            2 => 126,
            8 => 127,
            _ => (length % 126) as u8,
        };
        let mut bytes = vec![self.first, if self.mask.is_some() { 0x80 | code } else { code }];
        match code {
            126 => bytes.extend((length as u16).to_be_bytes()),
            127 => bytes.extend(length.to_be_bytes()),
            _ => {}
        }
        let mask = self.mask.unwrap_or_default();
        bytes.extend(self.mask.iter().flatten());
        bytes.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }
}
