//! Who has which name in a room, kept in the plugin's state. Of sessions without a name nothing is kept.

use crate::holdings::Holdings;
use crate::name::{Name, fold};
use crate::refusal::Refusal;
use crate::settings::Settings;
use rialto_plugin::Sessions;
use rialto_plugin::prelude::*;
use rialto_plugin::shares::Client;

/// One room: the names that sessions have claimed. The broker knows which sessions are present.
///
/// A topic has no spaces, so keys begin with the topic and a space: `sessions` has one entry per session with a name,
/// `names` one per name, under its fold, which makes names unique and their list sorted.
pub(crate) struct Room<'a> {
    topic: &'a str,
    present: Sessions<'a>,
    sessions: State<'a, String>,
    names: State<'a, String>,
    holdings: Holdings<'a>,
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
        Self {
            topic,
            present: ctx.sessions(topic),
            sessions: ctx.state("sessions"),
            names: ctx.state("names"),
            holdings: Holdings::open(ctx),
        }
    }

    /// The topic without its first token `chat`.
    pub(crate) fn name(&self) -> &'a str {
        self.topic.strip_prefix("chat.").unwrap_or(self.topic)
    }

    /// Forgets a session and returns the name that it had.
    pub(crate) fn leave(&self, session: &Session) -> Result<Option<String>> {
        let Some(name) = self.name_of(session)? else { return Ok(None) };
        self.sessions.delete(&self.key(&session.id))?;
        self.names.delete(&self.key(&fold(&name)))?;
        self.holdings.give_back(&Client::of(session))?;
        Ok(Some(name))
    }

    /// The name that a session has claimed, if it has.
    pub(crate) fn name_of(&self, session: &Session) -> Result<Option<String>> {
        self.sessions.get(&self.key(&session.id))
    }

    /// Whether a session has subscribed to the room.
    pub(crate) fn is_present(&self, session: &Session) -> Result<bool> {
        Ok(self.present.contains(&session.id)?)
    }

    /// The names of all members.
    pub(crate) fn names(&self) -> Result<Names> {
        let prefix = self.key("");
        let entries = self.names.scan(&prefix);
        let by_fold = entries.map(|entry| entry.map(|(key, name)| (key[prefix.len()..].to_owned(), name)));
        Ok(Names { by_fold: by_fold.collect::<Result<_>>()? })
    }

    /// Gives `name` to a session that is present, unless another has it or there is no room for it; `names` are all of the
    /// room, which one hook should not read twice, and are kept up to date.
    pub(crate) fn claim(
        &self,
        session: &Session,
        name: &Name,
        names: &mut Names,
        settings: &Settings,
    ) -> Result<Claimed> {
        let old_name = self.name_of(session)?;
        if old_name.as_deref() == Some(name.as_str()) {
            return Ok(Claimed::Unchanged);
        }
        let old_fold = old_name.as_deref().map(fold);
        let new_fold = fold(name.as_str());
        if old_fold.as_ref() != Some(&new_fold) && names.has(&new_fold) {
            let reason = format!("the name \"{}\" is taken", name.as_str());
            return Err(Refusal::NameTaken { name: name.as_str() }.because(reason));
        }
        if let Some(old_fold) = old_fold {
            self.names.delete(&self.key(&old_fold))?;
            names.remove(&old_fold);
        } else {
            self.admit(session, names, settings)?;
        }
        let text = name.as_str().to_owned();
        self.names.put(&self.key(&new_fold), &text).map_err(Refusal::of_write)?;
        self.sessions.put(&self.key(&session.id), &text).map_err(Refusal::of_write)?;
        names.insert(new_fold, name.as_str());
        Ok(old_name.map_or(Claimed::Joined, |from| Claimed::Renamed { from }))
    }

    /// Counts a session that claims its first name.
    fn admit(&self, session: &Session, names: &Names, settings: &Settings) -> Result<()> {
        let members_max = settings.members_max;
        if names.by_fold.len() >= members_max as usize {
            return Err(Refusal::RoomFull.because(format!("the room is full: the limit is {members_max} members")));
        }
        self.holdings.take(&Client::of(session), settings.names_max)
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
