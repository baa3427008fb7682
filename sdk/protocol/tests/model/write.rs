//! Writes a model by hand in either codec, in any of the forms the codec has for the same value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rialto_protocol::Codec;

use super::{Key, Model};

/// Writes a value; `seed` chooses among the forms.
pub(crate) fn write(codec: Codec, model: &Model, seed: u64) -> Vec<u8> {
    let mut writer = Writer { out: Vec::new(), state: seed | 1 };
    match codec {
        Codec::Json => writer.json(model),
        Codec::MessagePack => writer.msgpack(model),
    }
    writer.out
}

struct Writer {
    out: Vec<u8>,
    state: u64,
}

impl Writer {
    /// A number below `bound`, the same for the same seed.
    fn choose(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state % bound as u64).expect("a small number")
    }

    fn put(&mut self, bytes: impl AsRef<[u8]>) {
        self.out.extend_from_slice(bytes.as_ref());
    }

    fn space(&mut self) {
        let space = ["", "", "", " ", "\n", "\t\r "][self.choose(6)];
        self.put(space);
    }

    fn json(&mut self, model: &Model) {
        self.space();
        match model {
            Model::Null => self.put("null"),
            Model::Bool(flag) => self.put(flag.to_string()),
            Model::Whole(number) => self.put(number.to_string()),
            Model::Float(number) => self.json_float(*number),
            Model::NotFinite(number) if number.is_nan() => self.put("NaN"),
            Model::NotFinite(number) => self.put(if *number > 0.0 { "1e999" } else { "-12.5E+400" }),
            Model::Text(text) => self.json_text(text),
            Model::BrokenText => self.json_broken(),
            Model::Bytes(bytes) => self.json_text(&BASE64.encode(bytes)),
            Model::Array(items) => {
                self.put("[");
                for (place, item) in items.iter().enumerate() {
                    self.put(if place > 0 { "," } else { "" });
                    self.json(item);
                }
                self.put("]");
            }
            Model::Map(entries) => {
                self.put("{");
                for (place, (key, value)) in entries.iter().enumerate() {
                    self.put(if place > 0 { "," } else { "" });
                    self.space();
                    match key {
                        Key::Text(key) => self.json_text(key),
                        Key::Broken => self.json_broken(),
                        Key::Number(number) => self.put(number.to_string()),
                    }
                    self.space();
                    self.put(":");
                    self.json(value);
                }
                self.put("}");
            }
        }
        self.space();
    }

    fn json_broken(&mut self) {
        let broken = [r#""\ud800""#, r#""a\udc00""#, r#""\ud83d\ud83d""#, r#""\uD83D\n""#][self.choose(4)];
        self.put(broken);
    }

    /// Digits alone would be another number where they have 64 bits.
    fn json_float(&mut self, number: f64) {
        let is_minus_zero = number == 0.0 && number.is_sign_negative();
        let is_short_whole = number.fract() == 0.0 && number.abs() < 1e20 && !is_minus_zero;
        let form = match self.choose(4) {
            0 if !is_short_whole => number.to_string(),
            1 => format!("{number:e}"),
            2 => format!("{number:E}"),
            _ => format!("{number:?}"),
        };
        self.put(form);
    }

    fn json_text(&mut self, text: &str) {
        self.put("\"");
        for character in text.chars() {
            let must_escape = character < ' ' || character == '"' || character == '\\';
            match (character, self.choose(4)) {
                ('\n', 0) => self.put("\\n"),
                ('\t', 0) => self.put("\\t"),
                ('\u{8}', 0) => self.put("\\b"),
                ('"' | '\\' | '/', 1..) => {
                    self.put("\\");
                    self.put(character.to_string());
                }
                (_, form) if must_escape || form == 0 => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        self.put(format!("\\u{unit:04x}"));
                    }
                }
                _ => self.put(character.to_string()),
            }
        }
        self.put("\"");
    }

    fn msgpack(&mut self, model: &Model) {
        match model {
            Model::Null => self.put([0xc0]),
            Model::Bool(flag) => self.put([if *flag { 0xc3 } else { 0xc2 }]),
            Model::Whole(number) => self.msgpack_whole(*number),
            Model::Float(number) | Model::NotFinite(number) => {
                let short = *number as f32;
                if f64::from(short).to_bits() == number.to_bits() && self.choose(2) == 0 {
                    self.put([0xca]);
                    self.put(short.to_be_bytes());
                } else {
                    self.put([0xcb]);
                    self.put(number.to_be_bytes());
                }
            }
            Model::Text(text) => self.msgpack_text(text.as_bytes()),
            Model::BrokenText => self.msgpack_broken(),
            Model::Bytes(bytes) => {
                self.header(bytes.len(), None, [Some(0xc4), Some(0xc5), Some(0xc6)]);
                self.put(bytes);
            }
            Model::Array(items) => {
                self.header(items.len(), Some((0x90, 15)), [None, Some(0xdc), Some(0xdd)]);
                for item in items {
                    self.msgpack(item);
                }
            }
            Model::Map(entries) => {
                self.header(entries.len(), Some((0x80, 15)), [None, Some(0xde), Some(0xdf)]);
                for (key, value) in entries {
                    match key {
                        Key::Text(key) => self.msgpack_text(key.as_bytes()),
                        Key::Broken => self.msgpack_broken(),
                        Key::Number(number) => self.msgpack_whole((*number).into()),
                    }
                    self.msgpack(value);
                }
            }
        }
    }

    fn msgpack_text(&mut self, text: &[u8]) {
        self.header(text.len(), Some((0xa0, 31)), [Some(0xd9), Some(0xda), Some(0xdb)]);
        self.put(text);
    }

    fn msgpack_broken(&mut self) {
        let broken: [&[u8]; 4] = [b"\xff", b"a\xc0\xaf", b"\xe2\x82", b"\xed\xa0\x80"];
        let broken = broken[self.choose(4)];
        self.msgpack_text(broken);
    }

    /// Any of the forms that hold the number.
    fn msgpack_whole(&mut self, number: i128) {
        let mut forms: Vec<Vec<u8>> = Vec::new();
        let mut add =
            |marker: Option<u8>, content: &[u8]| forms.push(marker.into_iter().chain(content.to_vec()).collect());
        if (-32..128).contains(&number) {
            add(None, &[number as u8]);
        }
        if let Ok(number) = u8::try_from(number) {
            add(Some(0xcc), &number.to_be_bytes());
        }
        if let Ok(number) = u16::try_from(number) {
            add(Some(0xcd), &number.to_be_bytes());
        }
        if let Ok(number) = u32::try_from(number) {
            add(Some(0xce), &number.to_be_bytes());
        }
        if let Ok(number) = u64::try_from(number) {
            add(Some(0xcf), &number.to_be_bytes());
        }
        if let Ok(number) = i8::try_from(number) {
            add(Some(0xd0), &number.to_be_bytes());
        }
        if let Ok(number) = i16::try_from(number) {
            add(Some(0xd1), &number.to_be_bytes());
        }
        if let Ok(number) = i32::try_from(number) {
            add(Some(0xd2), &number.to_be_bytes());
        }
        if let Ok(number) = i64::try_from(number) {
            add(Some(0xd3), &number.to_be_bytes());
        }
        let form = self.choose(forms.len());
        self.put(&forms[form]);
    }

    /// A length behind any of the markers that have room for it; `fixed` is a marker that holds the length itself.
    fn header(&mut self, length: usize, fixed: Option<(u8, usize)>, markers: [Option<u8>; 3]) {
        let mut forms: Vec<Vec<u8>> = Vec::new();
        if let Some((marker, most)) = fixed
            && length <= most
        {
            forms.push(vec![marker | length as u8]);
        }
        for (marker, width) in markers.into_iter().zip([1, 2, 4]) {
            let bytes = (length as u32).to_be_bytes();
            if let Some(marker) = marker
                && bytes[..4 - width].iter().all(|byte| *byte == 0)
            {
                forms.push([&[marker], &bytes[4 - width..]].concat());
            }
        }
        let form = self.choose(forms.len());
        self.put(&forms[form]);
    }
}
