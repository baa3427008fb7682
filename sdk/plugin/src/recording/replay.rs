//! A recording repeated natively.

use super::event::{Event, Outcome, Step};
use super::file::Recording;
use super::playing::{Difference, Player, describe};
use crate::message::{Message, Verdict};
use crate::native::{self, Interrupted};
use crate::timer::Timer;
use crate::{Call, Config, Context, Error, Plugin};
use std::fmt;

/// What a replay came to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Replayed {
    /// Every hook asked the same and came to the same.
    Same {
        /// How many hooks there were, `start` included.
        events: usize,
        /// What the last one came to.
        ending: Outcome,
    },
    /// Something differs.
    Different(Difference),
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same { events, ending: Outcome::Trap(text) } => {
                write!(f, "no difference in {events} events, which end in the same trap: {text}")
            }
            Self::Same { events, ending } => {
                write!(f, "no difference in {events} events; the last came to {}", describe(ending))
            }
            Self::Different(difference) => difference.fmt(f),
        }
    }
}

impl Recording {
    /// Repeats the recording with `P`, natively. A hook that was ended by its deadline is repeated up to its last host call;
    /// one that loops without any is not: the replay ends before it.
    pub fn replay<P: Plugin>(&self) -> Replayed {
        let player = Player::default();
        let mut plugin = P::default();
        let mut ending = Outcome::Accepted;
        let mut events = 0;
        for step in &self.steps {
            if step.outcome == Outcome::Deadline && step.calls.is_empty() {
                break;
            }
            player.begin(step);
            ending = run(&mut plugin, &player, step);
            let is_same = player.has_reached_its_end() || is_same(&step.outcome, &ending);
            if is_same && !player.has_reached_its_end() {
                player.finish();
            } else if !is_same {
                player.differs(describe(&step.outcome), describe(&ending));
            }
            if let Some(difference) = player.difference() {
                return Replayed::Different(difference);
            }
            if player.has_reached_its_end() {
                ending = step.outcome.clone();
            }
            events += 1;
        }
        Replayed::Same { events, ending }
    }
}

/// Whether two outcomes are the same. Of a panic the text, the line and the file's own name count: the folders before that
/// depend on where it was built.
pub(crate) fn is_same(recorded: &Outcome, replayed: &Outcome) -> bool {
    match (recorded, replayed) {
        (Outcome::Trap(recorded), Outcome::Trap(replayed)) => place(recorded) == place(replayed),
        _ => recorded == replayed,
    }
}

fn place(trap: &str) -> (&str, &str) {
    let text = trap.strip_prefix("panicked at ").unwrap_or(trap);
    let text = text.split("; error while executing").next().unwrap_or(text);
    let (file, rest) = text.split_once(':').unwrap_or((text, ""));
    (file.rsplit(['/', '\\']).next().unwrap_or(file), rest)
}

impl Outcome {
    /// Whether a replay that came to `replayed` came to this. Of a panic the text, the line and the file's own name count.
    pub fn is_same_as(&self, replayed: &Self) -> bool {
        is_same(self, replayed)
    }
}

fn run<P: Plugin>(plugin: &mut P, player: &Player, step: &Step) -> Outcome {
    match native::hook(player, |ctx| call(plugin, ctx, &step.event)) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(Error::Rejected { reason, detail })) => match &step.event {
            Event::Start { .. } => Outcome::Failed(reason),
            _ => Outcome::Rejected { reason, detail },
        },
        Ok(Err(Error::Failed(text))) => Outcome::Failed(text),
        Err(Interrupted::Panicked(text)) => {
            player.skip_panic();
            Outcome::Trap(text)
        }
        // The player knows why.
        Err(Interrupted::Over) => Outcome::Deadline,
    }
}

fn call<P: Plugin>(plugin: &mut P, ctx: &mut Context<'_>, event: &Event) -> crate::Result<Outcome> {
    let accepted = |()| Outcome::Accepted;
    match event.clone() {
        Event::Start { config, topic } => {
            plugin.start(ctx, Config::from_json(config).for_topic(topic))?;
            Ok(Outcome::Serves(plugin.serves()))
        }
        Event::OnConnect { session, endpoint } => plugin.on_connect(ctx, &session, &endpoint).map(accepted),
        Event::OnDisconnect { session, endpoint } => plugin.on_disconnect(ctx, &session, &endpoint).map(accepted),
        Event::OnMessage { session, endpoint, message } => {
            plugin.on_message(ctx, &session, &endpoint, message).map(accepted)
        }
        Event::OnSubscribe { session, topic } => plugin.on_subscribe(ctx, &session, &topic).map(accepted),
        Event::OnUnsubscribe { session, topic } => plugin.on_unsubscribe(ctx, &session, &topic).map(accepted),
        Event::OnPublish { session, topic, payload } => {
            Ok(match plugin.on_publish(ctx, Message { session, topic, payload })? {
                Verdict::Accept => Outcome::Accepted,
                Verdict::Replace(payload) => Outcome::Replaced(payload),
                Verdict::Swallow => Outcome::Swallowed,
            })
        }
        Event::OnCall { session, topic, method, payload } => {
            let reply = plugin.on_call(ctx, Call { session, topic, method, payload })?;
            Ok(Outcome::Reply(reply.payload))
        }
        Event::OnAuthenticated { session, refused } => {
            plugin.on_authenticated(ctx, &session, refused.map_or(Ok(()), Err)).map(accepted)
        }
        Event::OnTimer { name, payload } => plugin.on_timer(ctx, Timer { name, payload }).map(accepted),
    }
}
