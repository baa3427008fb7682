//! Counts the subscribers of a topic per shard, and the messages that they have missed. It delivers nothing.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering::AcqRel, Ordering::Acquire};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rialto_protocol::{Delivery, Pointer, Policy};

use super::patterns::Retirement;
use crate::metrics::Counter;
use crate::shares::{Holder, is_used_up};

/// The number of a topic's subscribers on each shard.
#[derive(Debug)]
pub(crate) struct Audience {
    counts: Counts,
    skipped: [Counter; Policy::ALL.len()],
    fields: Mutex<Fields>,
    /// For a pattern: removes it when its last subscriber has left.
    retirement: Option<Box<Retirement>>,
}

/// The fields that subscriptions with `latest_by` use.
#[derive(Debug, Default)]
struct Fields {
    /// The field of the topic's own policy, which needs no reservation.
    own: Option<Pointer>,
    /// The others.
    reserved: Vec<FieldUse>,
}

/// One number for each shard.
#[derive(Debug)]
enum Counts {
    Few([AtomicU32; FEW]),
    Many(Box<[AtomicU32]>),
}

/// The number of shards up to which the counts need no allocation.
const FEW: usize = 8;

/// A field, how many subscriptions use it, and whose share of the fields it uses up.
#[derive(Debug)]
struct FieldUse {
    field: Pointer,
    count: u32,
    holder: Holder,
}

/// The reservation of a field for one subscription, until this is dropped.
#[derive(Debug)]
pub(crate) struct FieldPlace {
    audience: Arc<Audience>,
    field: Pointer,
}

/// The subscribers of the topic use the maximum number of different fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyFields;

impl Audience {
    /// An audience without subscribers. `delivery` is the topic's own policy.
    pub(crate) fn new(shards: usize, delivery: &Delivery) -> Self {
        let counts = match shards {
            ..=FEW => Counts::Few(Default::default()),
            _ => Counts::Many((0..shards).map(|_| AtomicU32::new(0)).collect()),
        };
        let audience = Self { counts, skipped: Default::default(), fields: Mutex::default(), retirement: None };
        audience.set_own_field(delivery);
        audience
    }

    /// The same for a pattern.
    pub(in crate::hub) fn of_pattern(shards: usize, retirement: Retirement) -> Self {
        Self { retirement: Some(Box::new(retirement)), ..Self::new(shards, &Delivery::Queue) }
    }

    /// Counts a subscriber. For a topic only [`Reach::enter`](crate::hub::Reach::enter) does so, else publishers do not
    /// find it.
    pub(crate) fn enter(&self, shard: usize) {
        self.counts[shard].fetch_add(1, AcqRel);
    }

    /// Counts a subscriber out.
    pub(crate) fn leave(&self, shard: usize) {
        let before = self.counts[shard].fetch_sub(1, AcqRel);
        debug_assert!(before > 0, "a session leaves only what it has entered");
        if before == 1
            && let Some(retirement) = &self.retirement
        {
            retirement.retire();
        }
    }

    /// The topic's own policy is another one from now on.
    pub(crate) fn set_own_field(&self, delivery: &Delivery) {
        if let Delivery::LatestBy(field) = delivery {
            self.fields().own = Some(field.clone());
        } else {
            self.fields().own = None;
        }
    }

    /// Reserves what a policy needs: for `latest_by` its field.
    ///
    /// # Errors
    /// [`TooManyFields`] when the field would be one more than `fields_max`, or than the holder's share of them.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        delivery: &Delivery,
        fields_max: usize,
        holder: impl FnOnce() -> Holder,
    ) -> Result<Option<FieldPlace>, TooManyFields> {
        let Delivery::LatestBy(field) = delivery else { return Ok(None) };
        let Fields { own, reserved } = &mut *self.fields();
        if own.as_ref() == Some(field) {
            return Ok(None);
        }
        match reserved.iter_mut().find(|known| known.field == *field) {
            Some(FieldUse { count, .. }) => *count += 1,
            None => {
                let holder = holder();
                let held = reserved.iter().filter(|known| known.holder == holder).count();
                if is_used_up(fields_max as u64, reserved.len() as u64, held as u64) {
                    return Err(TooManyFields);
                }
                reserved.push(FieldUse { field: field.clone(), count: 1, holder });
            }
        }
        Ok(Some(FieldPlace { audience: Arc::clone(self), field: field.clone() }))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| count.load(Acquire) == 0)
    }

    /// The number of subscribers.
    pub(crate) fn subscribers(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(count.load(Acquire))).sum()
    }

    /// Whether a shard has subscribers.
    pub(in crate::hub) fn has(&self, shard: usize) -> bool {
        self.counts[shard].load(Acquire) > 0
    }

    /// The shards that have subscribers.
    pub(in crate::hub) fn shards(&self) -> impl Iterator<Item = usize> {
        let present = self.counts.iter().enumerate().filter(|(_, count)| count.load(Acquire) > 0);
        present.map(|(shard, _)| shard)
    }

    fn fields(&self) -> MutexGuard<'_, Fields> {
        self.fields.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts messages that a subscriber was not sent.
    pub(in crate::hub) fn skip(&self, policy: Policy, messages: usize) {
        self.skipped[policy.index()].add(messages as u64);
    }

    /// Messages that subscribers were not sent, by policy.
    pub(crate) fn skipped(&self) -> [u64; Policy::ALL.len()] {
        self.skipped.each_ref().map(Counter::get)
    }
}

impl Deref for Counts {
    type Target = [AtomicU32];

    fn deref(&self) -> &[AtomicU32] {
        match self {
            Self::Few(few) => few,
            Self::Many(many) => many,
        }
    }
}

impl Drop for FieldPlace {
    fn drop(&mut self) {
        self.audience.fields().reserved.retain_mut(|known| {
            known.count -= u32::from(known.field == self.field);
            known.count > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_limited_per_topic_and_released_with_their_last_subscription() {
        let by = |field: &str| Delivery::LatestBy(Pointer::parse(field).expect("a pointer"));
        let audience = Arc::new(Audience::new(1, &by("/own")));
        let holder = || Holder::Session("s".into());
        let reserve = |field: &str| audience.reserve(&by(field), 2, holder);
        let places =
            [reserve("/a"), reserve("/b"), reserve("/a")].map(|place| place.expect("the limit is not reached"));
        assert_eq!(reserve("/c").err(), Some(TooManyFields));
        assert!(reserve("/own").expect("the topic's own").is_none());
        assert!(audience.reserve(&Delivery::Latest, 0, holder).expect("no field").is_none());
        let [first, _second, third] = places;
        drop(first);
        assert_eq!(reserve("/c").err(), Some(TooManyFields), "one subscription still uses /a");
        drop(third);
        assert!(reserve("/c").expect("below the limit again").is_some());
    }

    #[test]
    fn nobody_uses_all_fields_of_a_topic() {
        let by = |field: &str| Delivery::LatestBy(Pointer::parse(field).expect("a pointer"));
        let audience = Arc::new(Audience::new(1, &Delivery::Queue));
        let reserve = |who: &str, number: usize| {
            audience.reserve(&by(&format!("/{who}{number}")), 16, || Holder::Session(who.into())).ok()
        };
        let greedy: Vec<_> = (0..16).map_while(|number| reserve("greedy", number)).collect();
        assert_eq!(greedy.len(), 12, "three quarters");
        let neighbours: Vec<_> = ["a", "b", "c", "d", "e"].iter().map_while(|who| reserve(who, 0)).collect();
        assert_eq!(neighbours.len(), 4, "one each, while there are any");
    }
}
