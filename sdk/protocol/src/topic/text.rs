//! The text of a name: stored inline while it is short, as most names are, so that a lookup among many topics needs no
//! second memory access. It knows no rules for names.

use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::str::from_utf8;
use std::sync::Arc;

/// Longest inline text: the most that keeps the type within five machine words.
const SHORT_MAX: usize = 38;

/// Text that is cheap to clone. Equal texts have the same representation, so the derived comparison is right.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Text {
    Short { length: u8, bytes: [u8; SHORT_MAX] },
    Long(Arc<str>),
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let mut bytes = [0; SHORT_MAX];
        match bytes.get_mut(..text.len()) {
            Some(target) => {
                target.copy_from_slice(text.as_bytes());
                Self::Short { length: text.len() as u8, bytes }
            }
            None => Self::Long(text.into()),
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Short { length, bytes } => {
                from_utf8(&bytes[..usize::from(*length)]).expect("the bytes were copied from a text")
            }
            Self::Long(text) => text,
        }
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(other)
    }
}

/// The same hash as `str`, because maps keyed by topics are looked up by `&str`.
impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher as _, RandomState};

    use super::*;

    #[test]
    fn a_text_is_the_same_whatever_its_length() {
        let hasher = RandomState::new();
        assert_eq!(size_of::<Text>(), 40);
        for length in 0..=255 {
            let (one, other) = ("é".repeat(length / 2) + &"x".repeat(length % 2), "y".repeat(length));
            let (text, second) = (Text::from(&*one), Text::from(&*other));
            assert_eq!((&*text, matches!(text, Text::Short { .. })), (&*one, length <= SHORT_MAX));
            assert_eq!((text == second, text.cmp(&second)), (one == other, one.cmp(&other)));
            assert!(text.clone() == Text::from(&*one));
            assert_eq!(hasher.hash_one(&text), hasher.hash_one(&*one));
        }
    }
}
