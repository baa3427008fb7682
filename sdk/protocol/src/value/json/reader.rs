//! The JSON reader: what RFC 8259 allows, byte by byte. It builds nothing but texts that have escapes in them.

use std::borrow::Cow;

use crate::value::ValueError;
use crate::value::walk::{self, Scalar, Token};

/// A cursor over JSON text.
#[derive(Debug)]
pub(crate) struct Reader<'b> {
    bytes: &'b [u8],
    position: usize,
}

/// An array or a map that is open.
#[derive(Debug)]
pub(crate) struct Inside {
    closer: u8,
    is_begun: bool,
}

impl<'b> walk::Reader<'b> for Reader<'b> {
    type Inside = Inside;

    fn new(bytes: &'b [u8]) -> Self {
        let mut reader = Self { bytes, position: 0 };
        reader.space();
        reader
    }

    fn position(&self) -> usize {
        self.position
    }

    #[inline(always)]
    fn token(&mut self) -> Result<Token<'b, Inside>, ValueError> {
        match self.peek()? {
            b'"' => self.text().map(|text| Token::Scalar(Scalar::Text(text))),
            b'{' => Ok(Token::Map(self.enter(b'}'))),
            b'[' => Ok(Token::Array(self.enter(b']'))),
            b'-' | b'0'..=b'9' => self.number().map(Token::Scalar),
            b't' => self.word("true", Scalar::Bool(true)),
            b'f' => self.word("false", Scalar::Bool(false)),
            b'n' => self.word("null", Scalar::Null),
            _ => Err(self.fault("no value")),
        }
    }

    #[inline(always)]
    fn more(&mut self, inside: &mut Inside) -> Result<bool, ValueError> {
        self.space();
        let next = self.peek()?;
        if next == inside.closer {
            self.position += 1;
            return Ok(false);
        }
        if inside.is_begun {
            if next != b',' {
                return Err(self.fault("no comma and no end"));
            }
            self.position += 1;
            self.space();
        }
        inside.is_begun = true;
        Ok(true)
    }

    #[inline(always)]
    fn key(&mut self) -> Result<Cow<'b, str>, ValueError> {
        if self.peek()? != b'"' {
            return Err(ValueError::Key(self.position));
        }
        let key = self.text()?;
        self.colon()?;
        Ok(key)
    }

    fn skip(&mut self) -> Result<(), ValueError> {
        let mut open: usize = 0;
        loop {
            match self.peek()? {
                b'"' => self.skip_text()?,
                b'[' | b'{' => {
                    open += 1;
                    self.position += 1;
                }
                b']' | b'}' if open > 0 => {
                    open -= 1;
                    self.position += 1;
                }
                byte if is_between(byte) && open > 0 => self.position += 1,
                byte if is_between(byte) || is_closer(byte) => return Err(self.fault("no value")),
                _ => self.skip_word()?,
            }
            if open == 0 {
                return Ok(());
            }
        }
    }

    fn skip_key(&mut self) -> Result<&'b [u8], ValueError> {
        let start = self.position;
        self.skip()?;
        let key = &self.bytes[start..self.position];
        self.colon()?;
        Ok(key)
    }

    fn finish(&mut self) -> Result<(), ValueError> {
        self.space();
        if self.position < self.bytes.len() { Err(ValueError::Trailing(self.position)) } else { Ok(()) }
    }
}

impl<'b> Reader<'b> {
    #[inline(always)]
    fn peek(&self) -> Result<u8, ValueError> {
        self.bytes.get(self.position).copied().ok_or(ValueError::Truncated(self.bytes.len()))
    }

    fn fault(&self, fault: &'static str) -> ValueError {
        ValueError::Json { fault, at: self.position }
    }

    fn enter(&mut self, closer: u8) -> Inside {
        self.position += 1;
        Inside { closer, is_begun: false }
    }

    #[inline(always)]
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes.get(self.position) {
            self.position += 1;
        }
    }

    fn colon(&mut self) -> Result<(), ValueError> {
        self.space();
        if self.peek()? != b':' {
            return Err(self.fault("no colon"));
        }
        self.position += 1;
        self.space();
        Ok(())
    }

    fn word(&mut self, word: &str, scalar: Scalar<'b>) -> Result<Token<'b, Inside>, ValueError> {
        if !self.bytes[self.position..].starts_with(word.as_bytes()) {
            return Err(self.fault("no value"));
        }
        self.position += word.len();
        Ok(Token::Scalar(scalar))
    }

    /// Whole numbers of 64 bits are themselves, all others are doubles. Minus zero is a double: it is no whole number.
    fn number(&mut self) -> Result<Scalar<'b>, ValueError> {
        let start = self.position;
        let is_negative = self.pass(b"-");
        let first = self.position;
        let whole = self.digits()?;
        if self.bytes[first] == b'0' && self.position > first + 1 {
            return Err(ValueError::Json { fault: "a number that begins with 0", at: first });
        }
        let mut is_whole = true;
        if self.pass(b".") {
            is_whole = false;
            self.digits()?;
        }
        if self.pass(b"eE") {
            is_whole = false;
            self.pass(b"+-");
            self.digits()?;
        }
        match (whole, is_negative) {
            (Some(number), false) if is_whole => return Ok(Scalar::Unsigned(number)),
            (Some(number @ 1..), true) if is_whole => {
                if let Some(number) = 0_i64.checked_sub_unsigned(number) {
                    return Ok(Scalar::Signed(number));
                }
            }
            _ => {}
        }
        let text = std::str::from_utf8(&self.bytes[start..self.position]).ok();
        let number: Option<f64> = text.and_then(|text| text.parse().ok());
        number.filter(|number| number.is_finite()).map(Scalar::Float).ok_or(ValueError::NotFinite(start))
    }

    /// Passes over one byte if it is one of these.
    fn pass(&mut self, any: &[u8]) -> bool {
        let is_there = self.bytes.get(self.position).is_some_and(|byte| any.contains(byte));
        self.position += usize::from(is_there);
        is_there
    }

    /// Passes over digits, of which there must be one; gives the number they are if it has 64 bits.
    #[inline(always)]
    fn digits(&mut self) -> Result<Option<u64>, ValueError> {
        let start = self.position;
        let mut number = Some(0_u64);
        while let Some(digit @ b'0'..=b'9') = self.bytes.get(self.position) {
            number = number.and_then(|number| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
            self.position += 1;
        }
        if self.position == start { Err(self.fault("no digit")) } else { Ok(number) }
    }

    /// Reads the text that begins here. It is part of what is read unless it has escapes.
    #[inline(always)]
    fn text(&mut self) -> Result<Cow<'b, str>, ValueError> {
        self.position += 1;
        let plain = self.plain()?;
        match self.peek()? {
            b'"' => {
                self.position += 1;
                Ok(Cow::Borrowed(plain))
            }
            b'\\' => self.escaped(plain.to_owned()).map(Cow::Owned),
            _ => Err(self.fault("a control character in a text")),
        }
    }

    /// Reads on in a text where it has its first escape.
    fn escaped(&mut self, mut text: String) -> Result<String, ValueError> {
        loop {
            match self.peek()? {
                b'"' => {
                    self.position += 1;
                    return Ok(text);
                }
                b'\\' => text.push(self.escape()?),
                _ => return Err(self.fault("a control character in a text")),
            }
            text.push_str(self.plain()?);
        }
    }

    /// Passes over the bytes of a text that stand for themselves.
    #[inline(always)]
    fn plain(&mut self) -> Result<&'b str, ValueError> {
        let start = self.position;
        self.position += plain_length(&self.bytes[start..]);
        let plain = std::str::from_utf8(&self.bytes[start..self.position]);
        plain.map_err(|error| ValueError::Utf8(start + error.valid_up_to()))
    }

    fn escape(&mut self) -> Result<char, ValueError> {
        let start = self.position;
        self.position += 1;
        let named = match self.peek()? {
            b'u' => return self.code_point(start),
            byte @ (b'"' | b'\\' | b'/') => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            _ => return Err(ValueError::Json { fault: "an unknown escape", at: start }),
        };
        self.position += 1;
        Ok(named)
    }

    /// Reads `u` and four digits, twice where they are half a surrogate pair (RFC 8259 section 7).
    fn code_point(&mut self, start: usize) -> Result<char, ValueError> {
        let first = self.code_unit()?;
        let mut units = [first, 0];
        let mut count = 1;
        if (0xd800..0xdc00).contains(&first) && self.bytes[self.position..].starts_with(b"\\u") {
            self.position += 1;
            units[1] = self.code_unit()?;
            count = 2;
        }
        match char::decode_utf16(units.into_iter().take(count)).next() {
            Some(Ok(character)) => Ok(character),
            _ => Err(ValueError::Surrogate(start)),
        }
    }

    fn code_unit(&mut self) -> Result<u16, ValueError> {
        self.position += 1;
        let mut unit = 0;
        for _ in 0..4 {
            let digit = char::from(self.peek()?).to_digit(16).ok_or_else(|| self.fault("no hexadecimal digit"))?;
            unit = unit << 4 | digit as u16;
            self.position += 1;
        }
        Ok(unit)
    }

    fn skip_text(&mut self) -> Result<(), ValueError> {
        self.position += 1;
        loop {
            self.position += plain_length(&self.bytes[self.position..]);
            match self.peek()? {
                b'"' => {
                    self.position += 1;
                    return Ok(());
                }
                b'\\' => self.position = self.bytes.len().min(self.position + 2),
                _ => self.position += 1,
            }
        }
    }

    /// Passes over a number or a word. Something must follow, or its end may be missing.
    fn skip_word(&mut self) -> Result<(), ValueError> {
        while !is_between(self.peek()?) && !is_closer(self.peek()?) {
            self.position += 1;
        }
        Ok(())
    }
}

fn is_between(byte: u8) -> bool {
    matches!(byte, b',' | b':' | b' ' | b'\t' | b'\n' | b'\r')
}

fn is_closer(byte: u8) -> bool {
    matches!(byte, b']' | b'}')
}

/// How many bytes at the start of these are neither the end of a text, nor an escape, nor a control character.
fn plain_length(bytes: &[u8]) -> usize {
    let is_plain = |byte: &u8| *byte >= b' ' && *byte != b'"' && *byte != b'\\';
    // Blocks of a fixed size without an early end are what the compiler makes vector instructions of.
    let (blocks, _) = bytes.as_chunks::<16>();
    let whole = |block: &[u8; 16]| block.iter().fold(true, |plain, byte| plain & is_plain(byte));
    let start = 16 * blocks.iter().take_while(|block| whole(block)).count();
    start + bytes[start..].iter().take_while(|byte| is_plain(byte)).count()
}
