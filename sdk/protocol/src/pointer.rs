//! JSON pointers (RFC 6901): where in a payload a field is. Payloads are read through, never built into a tree.

use std::fmt;
use std::sync::Arc;

use crate::value::{Sink, json, msgpack};
use crate::{DEPTH_MAX, Encoding, Payload};

/// The longest pointer.
const BYTES_MAX: usize = 255;

/// A place in a value, for instance `/symbol` or `/legs/0/price`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pointer(Arc<Path>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Path {
    text: String,
    tokens: Vec<String>,
}

/// Why a text is no pointer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// It does not begin with a slash.
    #[error("a JSON pointer is empty or begins with \"/\", like \"/symbol\"")]
    Start,
    /// `~` without `0` or `1` behind it.
    #[error("in a JSON pointer \"~\" is written \"~0\", and \"/\" in a name \"~1\"")]
    Escape,
    /// It is longer than 255 bytes or has more tokens than values are deep.
    #[error("a JSON pointer has at most {BYTES_MAX} bytes and {DEPTH_MAX} names")]
    Long,
}

impl Pointer {
    /// Reads a pointer.
    ///
    /// # Errors
    /// [`PointerError`].
    pub fn parse(text: &str) -> Result<Self, PointerError> {
        let mut tokens = Vec::new();
        if text.len() > BYTES_MAX {
            return Err(PointerError::Long);
        }
        if !text.is_empty() {
            let names = text.strip_prefix('/').ok_or(PointerError::Start)?;
            tokens = names.split('/').map(unescape).collect::<Option<_>>().ok_or(PointerError::Escape)?;
        }
        if tokens.len() > DEPTH_MAX {
            return Err(PointerError::Long);
        }
        Ok(Self(Arc::new(Path { text: text.to_owned(), tokens })))
    }

    /// The pointer as it was written.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The value at this place, written in a way that is the same for the same value whatever the codec. None when there
    /// is none, when it is a map or an array, and in a payload of opaque bytes. Of a key that stands twice the last counts.
    pub(crate) fn scalar_in(&self, payload: &Payload) -> Option<Vec<u8>> {
        let mut search = Search::new(&self.0.tokens);
        let read = match payload.encoding() {
            Encoding::Json => json::read(payload.content(), &mut search),
            Encoding::MessagePack => msgpack::read(payload.content(), &mut search),
            Encoding::Bytes => Ok(()),
        };
        read.expect("a payload was checked when it was made");
        search.found
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

/// RFC 6901 section 4: first `~1`, then `~0`.
fn unescape(token: &str) -> Option<String> {
    let escapes = token.match_indices('~').count();
    if token.matches("~0").count() + token.matches("~1").count() != escapes {
        return None;
    }
    Some(token.replace("~1", "/").replace("~0", "~"))
}

/// Follows the events of a value and keeps the scalar at one place.
struct Search<'p> {
    tokens: &'p [String],
    found: Option<Vec<u8>>,
    /// Containers that are open.
    open: usize,
    /// How many of them, from the outside, lie on the way to the place.
    on_way: usize,
    /// Whether the next value lies on the way.
    next_is: bool,
    /// Where an array on the way is: the place of its next item.
    items: [Option<usize>; DEPTH_MAX + 1],
}

impl<'p> Search<'p> {
    fn new(tokens: &'p [String]) -> Self {
        Self { tokens, found: None, open: 0, on_way: 0, next_is: true, items: [None; DEPTH_MAX + 1] }
    }

    /// A value begins: whether it lies on the way.
    fn begins(&mut self) -> bool {
        if self.open != self.on_way {
            return false;
        }
        if let Some(item) = &mut self.items[self.on_way] {
            self.next_is = is_index(&self.tokens[self.on_way - 1], *item);
            *item += 1;
        }
        let is_on_way = std::mem::take(&mut self.next_is);
        if is_on_way {
            // Whatever an earlier value of the same key held is no longer there.
            self.found = None;
        }
        is_on_way
    }

    fn scalar(&mut self, write: impl FnOnce(&mut msgpack::Writer<'_>)) {
        if self.begins() && self.on_way == self.tokens.len() {
            let mut out = Vec::new();
            write(&mut msgpack::Writer::new(&mut out));
            self.found = Some(out);
        }
    }

    fn container(&mut self, items: Option<usize>) {
        if self.begins() && self.on_way < self.tokens.len() {
            self.on_way += 1;
            self.items[self.on_way] = items;
        }
        self.open += 1;
    }
}

/// Array indices are written without leading zeros (RFC 6901 section 4).
fn is_index(token: &str, item: usize) -> bool {
    (token == "0" || !token.starts_with('0')) && token.parse() == Ok(item)
}

impl Sink for Search<'_> {
    fn null(&mut self) {
        self.scalar(|writer| writer.null());
    }

    fn bool(&mut self, value: bool) {
        self.scalar(|writer| writer.bool(value));
    }

    fn unsigned(&mut self, value: u64) {
        self.scalar(|writer| writer.unsigned(value));
    }

    fn signed(&mut self, value: i64) {
        self.scalar(|writer| writer.signed(value));
    }

    fn float(&mut self, value: f64) {
        self.scalar(|writer| writer.float(value));
    }

    fn text(&mut self, value: &str) {
        self.scalar(|writer| writer.text(value));
    }

    fn bytes(&mut self, value: &[u8]) {
        self.scalar(|writer| writer.bytes(value));
    }

    fn array(&mut self) {
        self.container(Some(0));
    }

    fn map(&mut self) {
        self.container(None);
    }

    fn key(&mut self, key: &str) {
        if self.open == self.on_way {
            self.next_is = self.tokens[self.on_way - 1] == key;
        }
    }

    fn end(&mut self) {
        if self.open == self.on_way {
            self.on_way -= 1;
        }
        self.open -= 1;
        self.next_is = false;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(pointer: &str, value: &Value) -> Option<Value> {
        let payloads = [
            Payload::json(value).expect("a payload"),
            Payload::new(Encoding::MessagePack, rmp_serde::to_vec(value).expect("bytes")).expect("a payload"),
        ];
        let pointer = Pointer::parse(pointer).expect("a pointer");
        let [json, msgpack] = payloads.map(|payload| pointer.scalar_in(&payload));
        assert_eq!(json, msgpack, "{pointer} in {value}");
        json.map(|bytes| rmp_serde::from_slice(&bytes).expect("one value"))
    }

    #[test]
    fn finds_what_serde_json_finds() {
        let value = json!({
            "symbol": "ACME", "price": 101.25, "": 1, "a/b": 2, "m~n": 3, "none": null, "deep": {"x": {"symbol": -5}},
            "list": [10, {"symbol": "inner"}, [1, 2, [true]]], "0": "zero", "last": {"symbol": 18446744073709551615_u64},
        });
        for pointer in [
            "/symbol",
            "/price",
            "/",
            "/a~1b",
            "/m~0n",
            "/none",
            "/deep/x/symbol",
            "/deep/x",
            "/deep/symbol",
            "/list/0",
            "/list/1/symbol",
            "/list/2/2/0",
            "/list/3",
            "/list/01",
            "/list/-",
            "/list/symbol",
            "/0",
            "/last/symbol",
            "/missing",
            "/symbol/0",
            "",
            "/deep/x/symbol/y",
        ] {
            let expected = value.pointer(pointer).filter(|value| !value.is_object() && !value.is_array());
            assert_eq!(found(pointer, &value).as_ref(), expected, "{pointer}");
        }
        assert_eq!(found("", &json!("whole")), Some(json!("whole")));
    }

    #[test]
    fn of_a_key_that_stands_twice_the_last_counts() {
        for (pointer, text, expected) in [
            ("/a", r#"{"a":1,"a":2}"#, Some(vec![2])),
            ("/a", r#"{"a":1,"a":{}}"#, None),
            ("/a/b", r#"{"a":{"b":1},"a":5}"#, None),
            ("/a/b", r#"{"a":{"b":1},"a":{"c":5}}"#, None),
            ("/a/0", r#"{"a":{"0":1},"a":[7]}"#, Some(vec![7])),
        ] {
            let pointer = Pointer::parse(pointer).expect("a pointer");
            let payload = Payload::new(Encoding::Json, text).expect("a payload");
            assert_eq!(pointer.scalar_in(&payload), expected, "{text}");
        }
    }

    #[test]
    fn opaque_bytes_have_no_fields() {
        let pointer = Pointer::parse("").expect("a pointer");
        assert_eq!(pointer.scalar_in(&Payload::bytes(vec![1])), None);
    }

    #[test]
    fn refuses_what_is_no_pointer() {
        let (long, deep) = ("/".to_owned() + &"x".repeat(255), "/x".repeat(33));
        for (text, error) in [
            ("symbol", PointerError::Start),
            ("/a~", PointerError::Escape),
            ("/a~2", PointerError::Escape),
            ("/~~0", PointerError::Escape),
            (&long, PointerError::Long),
            (&deep, PointerError::Long),
        ] {
            assert_eq!(Pointer::parse(text), Err(error), "{text}");
        }
    }
}
