//! Delivery policies: what a subscriber that cannot keep up is sent. It names them and reads their fields; it skips
//! nothing itself.

use std::fmt;
use std::sync::Arc;

use crate::fields::{Field, Fields, shorten};
use crate::{Payload, Pointer, PointerError};

/// The longest pause a subscriber may ask for between two messages.
const EVERY_MS_MAX: u64 = 3_600_000;

/// What becomes of messages that a subscriber does not read in time. All but [`Delivery::Sample`] act only while its
/// socket takes no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Every message waits; when too many wait the session is closed.
    #[default]
    Queue,
    /// The oldest ones give way.
    DropOldest,
    /// The last message with each value of a field.
    LatestBy(Pointer),
    /// The last message.
    Latest,
    /// At most one message in this many milliseconds, the last one; also where the subscriber is quick enough.
    Sample {
        /// The pause in milliseconds, 1 to 3,600,000.
        every_ms: u32,
    },
}

/// The kinds of delivery policies, those that keep most first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// [`Delivery::Queue`].
    #[default]
    Queue,
    /// [`Delivery::DropOldest`].
    DropOldest,
    /// [`Delivery::LatestBy`].
    LatestBy,
    /// [`Delivery::Latest`].
    Latest,
    /// [`Delivery::Sample`].
    Sample,
}

impl Policy {
    /// All of them, for tables indexed by [`Policy::index`].
    pub const ALL: [Self; 5] = [Self::Queue, Self::DropOldest, Self::LatestBy, Self::Latest, Self::Sample];

    /// The place of this policy in a table with one entry per policy.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name in requests, configuration and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::DropOldest => "drop_oldest",
            Self::LatestBy => "latest_by",
            Self::Latest => "latest",
            Self::Sample => "sample",
        }
    }

    /// The policy of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Delivery {
    /// Its kind.
    pub const fn policy(&self) -> Policy {
        match self {
            Self::Queue => Policy::Queue,
            Self::DropOldest => Policy::DropOldest,
            Self::LatestBy(_) => Policy::LatestBy,
            Self::Latest => Policy::Latest,
            Self::Sample { .. } => Policy::Sample,
        }
    }

    /// Makes a policy of its name and its own fields.
    ///
    /// # Errors
    /// [`DeliveryError`] for a name that no policy has, and for a field that is missing, wrong or not the policy's.
    pub fn new(name: &str, field: Option<&str>, every_ms: Option<u64>) -> Result<Self, DeliveryError> {
        let policy = Policy::from_name(name).ok_or_else(|| DeliveryError::Name(shorten(name)))?;
        if field.is_some() && policy != Policy::LatestBy {
            return Err(DeliveryError::Foreign(policy, "field"));
        }
        if every_ms.is_some() && policy != Policy::Sample {
            return Err(DeliveryError::Foreign(policy, "every_ms"));
        }
        Ok(match policy {
            Policy::Queue => Self::Queue,
            Policy::DropOldest => Self::DropOldest,
            Policy::Latest => Self::Latest,
            Policy::LatestBy => {
                let field = field.ok_or(DeliveryError::Missing(policy, "field"))?;
                Self::LatestBy(Pointer::parse(field).map_err(DeliveryError::Field)?)
            }
            Policy::Sample => {
                let every_ms = every_ms.ok_or(DeliveryError::Missing(policy, "every_ms"))?;
                let in_range = (1..=EVERY_MS_MAX).contains(&every_ms).then_some(every_ms);
                let every_ms = in_range.and_then(|every_ms| u32::try_from(every_ms).ok());
                Self::Sample { every_ms: every_ms.ok_or(DeliveryError::EveryMs)? }
            }
        })
    }

    /// Reads the field `delivery` of a request: a name, or a map with `policy` and the policy's own fields.
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Option<Self>, String> {
        if !fields.has(Field::Delivery) {
            return Ok(None);
        }
        let inside = |message: String| format!("field \"delivery\": {message}");
        let policy = match fields.text(Field::Delivery) {
            Ok(name) => Self::new(&name.unwrap_or_default(), None, None),
            Err(_) => {
                let map =
                    fields.map(Field::Delivery).map_err(|_| inside("neither a policy's name nor a map".into()))?;
                let map = map.ok_or_else(|| inside("is missing".into()))?;
                let name = map.text(Field::Policy).map_err(inside)?;
                let name = name.ok_or_else(|| inside("field \"policy\" is missing".into()))?;
                let field = map.text(Field::Path).map_err(inside)?;
                let every_ms = map.number(Field::EveryMs, "a number of milliseconds").map_err(inside)?;
                Self::new(&name, field.as_deref(), every_ms)
            }
        };
        policy.map(Some).map_err(|error| inside(error.to_string()))
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LatestBy(pointer) => write!(f, "latest_by {pointer}"),
            Self::Sample { every_ms } => write!(f, "sample every {every_ms} ms"),
            _ => self.policy().fmt(f),
        }
    }
}

/// Why there is no such policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// No policy has this name.
    #[error("no delivery policy is called \"{0}\"; there are {names}", names = Policy::ALL.map(Policy::name).join(", "))]
    Name(String),
    /// The policy needs a field.
    #[error("policy \"{0}\" needs field \"{1}\"")]
    Missing(Policy, &'static str),
    /// The policy does not know the field.
    #[error("policy \"{0}\" has no field \"{1}\"")]
    Foreign(Policy, &'static str),
    /// `field` is no JSON pointer.
    #[error("field \"field\": {0}")]
    Field(PointerError),
    /// `every_ms` is out of range.
    #[error("field \"every_ms\" must be 1 to {EVERY_MS_MAX} milliseconds")]
    EveryMs,
}

/// What a message is known by among those of its topic, for [`Delivery::LatestBy`]: the value of the field. Messages whose
/// field is missing, a map or an array are known by nothing, and so are all the same. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key(Arc<[u8]>);

impl Key {
    /// The key of a payload.
    pub fn of(payload: &Payload, pointer: &Pointer) -> Self {
        Self(pointer.scalar_in(payload).unwrap_or_default().into())
    }

    /// How many bytes it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_have_their_own_fields_and_no_others() {
        let symbol = Pointer::parse("/symbol").expect("a pointer");
        for (name, field, every_ms, expected) in [
            ("queue", None, None, Ok(Delivery::Queue)),
            ("drop_oldest", None, None, Ok(Delivery::DropOldest)),
            ("latest", None, None, Ok(Delivery::Latest)),
            ("latest_by", Some("/symbol"), None, Ok(Delivery::LatestBy(symbol))),
            ("sample", None, Some(250), Ok(Delivery::Sample { every_ms: 250 })),
            ("sample", None, Some(0), Err(DeliveryError::EveryMs)),
            ("sample", None, Some(3_600_001), Err(DeliveryError::EveryMs)),
            ("sample", None, Some(u64::MAX), Err(DeliveryError::EveryMs)),
            ("sample", None, None, Err(DeliveryError::Missing(Policy::Sample, "every_ms"))),
            ("latest_by", None, None, Err(DeliveryError::Missing(Policy::LatestBy, "field"))),
            ("latest", Some("/symbol"), None, Err(DeliveryError::Foreign(Policy::Latest, "field"))),
            ("latest_by", Some("/symbol"), Some(5), Err(DeliveryError::Foreign(Policy::LatestBy, "every_ms"))),
            ("sample", Some("/symbol"), Some(5), Err(DeliveryError::Foreign(Policy::Sample, "field"))),
            ("loudly", None, None, Err(DeliveryError::Name("loudly".into()))),
        ] {
            assert_eq!(Delivery::new(name, field, every_ms), expected, "{name} {field:?} {every_ms:?}");
        }
    }

    #[test]
    fn indices_are_places_in_tables() {
        for (index, policy) in Policy::ALL.into_iter().enumerate() {
            assert_eq!((policy.index(), Policy::from_name(policy.name())), (index, Some(policy)));
        }
    }
}
