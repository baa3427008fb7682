//! The hooks of a plugin, as one trait.

use crate::call::{Call, Reply};
use crate::config::Config;
use crate::context::Context;
use crate::error::{Detail, Result, reject};
use crate::message::{Message, Raw, Verdict};
use crate::session::Session;
use crate::timer::Timer;

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

    /// What this plugin serves, asked once after [`start`](Self::start): one line for each thing, such as
    /// `call claim {"name"}`. `rialto plugin status` shows it.
    fn serves(&self) -> Vec<String> {
        Vec::new()
    }

    /// A session has connected to a raw endpoint of this plugin.
    ///
    /// # Errors
    /// An error refuses it: its socket is closed with 1008 and the reason.
    fn on_connect(&mut self, ctx: &mut Context, session: &Session, endpoint: &str) -> Result<()> {
        let _ = (ctx, session, endpoint);
        Ok(())
    }

    /// A session on a raw endpoint of this plugin has ended.
    ///
    /// # Errors
    /// An error discards what this hook asked for; the session is gone in any case.
    fn on_disconnect(&mut self, ctx: &mut Context, session: &Session, endpoint: &str) -> Result<()> {
        let _ = (ctx, session, endpoint);
        Ok(())
    }

    /// A session on a raw endpoint of this plugin has sent a message.
    ///
    /// # Errors
    /// An error discards what this hook asked for. The session is told nothing: what it is to hear, the plugin sends.
    fn on_message(&mut self, ctx: &mut Context, session: &Session, endpoint: &str, message: Raw) -> Result<()> {
        let _ = (ctx, session, endpoint, message);
        Ok(())
    }

    /// A session wants to subscribe to a topic of this plugin. What this hook sends to the session arrives after the
    /// answer and before the first message.
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

    /// A timer that this plugin has set is due. It is gone when the hook returns `Ok`, unless the hook sets it again.
    ///
    /// # Errors
    /// After an error the hook is called again, twice at most.
    fn on_timer(&mut self, ctx: &mut Context, timer: Timer) -> Result<()> {
        let _ = (ctx, timer);
        Ok(())
    }

    /// A session on a raw endpoint of this plugin has been authenticated, as [`Context::authenticate`] asked, or has not,
    /// for this reason. `session` is as it is now. This hook comes after those for what the session sent before, and
    /// before those for what it sends from now on.
    ///
    /// Version 1.0 of the plugin protocol does not have it: a component that implements it is built with the feature `v1_1`.
    ///
    /// # Errors
    /// An error discards what this hook asked for; the session stays who it is.
    #[cfg(any(not(target_arch = "wasm32"), feature = "v1_1"))]
    fn on_authenticated(
        &mut self,
        ctx: &mut Context,
        session: &Session,
        outcome: std::result::Result<(), String>,
    ) -> Result<()> {
        let _ = (ctx, session, outcome);
        Ok(())
    }
}
