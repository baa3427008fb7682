//! Sessions on raw endpoints that a plugin has authenticated: has their secrets verified, and knows them again by who they are.
//! Who a session is, the session itself sets on its shard.

use std::sync::Arc;

use super::handle::PluginHandle;
use crate::auth::passwords::Login;
use crate::broker::Broker;
use crate::request::caller::CallerSession;

impl PluginHandle {
    /// Has a secret verified, and then the session wakes to look at what came of it. Nothing happens where it has ended.
    pub(super) fn authenticate(self: &Arc<Self>, broker: &Broker, caller: &CallerSession, login: Login) {
        if !self.registry.begin_authentication(&caller.member.session) {
            return;
        }
        let (broker, plugin, key, network) = (broker.clone(), Arc::clone(self), caller.key, caller.network);
        let session = Arc::clone(&caller.member.session);
        let hub = broker.core.hub.clone();
        // The shard only waits: what takes time is done on a thread that may block.
        hub.run_on(key.shard(), move |_| {
            tokio::task::spawn_local(async move {
                let verified = broker.identify(Arc::clone(&session), login, network).await;
                if plugin.registry.set_verified(&session, verified) {
                    broker.core.hub.run_on(key.shard(), move |shard| shard.recheck(key));
                }
            });
        });
    }

    /// A session is known by who it is now, also as a member of topics.
    pub(super) fn know_again(&self, caller: &CallerSession) {
        self.known_sessions.update(caller);
        self.registry.update(&caller.assigned.topics(), &caller.for_plugins());
    }
}
