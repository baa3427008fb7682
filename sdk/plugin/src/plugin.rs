//! The hooks of a plugin, as one trait.

use crate::call::{Call, Reply};
use crate::config::Config;
use crate::context::Context;
use crate::error::{Detail, Result, reject};
use crate::message::{Message, Verdict};
use crate::session::Session;

/// The logic of the topics that the operator gives to this plugin.
///
/// All hooks are optional. They run one at a time and never re-enter. Each is a transaction: what it asks for happens
/// when it returns `Ok`, and not at all when it returns an error, panics or exceeds a limit.
///
/// The fields of the plugin are a cache: an instance starts from `Default` and [`start`](Self::start) after a panic, a
/// reload or a move. Keep what must last in [`Context::state`].
pub trait Plugin: Default + 'static {
    /// Called once when an instance starts, before any other hook.
    ///
    /// # Errors
    /// The text of the error is shown to the operator, and the instance does not run.
    fn start(&mut self, ctx: &mut Context, config: Config) -> Result<()> {
        let _ = (ctx, config);
        Ok(())
    }

    /// A session wants to subscribe to a topic of this plugin. It may be called again for a topic that the session has.
    ///
    /// # Errors
    /// An error refuses the subscription.
    fn on_subscribe(&mut self, ctx: &mut Context, session: &Session, topic: &str) -> Result<()> {
        let _ = (ctx, session, topic);
        Ok(())
    }

    /// A session has left a topic of this plugin: by request, or because it ended.
    ///
    /// # Errors
    /// An error discards what this hook asked for; the session is gone in any case.
    fn on_unsubscribe(&mut self, ctx: &mut Context, session: &Session, topic: &str) -> Result<()> {
        let _ = (ctx, session, topic);
        Ok(())
    }

    /// A message was published to a topic of this plugin. Without this hook it goes out as it came.
    ///
    /// # Errors
    /// An error refuses the message.
    fn on_publish(&mut self, ctx: &mut Context, message: Message) -> Result<Verdict> {
        let _ = (ctx, message);
        Ok(Verdict::Accept)
    }

    /// A client calls a method. Without this hook there are none.
    ///
    /// # Errors
    /// An error is the answer to the call.
    fn on_call(&mut self, ctx: &mut Context, call: Call) -> Result<Reply> {
        let _ = ctx;
        let reason = format!("no such method: {:?}", call.method);
        Err(reject(reason).detail(&Detail { kind: "unknown_method" }))
    }
}
