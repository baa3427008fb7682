//! JSON by the letter of RFC 8259, as a recursive descent that only says yes or no. What it does not look at: meaning.

/// Why a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not JSON, has a lone surrogate, or a number beyond a double.
    Text,
    /// It is nested too deep.
    Depth,
}

/// Whether the text is one JSON value, nested at most so deep.
///
/// # Errors
/// The first reason against it, from left to right.
pub fn check(text: &[u8], depth_max: usize) -> Result<(), Refusal> {
    let mut walk = Walk { text, at: 0 };
    walk.space();
    walk.value(depth_max)?;
    walk.space();
    if walk.at == text.len() { Ok(()) } else { Err(Refusal::Text) }
}

struct Walk<'t> {
    text: &'t [u8],
    at: usize,
}

impl Walk<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, Refusal> {
        let byte = self.peek().ok_or(Refusal::Text)?;
        self.at += 1;
        Ok(byte)
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Refusal> {
        for expected in word {
            if self.next()? != *expected {
                return Err(Refusal::Text);
            }
        }
        Ok(())
    }

    fn value(&mut self, depth_left: usize) -> Result<(), Refusal> {
        match self.peek().ok_or(Refusal::Text)? {
            b'n' => self.word(b"null"),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(),
            b'[' => self.list(depth_left, b']', |walk, depth_left| walk.value(depth_left)),
            b'{' => self.list(depth_left, b'}', |walk, depth_left| {
                walk.string()?;
                walk.space();
                walk.word(b":")?;
                walk.space();
                walk.value(depth_left)
            }),
            _ => Err(Refusal::Text),
        }
    }

    /// What stands between brackets, separated by commas.
    fn list(
        &mut self,
        depth_left: usize,
        closer: u8,
        item: impl Fn(&mut Self, usize) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let depth_left = depth_left.checked_sub(1).ok_or(Refusal::Depth)?;
        self.at += 1;
        self.space();
        if self.peek() == Some(closer) {
            self.at += 1;
            return Ok(());
        }
        loop {
            item(self, depth_left)?;
            self.space();
            match self.next()? {
                b',' => self.space(),
                byte if byte == closer => return Ok(()),
                _ => return Err(Refusal::Text),
            }
        }
    }

    fn string(&mut self) -> Result<(), Refusal> {
        self.word(b"\"")?;
        let start = self.at;
        loop {
            match self.next()? {
                b'"' => break,
                b'\\' => self.escape()?,
                0..0x20 => return Err(Refusal::Text),
                _ => {}
            }
        }
        std::str::from_utf8(&self.text[start..self.at - 1]).map(drop).map_err(|_| Refusal::Text)
    }

    fn escape(&mut self) -> Result<(), Refusal> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => match self.hexadecimal()? {
                0xd800..=0xdbff => {
                    self.word(b"\\u")?;
                    if (0xdc00..=0xdfff).contains(&self.hexadecimal()?) { Ok(()) } else { Err(Refusal::Text) }
                }
                0xdc00..=0xdfff => Err(Refusal::Text),
                _ => Ok(()),
            },
            _ => Err(Refusal::Text),
        }
    }

    fn hexadecimal(&mut self) -> Result<u32, Refusal> {
        let mut number = 0;
        for _ in 0..4 {
            number = number * 16 + char::from(self.next()?).to_digit(16).ok_or(Refusal::Text)?;
        }
        Ok(number)
    }

    fn number(&mut self) -> Result<(), Refusal> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = std::str::from_utf8(&self.text[start..self.at]).map_err(|_| Refusal::Text)?;
        if text.parse::<f64>().is_ok_and(f64::is_finite) { Ok(()) } else { Err(Refusal::Text) }
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), Refusal> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(Refusal::Text) }
    }
}
