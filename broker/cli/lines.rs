//! JSON lines on standard output: one object per line, each flushed at once. A closed pipe ends the command without an
//! error.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use anyhow::Context as _;
use rialto_client::{Item, Member, Payload, Present};
use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;

use super::escaped;
use rialto_protocol::value::Sink as _;
use rialto_protocol::value::json::Writer;

/// Whether standard output is still read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    There,
    Gone,
}

/// A line that is being written.
pub(crate) struct InputLine {
    text: Vec<u8>,
}

impl InputLine {
    /// Writes one object.
    pub(crate) fn object(fill: impl FnOnce(&mut Writer<'_>)) -> Self {
        let mut text = Vec::new();
        let mut writer = Writer::new(&mut text);
        writer.map();
        fill(&mut writer);
        writer.end();
        Self { text }
    }

    /// A line of just a payload.
    pub(crate) fn payload(payload: &Payload) -> Self {
        Self { text: payload.to_json().to_vec() }
    }

    /// Writes the line to standard output, with escapes for what a terminal would act on.
    pub(crate) fn print(self) -> anyhow::Result<Reader> {
        // A publisher's JSON may span lines. Line feeds occur only between tokens, where a space is equivalent.
        let mut text = escaped::json(&String::from_utf8_lossy(&self.text)).replace(['\n', '\r'], " ");
        text.push('\n');
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(Reader::There),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
            Err(error) => Err(error).context("standard output"),
        }
    }
}

/// An item of a subscription as a line. Messages have the epoch of their topic if it is known.
pub(crate) fn item(item: &Item, epochs: &HashMap<Arc<str>, Arc<str>>) -> Option<InputLine> {
    let line = |kind, fill: &dyn Fn(&mut Writer<'_>)| {
        InputLine::object(|out| {
            text(out, "type", kind);
            text(out, "topic", item.topic());
            if let Some(epoch) = epochs.get(item.topic()) {
                text(out, "epoch", epoch);
            }
            fill(out);
        })
    };
    Some(match item {
        Item::Message(message) => line("message", &|out| {
            past_message(out, message.offset, message.time, message.from.as_ref(), &message.payload);
        }),
        Item::Gap(gap) => line("gap", &|out| {
            number(out, "from", gap.from);
            number(out, "to", gap.to);
            text(out, "reason", gap.reason.as_str());
        }),
        Item::Removed { offset, .. } => line("removed", &|out| number(out, "offset", *offset)),
        Item::Resumed(resumed) => line("resumed", &|out| {
            if let Some(position) = &resumed.position {
                number(out, "offset", position.offset);
            }
            out.key("recovered");
            out.bool(resumed.recovered);
        }),
        Item::Join { member: who, .. } => line("join", &|out| one_member(out, who)),
        Item::Leave { member: who, .. } => line("leave", &|out| one_member(out, who)),
        Item::Presence { present: who, .. } => line("presence", &|out| present(out, who)),
        Item::Ended { failure, .. } => line("ended", &|out| {
            text(out, "code", failure.code.as_str());
            text(out, "message", &failure.message);
        }),
        _ => return None,
    })
}

/// The fields of a message.
pub(crate) fn past_message(out: &mut Writer<'_>, offset: u64, time: u64, from: Option<&Member>, payload: &Payload) {
    number(out, "offset", offset);
    number(out, "time", time);
    if let Some(from) = from {
        out.key("from");
        member(out, from);
    }
    let is_bytes = payload.encoding() == rialto_client::Encoding::Bytes;
    out.key(if is_bytes { "bytes" } else { "data" });
    out.raw(&payload.to_json());
}

/// The fields of a presence.
pub(crate) fn present(out: &mut Writer<'_>, present: &Present) {
    number(out, "count", present.count);
    if let Some(members) = &present.members {
        out.key("members");
        out.array();
        for one in members {
            member(out, one);
        }
        out.end();
    }
}

pub(crate) fn text(out: &mut Writer<'_>, key: &str, value: &str) {
    out.key(key);
    out.text(value);
}

pub(crate) fn number(out: &mut Writer<'_>, key: &str, value: u64) {
    out.key(key);
    out.unsigned(value);
}

fn one_member(out: &mut Writer<'_>, who: &Member) {
    out.key("member");
    member(out, who);
}

fn member(out: &mut Writer<'_>, member: &Member) {
    out.map();
    text(out, "session", &member.session);
    out.key("user");
    match &member.user {
        Some(user) => out.text(user),
        None => out.null(),
    }
    if let Some(info) = &member.info {
        out.key("info");
        out.raw(&info.to_json());
    }
    out.end();
}

/// Waits until the reader of standard output has closed it, so that a command with nothing to write ends.
pub(crate) async fn reader_is_gone() {
    // Unchecked, because the checked function makes the output non-blocking, also for other processes that share it.
    let watched = io::stdout().as_fd().try_clone_to_owned().and_then(Sender::from_owned_fd_unchecked);
    if let Ok(output) = watched {
        while let Ok(ready) = output.ready(Interest::ERROR).await {
            if ready.is_error() || ready.is_write_closed() {
                return;
            }
        }
    }
    // A file has no reader that could close it.
    std::future::pending().await
}
