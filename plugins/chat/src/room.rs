//! Who is in a room and under which name, kept in the plugin's state.

use crate::name::{Name, fold};
use crate::refusal::Refusal;
use rialto_plugin::prelude::*;
use serde::{Deserialize, Serialize};

/// One room: the sessions that are present, and the names that they have claimed.
///
/// A topic has no spaces, so keys begin with the topic and a space: `sessions` has one entry per session, `names` one
/// per name, under its fold, which makes names unique and their list sorted.
pub(crate) struct Room<'a> {
    topic: &'a str,
    sessions: State<'a, Member>,
    names: State<'a, String>,
}

/// A session that is in a room; kept as its name or null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Member {
    /// The name it has claimed, if it has.
    pub(crate) name: Option<String>,
}

/// The names in a room, with their folds and in the order of those.
pub(crate) struct Names {
    by_fold: Vec<(String, String)>,
}

/// What a successful claim has changed.
pub(crate) enum Claimed {
    /// The member had this name already.
    Unchanged,
    /// The member had no name before.
    Joined,
    /// The member had another name before.
    Renamed { from: String },
}

impl<'a> Room<'a> {
    pub(crate) fn open(ctx: &Context<'a>, topic: &'a str) -> Self {
        Self { topic, sessions: ctx.state("sessions"), names: ctx.state("names") }
    }

    /// The topic without its first token `chat`.
    pub(crate) fn name(&self) -> &'a str {
        self.topic.strip_prefix("chat.").unwrap_or(self.topic)
    }

    /// Notes that a session is present. One that is already keeps its name.
    pub(crate) fn enter(&self, session: &Session) -> Result<()> {
        if self.member(session)?.is_none() {
            self.sessions.put(&self.key(&session.id), &Member::default())?;
        }
        Ok(())
    }

    /// Forgets a session and returns the name that it had.
    pub(crate) fn leave(&self, session: &Session) -> Result<Option<String>> {
        let Some(member) = self.member(session)? else { return Ok(None) };
        self.sessions.delete(&self.key(&session.id))?;
        if let Some(name) = &member.name {
            self.names.delete(&self.key(&fold(name)))?;
        }
        Ok(member.name)
    }

    /// The member that a session is, if it is present.
    pub(crate) fn member(&self, session: &Session) -> Result<Option<Member>> {
        self.sessions.get(&self.key(&session.id))
    }

    /// The names of all members.
    pub(crate) fn names(&self) -> Result<Names> {
        let prefix = self.key("");
        let entries = self.names.scan(&prefix);
        let by_fold = entries.map(|entry| entry.map(|(key, name)| (key[prefix.len()..].to_owned(), name)));
        Ok(Names { by_fold: by_fold.collect::<Result<_>>()? })
    }

    /// Gives `name` to a member, unless another has it or the room is full; `names` are all of the room, which one hook
    /// should not read twice, and are kept up to date.
    pub(crate) fn claim(
        &self,
        session: &Session,
        member: Member,
        name: &Name,
        names: &mut Names,
        members_max: u32,
    ) -> Result<Claimed> {
        if member.name.as_deref() == Some(name.as_str()) {
            return Ok(Claimed::Unchanged);
        }
        let old_fold = member.name.as_deref().map(fold);
        let new_fold = fold(name.as_str());
        if old_fold.as_ref() != Some(&new_fold) && names.has(&new_fold) {
            let reason = format!("the name \"{}\" is taken", name.as_str());
            return Err(Refusal::NameTaken { name: name.as_str() }.because(reason));
        }
        if let Some(old_fold) = old_fold {
            self.names.delete(&self.key(&old_fold))?;
            names.remove(&old_fold);
        } else if names.by_fold.len() >= members_max as usize {
            return Err(Refusal::RoomFull.because(format!("the room is full: the limit is {members_max} members")));
        }
        self.names.put(&self.key(&new_fold), &name.as_str().to_owned())?;
        self.sessions.put(&self.key(&session.id), &Member { name: Some(name.as_str().to_owned()) })?;
        names.insert(new_fold, name.as_str());
        Ok(member.name.map_or(Claimed::Joined, |from| Claimed::Renamed { from }))
    }

    fn key(&self, of: &str) -> String {
        [self.topic, " ", of].concat()
    }
}

impl Names {
    /// The names as people wrote them.
    pub(crate) fn into_list(self) -> Vec<String> {
        self.by_fold.into_iter().map(|(_, name)| name).collect()
    }

    fn has(&self, fold: &str) -> bool {
        self.place(fold).is_ok()
    }

    fn insert(&mut self, fold: String, name: &str) {
        let place = self.place(&fold).unwrap_or_else(|place| place);
        self.by_fold.insert(place, (fold, name.to_owned()));
    }

    fn remove(&mut self, fold: &str) {
        if let Ok(place) = self.place(fold) {
            self.by_fold.remove(place);
        }
    }

    fn place(&self, fold: &str) -> Result<usize, usize> {
        self.by_fold.binary_search_by(|(other, _)| other.as_str().cmp(fold))
    }
}
