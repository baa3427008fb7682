//! Explains what topic rules allow somebody, and why. The decisions are those of `permissions`.

use super::permissions::{Privilege, is_named, is_own, permits};
use crate::auth::identity::Identity;
use crate::config::{Auth, Permission, TopicOptions};
use crate::topic::Topic;

/// Why a session without a token may do nothing.
pub(crate) const TOKEN_REQUIRED: &str = "sessions without a token are not served (`anonymous` in `[auth]`)";

/// Whether somebody may do one thing with a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) privilege: Privilege,
    pub(crate) is_permitted: bool,
    /// Why, as the rest of "allowed: ..." or "refused: ...".
    pub(crate) why: String,
}

/// Whether a session with this identity, or none, is not served at all.
pub(crate) fn lacks_token(identity: Option<&Identity>, auth: Option<&Auth>) -> bool {
    identity.is_none() && auth.is_some_and(|auth| !auth.anonymous)
}

/// What a session with this identity, or none, may do with a topic by its rule: everything that there is, or one thing.
pub(crate) fn explain(
    identity: Option<&Identity>,
    auth: Option<&Auth>,
    topic: &Topic,
    rule: &TopicOptions,
    only: Option<Privilege>,
) -> Vec<Decision> {
    let lacks_token = lacks_token(identity, auth);
    let decide = |privilege| {
        if lacks_token {
            return Decision { privilege, is_permitted: false, why: TOKEN_REQUIRED.to_owned() };
        }
        let is_permitted = permits(identity, privilege, &rule.access, topic);
        let why = reason(identity, privilege, topic, rule, is_permitted) + missing(privilege, rule);
        Decision { privilege, is_permitted, why }
    };
    Privilege::ALL.into_iter().filter(|one| only.is_none_or(|only| only == *one)).map(decide).collect()
}

fn reason(
    identity: Option<&Identity>,
    privilege: Privilege,
    topic: &Topic,
    rule: &TopicOptions,
    is_permitted: bool,
) -> String {
    let permission = privilege.permission(&rule.access);
    let role = permission.roles.iter().find(|role| identity.is_some_and(|identity| identity.has_role(role)));
    match (is_named(identity, permission), is_own(identity, &rule.access, topic)) {
        (true, true) if permission.anyone => "everyone may".to_owned(),
        (true, true) if permission.user => "every user may".to_owned(),
        (true, true) => format!("users with the role \"{}\" may", role.map_or("", |role| role)),
        _ if is_permitted => "the token lists the topic".to_owned(),
        (true, false) if identity.is_none() => "the topic is for one user or role, and there is no user".to_owned(),
        (true, false) => "the topic is another user's, or another role's".to_owned(),
        (false, _) if *permission == Permission::nobody() => "nobody may".to_owned(),
        (false, _) => format!("only for {}", permission.entries().join(", ")),
    }
}

/// What the topic does not have at all.
fn missing(privilege: Privilege, rule: &TopicOptions) -> &'static str {
    match privilege {
        Privilege::Call if rule.plugin.is_none() => "; no plugin owns the topic",
        Privilege::History if rule.history.is_none() => "; the rule keeps no history",
        Privilege::Presence if !rule.presence => "; the rule keeps no presence",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::auth::identity::Roles;
    use crate::config::{Rules, TopicRule};
    use crate::topic::Pattern;

    fn identity(user: &str, role: &str) -> Identity {
        Identity::of_user(user.into(), Roles::new(vec![role.into()]).map(Arc::new))
    }

    #[test]
    fn each_decision_comes_with_its_reason() {
        let pattern = Pattern::parse("a").expect("a pattern");
        let rule = TopicRule { pattern, presence: true, ..TopicRule::default() };
        let topic = Topic::parse("a").expect("a topic");
        let auth = |anonymous| Some(Auth { anonymous, ..Auth::default() });
        let ann = identity("ann", "trader");
        for (auth, identity, privilege, expected) in [
            (None, None, Privilege::Publish, (true, "everyone may")),
            (None, None, Privilege::Call, (true, "everyone may; no plugin owns the topic")),
            (None, None, Privilege::History, (true, "everyone may; the rule keeps no history")),
            (None, None, Privilege::Presence, (true, "everyone may")),
            (auth(true), None, Privilege::Subscribe, (true, "everyone may")),
            (auth(true), None, Privilege::Publish, (false, "only for user")),
            (auth(true), Some(&ann), Privilege::Publish, (true, "every user may")),
            (auth(false), None, Privilege::Subscribe, (false, TOKEN_REQUIRED)),
            (auth(false), Some(&ann), Privilege::Subscribe, (true, "every user may")),
        ] {
            let options = Rules::with(std::slice::from_ref(&rule), auth.as_ref()).options(&topic).expect("a rule");
            let decisions = explain(identity, auth.as_ref(), &topic, &options, Some(privilege));
            let [Decision { privilege: decided, is_permitted, why }] = &decisions[..] else { panic!("{decisions:?}") };
            assert_eq!((*decided, (*is_permitted, why.as_str())), (privilege, expected), "{auth:?} {identity:?}");
        }
        let options = Rules::new(&[rule]).options(&topic).expect("a rule");
        let all = explain(None, None, &topic, &options, None);
        assert!(all.iter().map(|decision| decision.privilege).eq(Privilege::ALL));
    }
}
