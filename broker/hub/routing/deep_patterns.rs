//! Bounds how many patterns may select one topic. A topic of few tokens cannot be selected by many: each token of a pattern
//! is the topic's or `*`, and a final `>` may stand for the rest. So only patterns of many tokens are counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::shares::{Holder, Share, Shares};
use crate::topic::Pattern;

/// Patterns of more tokens are deep. Of all others at most 510 select one topic: 255 with `>`, which are 1 of one token, 2 of
/// two, up to 128 of eight, and 255 of eight tokens without it.
const SHALLOW_TOKENS: usize = 8;

/// Deep patterns are counted by so many tokens at their beginning, each of which is a topic's or `*`: those of one topic
/// have at most sixteen such beginnings.
const ALIKE_TOKENS: usize = 4;

/// Fewer beginnings are not worth a sweep.
const SWEEP_MIN: usize = 1_024;

/// The numbers of deep patterns with subscribers.
#[derive(Debug)]
pub(super) struct DeepPatterns {
    max: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    by_beginning: HashMap<Box<str>, Arc<Shares>>,
    /// The number of beginnings at which those without patterns are removed.
    sweep_at: usize,
}

impl DeepPatterns {
    /// Allows so many that begin alike.
    pub(super) fn new(max: usize) -> Self {
        let known = Known { by_beginning: HashMap::new(), sweep_at: SWEEP_MIN };
        Self { max: AtomicU64::new(max as u64), known: Mutex::new(known) }
    }

    pub(super) fn set_max(&self, max: usize) {
        self.max.store(max as u64, Relaxed);
        for shares in self.known.lock().unwrap_or_else(PoisonError::into_inner).by_beginning.values() {
            shares.set_max(max as u64);
        }
    }

    /// Counts a pattern, if it is deep, until the share is dropped.
    ///
    /// # Errors
    /// There are as many that begin alike as there may be, or the holder has its share of them.
    pub(super) fn take(&self, pattern: &Pattern, holder: &Holder) -> Result<Option<Share>, ()> {
        let text = pattern.as_str();
        if text.split('.').count() <= SHALLOW_TOKENS {
            return Ok(None);
        }
        let end = text.match_indices('.').nth(ALIKE_TOKENS - 1).map_or(text.len(), |(at, _)| at);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { by_beginning, sweep_at } = &mut *known;
        if by_beginning.len() >= *sweep_at {
            // What is taken of one refers to it.
            by_beginning.retain(|_, shares| Arc::strong_count(shares) > 1);
            *sweep_at = (2 * by_beginning.len()).max(SWEEP_MIN);
        }
        let shares =
            by_beginning.entry(text[..end].into()).or_insert_with(|| Arc::new(Shares::new(self.max.load(Relaxed))));
        shares.take(holder, 1).map(Some).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect("a pattern")
    }

    /// All patterns that select a topic of sixteen tokens are tried.
    #[test]
    fn few_patterns_select_the_longest_topic() {
        let deep = DeepPatterns::new(32);
        let mut taken = Vec::new();
        for stars in 0_u32..1 << 16 {
            let tokens: Vec<_> = (0..16).map(|place| if stars >> place & 1 == 1 { "*" } else { "t" }).collect();
            taken.extend(deep.take(&pattern(&tokens.join(".")), &Holder::Trusted));
        }
        for length in 0..16 {
            for stars in 0_u32..1 << length {
                let tokens = (0..length).map(|place| if stars >> place & 1 == 1 { "*" } else { "t" });
                let tokens: Vec<_> = tokens.chain([">"]).collect();
                taken.extend(deep.take(&pattern(&tokens.join(".")), &Holder::Trusted));
            }
        }
        assert_eq!(taken.len(), 255 + 16 * 32);
    }

    #[test]
    fn each_holder_has_a_share_and_what_is_given_back_is_free() {
        let deep = DeepPatterns::new(32);
        let of = |place: usize, holder: &Holder| deep.take(&pattern(&format!("a.b.c.d.e.f.g.h.{place}.*")), holder);
        let [one, other] = ["1", "2"].map(|name| Holder::User(name.into()));
        let taken: Vec<_> = (0..100).filter_map(|place| of(place, &one).ok()).collect();
        assert!((16..32).contains(&taken.len()), "{}", taken.len());
        assert!(of(100, &other).is_ok(), "there is room for others");
        assert!(deep.take(&pattern("a.b.c.e.e.f.g.h.i.*"), &one).is_ok(), "another beginning");
        assert!(deep.take(&pattern("a.b.c.d.e.f.g.*"), &one).is_ok_and(|share| share.is_none()), "it is not deep");
        let count = taken.len();
        drop(taken);
        assert_eq!((0..100).filter_map(|place| of(place, &one).ok()).collect::<Vec<_>>().len(), count);
    }

    #[test]
    fn beginnings_without_patterns_are_swept() {
        let deep = DeepPatterns::new(32);
        for number in 0..10 * SWEEP_MIN {
            let taken = deep.take(&pattern(&format!("a.b.c.{number}.e.f.g.h.i.*")), &Holder::Trusted);
            assert!(taken.is_ok());
        }
        assert!(deep.known.lock().expect("nobody panics").by_beginning.len() <= SWEEP_MIN + 1);
    }
}
