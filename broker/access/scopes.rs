//! The scopes by which sessions are subscribed to a pattern, so that it delivers exactly the topics to which they may subscribe
//! by name. Sessions with equal roles share one; what is a user's own, or listed by a token, has a pattern of its own within
//! the one that was asked for.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use super::permissions::{Privilege, is_named, permits};
use crate::auth::identity::{Identity, Roles};
use crate::config::{Placeholder, Rules, TopicOptions};
use crate::hub::{Scope, ScopedPattern};
use crate::topic::{Pattern, Topic, token_of};

/// Sessions without a user.
static ANONYMOUS: LazyLock<Arc<Anonymous>> = LazyLock::new(|| Arc::new(Anonymous));

/// Topics that tokens list. The pattern is one that a token lists, so all sessions may share it.
static LISTED: LazyLock<Arc<Listed>> = LazyLock::new(|| Arc::new(Listed));

#[derive(Debug)]
struct Anonymous;

#[derive(Debug)]
struct Listed;

/// Users with the same roles, and the topics that are for all of them.
#[derive(Debug)]
struct WithRoles {
    name: String,
    /// Somebody with these roles, and with a name that nobody has.
    somebody: Identity,
}

/// One user with these roles, and the topics that are for nobody else.
#[derive(Debug)]
struct Own {
    name: String,
    user: Identity,
}

impl Scope for Anonymous {
    fn admits(&self, topic: &Topic, rule: &TopicOptions) -> bool {
        permits(None, Privilege::Subscribe, &rule.access, topic)
    }

    fn name(&self) -> &str {
        ""
    }
}

impl Scope for Listed {
    fn admits(&self, _: &Topic, rule: &TopicOptions) -> bool {
        rule.access.subscribe.token
    }

    fn name(&self) -> &str {
        "listed"
    }
}

impl Scope for WithRoles {
    fn admits(&self, topic: &Topic, rule: &TopicOptions) -> bool {
        permits(Some(&self.somebody), Privilege::Subscribe, &rule.access, topic)
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Scope for Own {
    fn admits(&self, topic: &Topic, rule: &TopicOptions) -> bool {
        has_user(rule) && permits(Some(&self.user), Privilege::Subscribe, &rule.access, topic)
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// How a session with this identity, or none, is subscribed to a pattern. Empty where the rules allow it no topic that the
/// pattern selects.
pub(crate) fn scopes(identity: Option<&Identity>, pattern: &Pattern, rules: &Rules) -> Vec<ScopedPattern> {
    let mut concerned = rules.iter().filter(|rule| pattern.intersection(&rule.selects).is_some()).peekable();
    let is_without_rules = concerned.peek().is_none();
    let mut found = Found::default();
    let mut is_common = is_without_rules;
    let mut by_token = Vec::new();
    for rule in concerned {
        let subscribe = &rule.access.subscribe;
        let has_roles = identity.is_some_and(|identity| identity.roles.is_some());
        let may_be_own = !has_placeholder(rule, Placeholder::Role) || has_roles;
        is_common |= is_named(identity, subscribe) && !has_user(rule) && may_be_own;
        let Some(identity) = identity else { continue };
        if is_named(Some(identity), subscribe)
            && has_user(rule)
            && let Some(own) = own_pattern(rule, &identity.user).and_then(|own| pattern.intersection(&own))
        {
            found.add(own, || Arc::new(Own::new(identity)));
        }
        if subscribe.token {
            by_token.push(&rule.selects);
        }
    }
    let listed =
        identity.and_then(|identity| identity.grants.as_ref()).into_iter().flat_map(|grants| &grants.subscribe);
    for listed in listed.filter_map(|listed| pattern.intersection(listed)) {
        if by_token.iter().any(|rule| rule.intersection(&listed).is_some()) {
            found.add(listed, || Arc::clone(&LISTED) as Arc<dyn Scope>);
        }
    }
    if is_common {
        found.add(pattern.clone(), || match identity {
            None => Arc::clone(&ANONYMOUS) as Arc<dyn Scope>,
            Some(identity) => Arc::new(WithRoles::new(identity.roles.as_ref())),
        });
    }
    found.patterns
}

/// How anonymous sessions are subscribed to a pattern.
pub(crate) fn anonymous(pattern: &Pattern) -> Vec<ScopedPattern> {
    vec![ScopedPattern { pattern: pattern.clone(), scope: Arc::clone(&ANONYMOUS) as Arc<dyn Scope> }]
}

/// The patterns so far, each with its scope once.
#[derive(Default)]
struct Found {
    known: HashSet<(Pattern, String)>,
    patterns: Vec<ScopedPattern>,
}

impl Found {
    fn add(&mut self, pattern: Pattern, scope: impl FnOnce() -> Arc<dyn Scope>) {
        let scope = scope();
        if self.known.insert((pattern.clone(), scope.name().to_owned())) {
            self.patterns.push(ScopedPattern { pattern, scope });
        }
    }
}

impl WithRoles {
    fn new(roles: Option<&Arc<Roles>>) -> Self {
        Self { name: format!("roles{}", names(roles)), somebody: identity("", roles) }
    }
}

impl Own {
    fn new(of: &Identity) -> Self {
        let name = format!("own {}{}", token_of(&of.user), names(of.roles.as_ref()));
        Self { name, user: identity(&of.user, of.roles.as_ref()) }
    }
}

/// Whether the topics of a rule are for one user each.
fn has_user(rule: &TopicOptions) -> bool {
    has_placeholder(rule, Placeholder::User)
}

fn has_placeholder(rule: &TopicOptions, wanted: Placeholder) -> bool {
    rule.access.placeholders.iter().any(|(_, placeholder)| *placeholder == wanted)
}

/// The pattern of those topics of a rule that are a user's own; none for a name with which there is no topic.
fn own_pattern(rule: &TopicOptions, user: &str) -> Option<Pattern> {
    let user = token_of(user);
    let is_user = |index: usize| rule.access.placeholders.contains(&(index, Placeholder::User));
    let tokens = rule.selects.as_str().split('.').enumerate();
    let tokens = tokens.map(|(index, token)| if is_user(index) { &user } else { token });
    Pattern::parse(&tokens.collect::<Vec<_>>().join(".")).ok()
}

fn names(roles: Option<&Arc<Roles>>) -> String {
    // Unambiguous, because tokens have no space.
    roles.into_iter().flat_map(|roles| roles.iter()).map(|role| format!(" {}", token_of(role))).collect()
}

/// What of an identity decides about subscriptions, without what its token lists.
fn identity(user: &str, roles: Option<&Arc<Roles>>) -> Identity {
    Identity::of_user(user.into(), roles.cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::identity::TokenGrants;
    use crate::config::{Permission, TopicRule};

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect("a pattern")
    }

    fn rules(rules: &[(&str, &str)]) -> Rules {
        let rule = |(text, subscribe): &(&str, &str)| TopicRule {
            pattern: pattern(text),
            subscribe: Some(Permission::parse([*subscribe]).expect("a permission")),
            ..TopicRule::default()
        };
        Rules::new(&rules.iter().map(rule).collect::<Vec<_>>())
    }

    fn user(name: &str, roles: &[&str], listed: &[&str]) -> Identity {
        let roles = Roles::new(roles.iter().map(|role| Box::from(*role)).collect());
        let subscribe: Vec<Pattern> = listed.iter().map(|text| pattern(text)).collect();
        let grants = Arc::new(TokenGrants { subscribe, ..TokenGrants::default() });
        Identity { grants: Some(grants), ..identity(name, roles.map(Arc::new).as_ref()) }
    }

    fn shown(identity: Option<&Identity>, text: &str, rules: &Rules) -> Vec<String> {
        let found = scopes(identity, &pattern(text), rules);
        found.iter().map(|one| format!("{}: {}", one.pattern.as_str(), one.scope.name())).collect()
    }

    #[test]
    fn what_is_common_is_shared_and_what_is_own_has_a_pattern_of_its_own() {
        let rules = rules(&[
            ("accounts.{user}.>", "user"),
            ("desks.{role}", "user"),
            ("staff.*", "role:admin"),
            ("rooms.>", "token"),
            ("open.*", "anyone"),
        ]);
        let ann = user("a.n", &["sales", "b c"], &["rooms.*.x", "other.>", "rooms.a.>"]);
        for (who, text, expected) in [
            (None, ">", &[">: "][..]),
            (None, "staff.*", &[]),
            (None, "nowhere.*", &["nowhere.*: "]),
            (
                Some(&ann),
                ">",
                &[
                    "accounts.a%2En.>: own a%2En b%20c sales",
                    "rooms.*.x: listed",
                    "rooms.a.>: listed",
                    ">: roles b%20c sales",
                ],
            ),
            (Some(&ann), "accounts.*.z", &["accounts.a%2En.z: own a%2En b%20c sales"]),
            (Some(&ann), "staff.*", &[]),
            (Some(&ann), "rooms.a.*", &["rooms.a.x: listed", "rooms.a.*: listed"]),
            (Some(&ann), "open.*", &["open.*: roles b%20c sales"]),
        ] {
            assert_eq!(shown(who, text, &rules), expected, "{text}");
        }
    }
}
