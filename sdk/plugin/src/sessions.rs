//! The sessions on one topic of the plugin.

use crate::error::Error;
use crate::imports::{Imports, Refusal};
use crate::session::Session;

/// How many sessions one host call asks for.
const PAGE_SESSIONS: u32 = 1000;

/// Who is subscribed to one topic, as it was before this hook; see [`Context::sessions`](crate::Context::sessions).
pub struct Sessions<'a> {
    imports: &'a dyn Imports,
    topic: &'a str,
}

impl<'a> Sessions<'a> {
    pub(crate) fn new(imports: &'a dyn Imports, topic: &'a str) -> Self {
        Self { imports, topic }
    }

    /// How many there are.
    ///
    /// # Errors
    /// When the topic is not this plugin's, or the capability `sessions` is missing.
    pub fn count(&self) -> Result<u64, Refusal> {
        self.imports.session_count(self.topic)
    }

    /// Whether a session is one of them, by its id: one host call, however many there are.
    ///
    /// # Errors
    /// As [`Sessions::count`].
    pub fn contains(&self, id: &str) -> Result<bool, Refusal> {
        let found = self.page(just_before(id).as_deref(), 1)?;
        Ok(found.first().is_some_and(|session| session.id == id))
    }

    /// At most `limit` of them in byte order of their ids, strictly after the id `after`.
    ///
    /// # Errors
    /// As [`Sessions::count`].
    pub fn page(&self, after: Option<&str>, limit: u32) -> Result<Vec<Session>, Refusal> {
        self.imports.sessions(self.topic, after, limit)
    }

    /// All of them in byte order of their ids, fetched 1,000 at a time as they are needed. What is fetched counts
    /// towards the hook's transfer limit.
    pub fn iter(&self) -> Listing<'a> {
        Listing {
            sessions: Sessions { imports: self.imports, topic: self.topic },
            page: Vec::new().into_iter(),
            after: None,
            finished: false,
        }
    }
}

impl<'a> IntoIterator for &Sessions<'a> {
    type Item = Result<Session, Error>;
    type IntoIter = Listing<'a>;

    fn into_iter(self) -> Listing<'a> {
        self.iter()
    }
}

/// The sessions of [`Sessions::iter`]. It ends after an error.
pub struct Listing<'a> {
    sessions: Sessions<'a>,
    page: std::vec::IntoIter<Session>,
    after: Option<String>,
    finished: bool,
}

impl Iterator for Listing<'_> {
    type Item = Result<Session, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0 && !self.finished {
            match self.sessions.page(self.after.as_deref(), PAGE_SESSIONS) {
                Ok(page) => {
                    self.finished = page.len() < PAGE_SESSIONS as usize;
                    self.after = page.last().map(|session| session.id.clone());
                    self.page = page.into_iter();
                }
                Err(refusal) => {
                    self.finished = true;
                    return Some(Err(refusal.into()));
                }
            }
        }
        self.page.next().map(Ok)
    }
}

/// A text right before an id: no other id lies between them, because ids are printable ASCII. None before the empty one.
fn just_before(id: &str) -> Option<String> {
    let mut text = id.to_owned();
    let last = u8::try_from(text.pop()?).ok()?;
    text.push(char::from(last.checked_sub(1)?));
    text.push(char::MAX);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_lies_between_one_and_what_is_just_before_it() {
        for id in ["s1", "a", "session-10", " ", "~~"] {
            let before = just_before(id).expect("it is ASCII");
            assert!(before.as_str() < id, "{before:?}");
            let (head, last) = id.split_at(id.len() - 1);
            let smaller = char::from(last.as_bytes()[0] - 1);
            for other in [head.to_owned(), format!("{head}{smaller}"), format!("{head}{smaller}~~~~")] {
                assert!(other < before, "{other:?} {before:?}");
            }
        }
        assert_eq!(just_before(""), None);
    }
}
