//! `[[auth.user]]` and its check: users with a password, for small installations. It verifies no password.

use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Params};
use serde_json::json;
use toml::de::DeValue;

use super::{
    problem::Problem,
    section::{Report, Section, Value, echo_name, wrong_type},
    server::{strings, texts},
    setting::{Form, Table, Written, quoted},
};
use crate::topic::is_invisible;

/// A user with a password.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthUser {
    /// Its name, 1 to 128 bytes.
    pub name: String,
    /// What its password is verified with: a hash by Argon2id (RFC 9106) in the PHC string format.
    pub password: String,
    /// Its roles, at most 32.
    pub roles: Vec<String>,
}

/// Most users.
pub(super) const USERS_MAX: usize = 1_000;

/// Longest name of a user, and of a role, in bytes; also in tokens.
pub(crate) const USER_BYTES_MAX: usize = 128;
pub(crate) const ROLE_BYTES_MAX: usize = 64;

/// Most roles.
pub(crate) const ROLES_MAX: usize = 32;

/// The most memory in KiB, rounds and lanes that verifying a password may take: 64 MiB, and tenths of a second.
const MEMORY_KIB_MAX: u32 = 65_536;
const ROUNDS_MAX: u32 = 16;
const LANES_MAX: u32 = 4;

/// One entry of `user`.
static ENTRY: Table = Table::within("[[auth.user]]", &["name", "password", "roles"]);

const EXAMPLE: &str = "`rialto user add NAME` asks for a password and prints the entry";

impl fmt::Debug for AuthUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, roles, .. } = self;
        f.debug_struct("AuthUser").field("name", name).field("roles", roles).finish_non_exhaustive()
    }
}

/// A list of users.
pub(super) fn users() -> Form {
    let properties = json!({
        "name": { "type": "string" }, "password": { "type": "string", "pattern": "^\\$argon2id\\$" },
        "roles": strings().schema,
    });
    let entry = json!({
        "type": "object", "properties": properties, "required": ["name", "password"], "additionalProperties": false,
    });
    Form::of(json!({ "type": "array", "items": entry, "maxItems": USERS_MAX })).example(
        "[{ name = \"ann\", password = \"$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$7H0mF3mVgYQb7bBsmyTkDQ\" }]",
    )
}

impl Written for Vec<AuthUser> {
    fn written(&self) -> Option<String> {
        let list = |items: &[String]| items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", ");
        let entries: Vec<String> = self
            .iter()
            .map(|AuthUser { name, password, roles }| {
                let (name, password, roles) = (quoted(name), quoted(password), list(roles));
                format!("{{ name = {name}, password = {password}, roles = [{roles}] }}")
            })
            .collect();
        (!entries.is_empty()).then(|| format!("[{}]", entries.join(", ")))
    }
}

pub(super) fn check<'a>(report: &mut Report, value: &'a Value<'a>) -> Vec<AuthUser> {
    let DeValue::Array(entries) = value.get_ref() else {
        report.add(wrong_type("user", value, "a list of tables").help(EXAMPLE));
        return Vec::new();
    };
    if entries.len() > USERS_MAX {
        let title = format!("{} users, at most {USERS_MAX}", entries.len());
        report.add(Problem::at(value.span(), title).help("have your own application sign tokens"));
        return Vec::new();
    }
    let mut found: Vec<AuthUser> = Vec::new();
    for entry in entries.iter() {
        let Some(user) = check_user(report, entry) else { continue };
        if found.iter().any(|other| other.name == user.name) {
            let title = format!("two users are named \"{}\"", echo_name(&user.name));
            report.add(Problem::at(entry.span(), title).help("remove one of them"));
        }
        found.push(user);
    }
    found
}

fn check_user<'a>(report: &mut Report, value: &'a Value<'a>) -> Option<AuthUser> {
    let section = Section::open(report, "[[auth.user]]", &ENTRY, value)?;
    let mut missing = |key: &str| {
        if !report.torn {
            report.add(Problem::at(section.span(), format!("a user needs a `{key}`")).help(EXAMPLE));
        }
    };
    if section.get("name").is_none() {
        missing("name");
    }
    if section.get("password").is_none() {
        missing("password");
    }
    let name = section.text(report, "name", "\"ann\"");
    if let Some(name) = &name
        && !is_name(name.value, USER_BYTES_MAX)
    {
        let title = format!("`name` has 1 to {USER_BYTES_MAX} bytes and no control characters");
        report.add(Problem::at(name.span.clone(), title));
        return None;
    }
    let mut roles = Vec::new();
    if let Some(value) = section.get("roles") {
        for role in texts(report, "roles", value, "write `roles = [\"trader\"]`", 0..=ROLES_MAX) {
            match is_name(role.value, ROLE_BYTES_MAX) {
                true => roles.push(role.value.to_owned()),
                false => {
                    let title = format!("a role has 1 to {ROLE_BYTES_MAX} bytes and no control characters");
                    report.add(Problem::at(role.span, title));
                }
            }
        }
    }
    let password = section.text(report, "password", "\"$argon2id$...\"")?;
    if let Some(fault) = fault(password.value) {
        report.add(Problem::at(password.span, fault).help(EXAMPLE));
        return None;
    }
    Some(AuthUser { name: name?.value.to_owned(), password: password.value.to_owned(), roles })
}

/// Whether a text may be the name of a user or a role, or an id, of at most so many bytes.
pub(crate) fn is_name(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.chars().all(|one| one == ' ' || !is_invisible(one))
}

/// What is wrong with a hash. It may be the password itself, so nothing of it is repeated.
fn fault(hash: &str) -> Option<String> {
    let no_hash = "`password` is a hash by Argon2id in the PHC string format, never the password itself";
    let Ok(hash) = PasswordHash::new(hash) else { return Some(no_hash.to_owned()) };
    if hash.algorithm != Algorithm::Argon2id.ident() || hash.salt.is_none() || hash.hash.is_none() {
        return Some(no_hash.to_owned());
    }
    let Ok(params) = Params::try_from(&hash) else { return Some(no_hash.to_owned()) };
    let is_cheap = params.m_cost() <= MEMORY_KIB_MAX && params.t_cost() <= ROUNDS_MAX && params.p_cost() <= LANES_MAX;
    (!is_cheap)
        .then(|| format!("verifying this `password` takes more than m={MEMORY_KIB_MAX}, t={ROUNDS_MAX}, p={LANES_MAX}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    const HASH: &str = "$argon2id$v=19$m=16,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$7H0mF3mVgYQb7bBsmyTkDZzFXLbnBQNCd1n1vGbRkP8";

    fn parse(users: &str) -> Result<Vec<AuthUser>, Vec<String>> {
        let text = format!("[auth]\nuser = [{users}]\n[[topic]]\npattern = \"a\"\n");
        match Config::parse(&text, Path::new("rialto.toml")) {
            Ok(config) => Ok(config.auth.expect("it is there").user),
            Err(problems) => Err(problems.iter().map(|problem| problem.title().to_owned()).collect()),
        }
    }

    #[test]
    fn users_are_read_and_their_hashes_are_not_shown() {
        let users = parse(&format!("{{ name = \"ann\", password = \"{HASH}\", roles = [\"trader\"] }}")).expect("fine");
        let ann = AuthUser { name: "ann".into(), password: HASH.into(), roles: vec!["trader".into()] };
        assert_eq!(users, [ann]);
        assert!(!format!("{users:?}").contains("argon2id"));
    }

    #[test]
    fn what_is_wrong_is_said_without_what_may_be_a_password() {
        let user = |password: &str| format!("{{ name = \"ann\", password = \"{password}\" }}");
        let no_hash = "`password` is a hash by Argon2id in the PHC string format, never the password itself";
        let dear = HASH.replace("m=16", "m=99999999");
        for (users, expected) in [
            (user("correct horse"), no_hash),
            (user(&HASH.replace("argon2id", "argon2i")), no_hash),
            (user("$argon2id$v=19$m=16,t=2,p=1$c29tZXNhbHRzb21lc2FsdA"), no_hash),
            (user(&dear), "verifying this `password` takes more than m=65536, t=16, p=4"),
            (format!("{{ password = \"{HASH}\" }}"), "a user needs a `name`"),
            ("{ name = \"ann\" }".to_owned(), "a user needs a `password`"),
            (
                format!("{{ name = \"\", password = \"{HASH}\" }}"),
                "`name` has 1 to 128 bytes and no control characters",
            ),
            (format!("{}, {}", user(HASH), user(HASH)), "two users are named \"ann\""),
        ] {
            let problems = parse(&users).expect_err(&users);
            assert!(problems.iter().any(|problem| problem == expected), "{users}: {problems:?}");
            assert!(problems.iter().all(|problem| !problem.contains("horse")), "{problems:?}");
        }
    }
}
