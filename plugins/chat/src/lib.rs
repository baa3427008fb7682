//! Chat rooms: every topic of this plugin is a room, whose members claim names and speak under them.
//!
//! All that a room knows is kept in the plugin's state, so that a trap or a reload loses nothing. What that can come to is
//! bounded, and clients share it.

mod event;
mod holdings;
mod name;
mod refusal;
mod room;
mod settings;
mod text;

use event::Event;
use name::Name;
use refusal::Refusal;
use rialto_plugin::prelude::*;
use room::{Claimed, Room};
use serde::{Deserialize, Serialize};
use settings::Settings;
use text::Text;

/// The chat plugin. Rooms are topics `chat.{room}`.
///
/// A session that has subscribed to a room calls `claim` with `{"name":"Ada"}`, and then publishes `{"text":"hi"}` or
/// plain text; the room gets `{"kind":"message","author":"Ada","text":"hi","time":…}`, and announcements of the kinds
/// `joined`, `left` and `renamed`. `members` lists the names. Rejections carry their kind in the detail.
#[derive(Debug, Default)]
pub struct Chat {
    settings: Settings,
}

#[derive(Deserialize)]
struct Claim {
    name: String,
}

#[derive(Serialize)]
struct Welcome<'a> {
    name: &'a str,
    room: &'a str,
    members: Vec<String>,
}

#[derive(Serialize)]
struct Members {
    members: Vec<String>,
}

impl Plugin for Chat {
    fn start(&mut self, _: &mut Context, config: Config) -> Result<()> {
        self.settings = Settings::read(&config)?;
        Ok(())
    }

    fn on_unsubscribe(&mut self, ctx: &mut Context, session: &Session, topic: &str) -> Result<()> {
        if let Some(name) = Room::open(ctx, topic).leave(session)? {
            ctx.publish(topic, &Event::Left { name: &name, time: ctx.now_ms() })?;
        }
        Ok(())
    }

    fn on_publish(&mut self, ctx: &mut Context, message: Message) -> Result<Verdict> {
        let room = Room::open(ctx, &message.topic);
        let author = match &message.session {
            Some(session) => room.name_of(session)?,
            None => None,
        };
        let author = author.ok_or_else(|| Refusal::NoName.because("claim a name before speaking"))?;
        let text = message.data::<Text>()?;
        text.check(self.settings.text_max)?;
        Ok(message.replace(&Event::Message { author: &author, text: text.as_str(), time: ctx.now_ms() })?)
    }

    fn on_call(&mut self, ctx: &mut Context, call: Call) -> Result<Reply> {
        match call.method.as_str() {
            "claim" => self.claim(ctx, &call),
            "members" => members(ctx, &call),
            other => {
                let reason = format!("unknown method {other:?}: a room has \"claim\" and \"members\"");
                Err(Refusal::UnknownMethod.because(reason))
            }
        }
    }
}

impl Chat {
    fn claim(&self, ctx: &Context, call: &Call) -> Result<Reply> {
        let topic = room_topic(call)?;
        let room = Room::open(ctx, topic);
        let present = match &call.session {
            Some(session) if room.is_present(session)? => Some(session),
            _ => None,
        };
        let session =
            present.ok_or_else(|| Refusal::NotPresent.because("subscribe to the room before claiming a name"))?;
        let name = Name::parse(&call.data::<Claim>()?.name)?;
        let mut names = room.names()?;
        match room.claim(session, &name, &mut names, &self.settings)? {
            Claimed::Unchanged => {}
            Claimed::Joined => ctx.publish(topic, &Event::Joined { name: name.as_str(), time: ctx.now_ms() })?,
            Claimed::Renamed { from } => {
                ctx.publish(topic, &Event::Renamed { from: &from, to: name.as_str(), time: ctx.now_ms() })?;
            }
        }
        let members = names.into_list();
        Ok(call.reply(&Welcome { name: name.as_str(), room: room.name(), members })?)
    }
}

fn members(ctx: &Context, call: &Call) -> Result<Reply> {
    let room = Room::open(ctx, room_topic(call)?);
    Ok(call.reply(&Members { members: room.names()?.into_list() })?)
}

fn room_topic(call: &Call) -> Result<&str> {
    let topic = call.topic.as_deref();
    topic.ok_or_else(|| Refusal::NoTopic.because(format!("{:?} is called on a room: give its topic", call.method)))
}

rialto_plugin::export!(Chat, needs: ["sessions", "state"]);
