//! What a session waits for outside of its shard: the decision about a request. Meanwhile its socket is not read, so that requests take
//! effect in their order.

use std::future::Future;
use std::pin::Pin;

use super::Session;

/// What is waited for, and what the session does then.
pub(super) type Waiting = Pin<Box<dyn Future<Output = Then> + Send>>;

/// What a session does when the wait is over.
pub(super) type Then = Box<dyn FnOnce(&mut Session) + Send>;

impl Session {
    /// Carries out nothing further until this is complete, then does what it says.
    pub(super) fn wait_for(&mut self, wait: impl Future<Output = Then> + Send + 'static) {
        self.extras.get_or_insert_default().waiting = Some(Box::pin(wait));
    }

    /// Whether it waits for something.
    pub(super) fn is_waiting(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| extras.waiting.is_some())
    }

    /// Waits until nothing is left to wait for.
    pub(super) async fn waited(&mut self) {
        while let Some(waiting) = self.extras.as_mut().and_then(|extras| extras.waiting.take()) {
            let then = waiting.await;
            then(self);
        }
    }
}
