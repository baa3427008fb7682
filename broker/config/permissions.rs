//! Permissions in topic rules: who may do something, and the placeholders in the pattern of a rule. It decides nothing.

use std::sync::Arc;

use serde_json::json;

use super::problem::Problem;
use super::section::{Report, Value, echo, nearest};
use super::server::texts;
use super::setting::{Form, Written, quoted};
use super::{Auth, TopicRule};
use crate::topic::Pattern;

/// Who may do something: everyone whom one of its entries is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    /// Everyone, also sessions without a user.
    pub anyone: bool,
    /// Every user.
    pub user: bool,
    /// Everyone whose token lists the topic.
    pub token: bool,
    /// Every user who has one of these roles.
    pub roles: Vec<Arc<str>>,
}

/// What the rules for one topic say about access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Who may subscribe.
    pub subscribe: Permission,
    /// Who may publish.
    pub publish: Permission,
    /// Who may call the topic's plugin.
    pub call: Permission,
    /// Who may read past messages, also those that a subscription begins with.
    pub history: Permission,
    /// Who may see who is present.
    pub presence: Permission,
    /// The tokens of the topic that have to be the session's own, by their index.
    pub placeholders: Vec<(usize, Placeholder)>,
}

/// What a token of a topic has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// The session's user: `{user}`.
    User,
    /// One of its roles: `{role}`.
    Role,
}

/// How roles begin in a permission.
const ROLE: &str = "role:";

/// The words of a permission.
const WORDS: [&str; 4] = ["anyone", "user", "token", "nobody"];

/// Most entries of a permission.
const ENTRIES_MAX: usize = 32;

impl Permission {
    /// Everyone, also sessions without a user.
    #[must_use]
    pub fn anyone() -> Self {
        Self { anyone: true, ..Self::default() }
    }

    /// Every user.
    #[must_use]
    pub fn user() -> Self {
        Self { user: true, ..Self::default() }
    }

    /// Nobody.
    #[must_use]
    pub fn nobody() -> Self {
        Self::default()
    }

    /// The permission with these entries, as they stand in a file: `anyone`, `user`, `token`, `nobody` and `role:NAME`.
    ///
    /// # Errors
    /// The first entry that is none.
    pub fn parse<'t>(entries: impl IntoIterator<Item = &'t str>) -> Result<Self, &'t str> {
        let mut permission = Self::default();
        for entry in entries {
            match entry {
                "anyone" => permission.anyone = true,
                "user" => permission.user = true,
                "token" => permission.token = true,
                "nobody" => {}
                _ => match entry.strip_prefix(ROLE).filter(|role| !role.is_empty()) {
                    Some(role) => permission.roles.push(role.into()),
                    None => return Err(entry),
                },
            }
        }
        Ok(permission)
    }

    /// Its entries, as they stand in a file.
    pub fn entries(&self) -> Vec<String> {
        let words = [(self.anyone, "anyone"), (self.user, "user"), (self.token, "token")];
        let words = words.into_iter().filter(|(there, _)| *there).map(|(_, word)| word.to_owned());
        let mut entries: Vec<String> = words.chain(self.roles.iter().map(|role| format!("{ROLE}{role}"))).collect();
        if entries.is_empty() {
            entries.push("nobody".to_owned());
        }
        entries
    }
}

impl Access {
    /// What a rule says, and what holds where it says nothing.
    pub(super) fn of(rule: &TopicRule, auth: Option<&Auth>) -> Self {
        let defaults = Self::default_of(auth);
        let or = |permission: &Option<Permission>, default: Permission| permission.clone().unwrap_or(default);
        Self {
            subscribe: or(&rule.subscribe, defaults.subscribe),
            publish: or(&rule.publish, defaults.publish),
            call: or(&rule.call, defaults.call),
            history: or(&rule.history_for, defaults.history),
            presence: or(&rule.presence_for, defaults.presence),
            placeholders: placeholders(&rule.pattern).1,
        }
    }

    /// What holds where nothing is said.
    pub(crate) fn default_of(auth: Option<&Auth>) -> Self {
        let (subscribe, others) = match auth {
            None => (Permission::anyone(), Permission::anyone()),
            Some(Auth { anonymous: true, .. }) => (Permission::anyone(), Permission::user()),
            Some(_) => (Permission::user(), Permission::user()),
        };
        let (publish, call, history, presence) = (others.clone(), others.clone(), others.clone(), others);
        Self { subscribe, publish, call, history, presence, placeholders: Vec::new() }
    }
}

/// The pattern of the topics that a rule is for, and its placeholders. Both `accounts.{user}` and `accounts.*` are for the same
/// topics.
pub(crate) fn placeholders(pattern: &Pattern) -> (Pattern, Vec<(usize, Placeholder)>) {
    let mut found = Vec::new();
    let tokens = pattern.as_str().split('.').enumerate().map(|(index, token)| match placeholder(token) {
        Some(Ok(placeholder)) => {
            found.push((index, placeholder));
            "*"
        }
        _ => token,
    });
    let text = tokens.collect::<Vec<_>>().join(".");
    if found.is_empty() {
        return (pattern.clone(), found);
    }
    (Pattern::parse(&text).expect("`*` may stand where a token stood"), found)
}

/// The placeholder that a token is, or what it is instead where it looks like one.
fn placeholder(token: &str) -> Option<Result<Placeholder, &str>> {
    let name = token.strip_prefix('{')?.strip_suffix('}')?;
    Some(match name {
        "user" => Ok(Placeholder::User),
        "role" => Ok(Placeholder::Role),
        _ => Err(name),
    })
}

/// Some of the words, or a role.
pub(super) fn permission() -> Form {
    let entry = json!({ "type": "string", "pattern": "^(anyone|user|token|nobody|role:.+)$" });
    Form::of(json!({ "anyOf": [entry, { "type": "array", "items": entry, "minItems": 1, "maxItems": ENTRIES_MAX }] }))
}

impl Written for Permission {
    fn written(&self) -> Option<String> {
        let entries: Vec<String> = self.entries().iter().map(|entry| quoted(entry)).collect();
        Some(match &entries[..] {
            [entry] => entry.clone(),
            entries => format!("[{}]", entries.join(", ")),
        })
    }
}

/// Reads the permission of a key.
pub(super) fn check<'a>(report: &mut Report, key: &str, value: &'a Value<'a>) -> Option<Permission> {
    let example = format!("write `{key} = \"user\"`, or `{key} = [\"role:trader\", \"token\"]`");
    let texts = texts(report, key, value, &example, 1..=ENTRIES_MAX);
    let wrong = texts.iter().filter(|text| Permission::parse([text.value]).is_err());
    let mut is_wrong = texts.is_empty();
    for text in wrong {
        let help = match nearest(text.value, WORDS.into_iter()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "there are \"anyone\", \"user\", \"token\", \"nobody\" and \"role:NAME\"".to_owned(),
        };
        let title = format!("`{key}` names nobody whom this broker knows: \"{}\"", echo(text.value));
        report.add(Problem::at(text.span.clone(), title).help(help));
        is_wrong = true;
    }
    if is_wrong {
        return None;
    }
    Permission::parse(texts.iter().map(|text| text.value)).ok()
}

/// What is wrong with the placeholders of a pattern.
pub(super) fn fault(pattern: &Pattern) -> Option<(String, &'static str)> {
    let wrong = pattern.as_str().split('.').find_map(|token| placeholder(token).and_then(Result::err))?;
    let help = "there are `{user}` and `{role}`";
    Some((format!("unknown placeholder `{{{}}}`", echo(wrong)), help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_stand_for_one_token() {
        for (pattern, selects, expected) in [
            ("a.b", "a.b", vec![]),
            ("accounts.{user}", "accounts.*", vec![(1, Placeholder::User)]),
            ("{role}.*.{user}.>", "*.*.*.>", vec![(0, Placeholder::Role), (2, Placeholder::User)]),
            ("a.{users}", "a.{users}", vec![]),
            ("a.x{user}", "a.x{user}", vec![]),
        ] {
            let (got, found) = placeholders(&Pattern::parse(pattern).expect("a pattern"));
            assert_eq!((got.as_str(), found), (selects, expected), "{pattern}");
        }
        assert_eq!(
            fault(&Pattern::parse("a.{users}").expect("a pattern")).expect("wrong").0,
            "unknown placeholder `{users}`"
        );
        assert_eq!(fault(&Pattern::parse("a.{user}.{}x").expect("a pattern")), None);
    }

    #[test]
    fn permissions_are_written_as_they_are_read() {
        for (entries, written) in [
            (&["user"][..], "\"user\""),
            (&["nobody"], "\"nobody\""),
            (&["role:trader", "token"], "[\"token\", \"role:trader\"]"),
            (&["anyone", "role:a b"], "[\"anyone\", \"role:a b\"]"),
        ] {
            let permission = Permission::parse(entries.iter().copied()).expect("a permission");
            assert_eq!(permission.written().as_deref(), Some(written));
        }
        assert_eq!(Permission::parse(["user", "role:"]), Err("role:"));
    }
}
