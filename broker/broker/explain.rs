//! Explains to operators what somebody may do with a topic by the configuration in force, and why.

use std::sync::Arc;

use rialto_protocol::{ErrorCode, Explain, ExplainedAction, Explanation, Failure};

use super::{Broker, parse_topic};
use crate::access::explain::{Decision, explain};
use crate::access::permissions::Privilege;
use crate::access::{Action, Target, check};
use crate::auth::identity::{Identity, Roles};
use crate::request::caller::Caller;

impl Broker {
    /// What somebody may do with a topic, and why. Neither the topic nor a session has to be there; nothing is changed.
    ///
    /// # Errors
    /// `forbidden`, `bad_request` for an action that does not exist, `rejected` for a token that is not valid, `not_found`
    /// where no rule is for the topic.
    pub(crate) fn explain_as(&self, caller: Caller<'_>, request: &Explain<'_>) -> Result<Explanation, Failure> {
        let topic = parse_topic(&request.topic)?;
        let config = self.core.config.get();
        let rule = config.rules.options(&topic);
        check(caller, Action::Explain, Target::Topic { topic: &topic, options: &|| rule.clone() })?;
        let only = request.action.as_deref().map(privilege).transpose()?;
        let identity = self.identity_of(request)?;
        let Some(rule) = &rule else {
            return Err(Failure::new(ErrorCode::NotFound, format!("no rule is for topic \"{topic}\"")));
        };
        let decisions = explain(identity.as_deref(), config.auth.as_ref(), &topic, rule, only);
        let action = |Decision { privilege, is_permitted, why }| ExplainedAction {
            action: privilege.name().to_owned(),
            allowed: is_permitted,
            reason: why,
        };
        let roles = identity.iter().flat_map(|identity| &identity.roles).flat_map(|roles| roles.iter());
        Ok(Explanation {
            topic: topic.as_str().to_owned(),
            user: identity.as_ref().map(|identity| identity.user.to_string()),
            roles: roles.map(str::to_owned).collect(),
            pattern: rule.pattern.as_str().to_owned(),
            line: config.topic_lines.of(rule.rule).map(|line| line as u64),
            plugin: rule.plugin.as_deref().map(str::to_owned),
            actions: decisions.into_iter().map(action).collect(),
        })
    }

    /// Who is asked about; none for a session without a user.
    fn identity_of(&self, request: &Explain<'_>) -> Result<Option<Arc<Identity>>, Failure> {
        if let Some(token) = &request.token {
            let verified = self.core.auth.verify(token, None, self.core.clock.unix_ms());
            return verified.map(Some).map_err(|failure| match failure.code {
                ErrorCode::RateLimited => failure,
                // It is not this request that is unauthorized.
                _ => Failure::new(ErrorCode::Rejected, format!("field \"token\": {}", failure.message)),
            });
        }
        let Some(user) = &request.user else { return Ok(None) };
        let roles = Roles::new(request.roles.iter().map(|role| Box::from(&**role)).collect());
        Ok(Some(Arc::new(Identity::of_user(Arc::from(&**user), roles.map(Arc::new)))))
    }
}

fn privilege(name: &str) -> Result<Privilege, Failure> {
    let found = Privilege::ALL.into_iter().find(|privilege| privilege.name() == name);
    found.ok_or_else(|| {
        let names = Privilege::ALL.map(Privilege::name).join(", ");
        Failure::new(ErrorCode::BadRequest, format!("field \"action\" is one of {names}"))
    })
}
