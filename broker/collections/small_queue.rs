//! A queue that is empty or has one entry nearly always, and then takes no memory of its own. It knows nothing of its
//! entries.

use std::collections::VecDeque;

/// Entries in order.
#[derive(Debug)]
#[allow(clippy::box_collection, reason = "a queue in place would take 24 bytes more of every queue")]
pub(crate) struct SmallQueue<T> {
    first: Option<T>,
    /// Those behind the first. Once there, it stays until [`SmallQueue::shrink`], so that a busy queue allocates seldom.
    more: Option<Box<VecDeque<T>>>,
}

/// There is more than one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spilled;

impl<T> Default for SmallQueue<T> {
    fn default() -> Self {
        Self { first: None, more: None }
    }
}

impl<T> SmallQueue<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The first entry, if there is no other.
    pub(crate) fn only(&self) -> Result<Option<&T>, Spilled> {
        match &self.more {
            Some(more) if !more.is_empty() => Err(Spilled),
            _ => Ok(self.first.as_ref()),
        }
    }

    pub(crate) fn push(&mut self, entry: T) {
        if self.first.is_none() {
            self.first = Some(entry);
        } else {
            self.more.get_or_insert_default().push_back(entry);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let next = self.more.as_mut().and_then(|more| more.pop_front());
        std::mem::replace(&mut self.first, next)
    }

    /// The entry that was pushed last.
    pub(crate) fn last_mut(&mut self) -> Option<&mut T> {
        match self.more.as_mut().and_then(|more| more.back_mut()) {
            None => self.first.as_mut(),
            last => last,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(self.more.iter().flat_map(|more| more.iter()))
    }

    /// Takes everything out.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = T> + use<T> {
        let Self { first, more } = std::mem::take(self);
        first.into_iter().chain(more.into_iter().flat_map(|more| more.into_iter()))
    }

    /// Releases the memory of a queue that is no longer busy.
    pub(crate) fn shrink(&mut self) {
        if self.more.as_ref().is_some_and(|more| more.is_empty()) {
            self.more = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_order() {
        let mut queue = SmallQueue::default();
        let mut expected = 0;
        assert_eq!(queue.only(), Ok(None));
        for entry in 0..100 {
            queue.push(entry);
            assert_eq!(queue.last_mut().copied(), Some(entry));
            assert_eq!(queue.only(), if queue.iter().count() == 1 { Ok(Some(&entry)) } else { Err(Spilled) });
            if entry % 3 == 0 {
                assert_eq!(queue.pop(), Some(expected));
                expected += 1;
                queue.shrink();
            }
        }
        assert_eq!(queue.iter().copied().collect::<Vec<_>>(), (expected..100).collect::<Vec<_>>());
        assert_eq!(queue.take().collect::<Vec<_>>(), (expected..100).collect::<Vec<_>>());
        assert!(queue.is_empty() && queue.pop().is_none());
    }
}
