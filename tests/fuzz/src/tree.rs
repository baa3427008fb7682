//! A value as a tree that alters nothing: keys keep their order and may stand twice, floats are compared by their bits.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rialto_protocol::value::Sink;
use rmpv::Value as Theirs;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// One value of either codec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    Null,
    Bool(bool),
    /// A whole number that is not negative.
    Unsigned(u64),
    /// A negative whole number.
    Signed(i64),
    /// The bits of a double.
    Float(u64),
    Text(String),
    Bytes(Vec<u8>),
    Array(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    /// Reads JSON with serde_json alone; none for what it refuses.
    pub fn of_json(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// Reads MessagePack with rmpv alone; none for what it refuses and for what JSON cannot say.
    pub fn of_msgpack(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let value = rmpv::decode::read_value(&mut rest).ok()?;
        if rest.is_empty() { Self::of_theirs(value) } else { None }
    }

    fn of_theirs(value: Theirs) -> Option<Self> {
        Some(match value {
            Theirs::Nil => Self::Null,
            Theirs::Boolean(value) => Self::Bool(value),
            Theirs::Integer(value) => match value.as_u64() {
                Some(value) => Self::Unsigned(value),
                None => Self::Signed(value.as_i64()?),
            },
            Theirs::F32(value) if value.is_finite() => Self::Float(f64::from(value).to_bits()),
            Theirs::F64(value) if value.is_finite() => Self::Float(value.to_bits()),
            Theirs::String(text) => Self::Text(text.into_str()?),
            Theirs::Binary(bytes) => Self::Bytes(bytes),
            Theirs::Array(items) => Self::Array(items.into_iter().map(Self::of_theirs).collect::<Option<_>>()?),
            Theirs::Map(entries) => {
                let entries = entries.into_iter().map(|(key, value)| match key {
                    Theirs::String(key) => Some((key.into_str()?, Self::of_theirs(value)?)),
                    _ => None,
                });
                Self::Map(entries.collect::<Option<_>>()?)
            }
            Theirs::F32(_) | Theirs::F64(_) | Theirs::Ext(..) => return None,
        })
    }

    /// Writes MessagePack with rmpv alone.
    pub fn to_msgpack(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, &self.to_theirs()).expect("writing into memory does not fail");
        bytes
    }

    fn to_theirs(&self) -> Theirs {
        match self {
            Self::Null => Theirs::Nil,
            Self::Bool(value) => (*value).into(),
            Self::Unsigned(value) => (*value).into(),
            Self::Signed(value) => (*value).into(),
            Self::Float(bits) => f64::from_bits(*bits).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Bytes(bytes) => bytes.as_slice().into(),
            Self::Array(items) => Theirs::Array(items.iter().map(Self::to_theirs).collect()),
            Self::Map(entries) => {
                Theirs::Map(entries.iter().map(|(key, value)| (key.as_str().into(), value.to_theirs())).collect())
            }
        }
    }

    /// Writes JSON with serde_json alone.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("writing into memory does not fail")
    }

    /// The same value with `bin` as the base64 text that stands for it in JSON.
    pub fn as_json_says_it(&self) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Text(BASE64.encode(bytes)),
            Self::Array(items) => Self::Array(items.iter().map(Self::as_json_says_it).collect()),
            Self::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| (key.clone(), value.as_json_says_it()));
                Self::Map(entries.collect())
            }
            other => other.clone(),
        }
    }

    /// How deep arrays and maps are nested.
    pub fn depth(&self) -> usize {
        match self {
            Self::Array(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Self::Map(entries) => 1 + entries.iter().map(|(_, value)| value.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// Whether there is a `bin` anywhere in it.
    pub fn has_bytes(&self) -> bool {
        match self {
            Self::Bytes(_) => true,
            Self::Array(items) => items.iter().any(Self::has_bytes),
            Self::Map(entries) => entries.iter().any(|(_, value)| value.has_bytes()),
            _ => false,
        }
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Bool(value) => to.serialize_bool(*value),
            Self::Unsigned(value) => to.serialize_u64(*value),
            Self::Signed(value) => to.serialize_i64(*value),
            Self::Float(bits) => to.serialize_f64(f64::from_bits(*bits)),
            Self::Text(text) => to.serialize_str(text),
            Self::Bytes(bytes) => to.serialize_str(&BASE64.encode(bytes)),
            Self::Array(items) => to.collect_seq(items),
            Self::Map(entries) => {
                let mut map = to.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Growing)
    }
}

struct Growing;

impl<'de> Visitor<'de> for Growing {
    type Value = Tree;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Unsigned(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Tree, E> {
        Ok(u64::try_from(value).map_or(Tree::Signed(value), Tree::Unsigned))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Float(value.to_bits()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut tree = Vec::new();
        while let Some(item) = items.next_element()? {
            tree.push(item);
        }
        Ok(Tree::Array(tree))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut tree = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            tree.push(entry);
        }
        Ok(Tree::Map(tree))
    }
}

/// Builds a tree from what one of Rialto's readers tells, and holds the reader to the order of events.
#[derive(Debug, Default)]
pub struct Planter {
    open: Vec<(Option<String>, Tree)>,
    key: Option<String>,
    done: Option<Tree>,
}

impl Planter {
    /// The tree, once the reader has told all of one value.
    pub fn grown(self) -> Tree {
        assert!(self.open.is_empty(), "an array or a map does not end");
        self.done.expect("a reader that is content has told a value")
    }

    fn put(&mut self, tree: Tree) {
        let key = self.key.take();
        self.put_under(key, tree);
    }

    fn put_under(&mut self, key: Option<String>, tree: Tree) {
        match (self.open.last_mut().map(|(_, container)| container), key) {
            (Some(Tree::Map(entries)), Some(key)) => entries.push((key, tree)),
            (Some(Tree::Array(items)), None) => items.push(tree),
            (None, None) => assert!(self.done.replace(tree).is_none(), "more than one value"),
            (container, key) => panic!("a value under the key {key:?} in {container:?}"),
        }
    }

    fn begin(&mut self, container: Tree) {
        let key = self.key.take();
        self.open.push((key, container));
    }
}

impl Sink for Planter {
    fn null(&mut self) {
        self.put(Tree::Null);
    }

    fn bool(&mut self, value: bool) {
        self.put(Tree::Bool(value));
    }

    fn unsigned(&mut self, value: u64) {
        self.put(Tree::Unsigned(value));
    }

    fn signed(&mut self, value: i64) {
        assert!(value < 0, "{value} told as a negative number");
        self.put(Tree::Signed(value));
    }

    fn float(&mut self, value: f64) {
        assert!(value.is_finite(), "{value} told as a number");
        self.put(Tree::Float(value.to_bits()));
    }

    fn text(&mut self, value: &str) {
        self.put(Tree::Text(value.to_owned()));
    }

    fn bytes(&mut self, value: &[u8]) {
        self.put(Tree::Bytes(value.to_vec()));
    }

    fn array(&mut self) {
        self.begin(Tree::Array(Vec::new()));
    }

    fn map(&mut self) {
        self.begin(Tree::Map(Vec::new()));
    }

    fn key(&mut self, key: &str) {
        assert!(self.key.replace(key.to_owned()).is_none(), "a key follows a key");
    }

    fn end(&mut self) {
        assert!(self.key.is_none(), "a key without a value");
        let (key, tree) = self.open.pop().expect("an end follows its beginning");
        self.put_under(key, tree);
    }
}
