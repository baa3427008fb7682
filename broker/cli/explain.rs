//! `rialto explain`: what somebody may do with a topic by a configuration, and why. It starts nothing and asks no broker.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use super::token::{now_ms, verify};
use super::{complain, escaped};
use crate::access::explain::{Decision, TOKEN_REQUIRED, explain, lacks_token};
use crate::access::permissions::Privilege;
use crate::auth::identity::{Identity, Roles};
use crate::config::{Config, Rules};
use crate::topic::Topic;

pub(crate) const EXAMPLES: &str = "\
Examples:
  rialto explain room.lobby
  rialto explain accounts.ann --user ann
  rialto explain orders --user bob --role trader --action publish
  rialto explain orders --token \"$TOKEN\"";

/// Exit code where an action that was asked about is refused.
const REFUSED: u8 = 1;

/// Exit code of a file with problems.
const PROBLEMS: u8 = 2;

/// Arguments of `rialto explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// The topic
    topic: String,
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "config/rialto.toml")]
    config: PathBuf,
    /// The user of the session; without one it is anonymous
    #[arg(long)]
    user: Option<String>,
    /// A role of the user; may be repeated
    #[arg(long = "role", requires = "user")]
    roles: Vec<String>,
    /// A token of the session, which is verified
    #[arg(long, conflicts_with_all = ["user", "roles"])]
    token: Option<String>,
    /// Only this action: subscribe, publish, call, history or presence
    #[arg(long, value_parser = action)]
    action: Option<Privilege>,
}

fn action(text: &str) -> Result<Privilege, String> {
    let found = Privilege::ALL.into_iter().find(|privilege| privilege.name() == text);
    found.ok_or_else(|| "subscribe, publish, call, history or presence".to_owned())
}

/// Prints the decisions. Returns 1 where an action that was asked about is refused.
pub(crate) fn run(args: &ExplainArgs) -> ExitCode {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(problems) => {
            let _ = writeln!(std::io::stderr(), "{}", problems.render(super::check::wants_color()));
            return ExitCode::from(PROBLEMS);
        }
    };
    match report(args, &config) {
        Ok((text, is_refused)) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            if is_refused { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            complain(&escaped::error(&error));
            ExitCode::from(PROBLEMS)
        }
    }
}

/// What is printed, and whether an action that was asked about is refused.
fn report(args: &ExplainArgs, config: &Config) -> Result<(String, bool)> {
    let topic = Topic::parse(&args.topic)?;
    let identity = identity(args, config)?;
    let mut text = String::new();
    let who = match &identity {
        None => "a session without a user".to_owned(),
        Some(identity) => {
            let roles: Vec<&str> = identity.roles.iter().flat_map(|roles| roles.iter()).collect();
            let roles = if roles.is_empty() { String::new() } else { format!(" ({})", roles.join(", ")) };
            format!("user \"{}\"{roles}", identity.user)
        }
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "topic      {}\nfor        {}", escaped::line(topic.as_str()), escaped::line(&who));
    if lacks_token(identity.as_deref(), config.auth.as_ref()) {
        let _ = writeln!(text, "refused: {TOKEN_REQUIRED}");
        return Ok((text, args.action.is_some()));
    }
    let Some(rule) = Rules::with(&config.topics, config.auth.as_ref()).options(&topic) else {
        let _ = writeln!(text, "refused: no topic rule is for it, so it does not exist (`not_found`)");
        return Ok((text, args.action.is_some()));
    };
    let file = escaped::line(&args.config.display().to_string());
    let place = config.topic_lines.of(rule.rule).map_or(String::new(), |line| format!(", {file}:{line}"));
    let plugin = rule.plugin.as_ref().map(|name| format!("; plugin {name} decides too")).unwrap_or_default();
    let _ = writeln!(text, "rule       {}{place}{plugin}", escaped::line(rule.pattern.as_str()));
    let decisions = explain(identity.as_deref(), config.auth.as_ref(), &topic, &rule, args.action);
    for Decision { privilege, is_permitted, why } in &decisions {
        let decision = if *is_permitted { "allowed" } else { "refused" };
        let _ = writeln!(text, "{:<11}{decision}: {}", privilege.name(), escaped::line(why));
    }
    let is_refused = args.action.is_some() && decisions.iter().any(|decision| !decision.is_permitted);
    Ok((text, is_refused))
}

fn identity(args: &ExplainArgs, config: &Config) -> Result<Option<Arc<Identity>>> {
    if let Some(token) = &args.token {
        let Some(auth) = &config.auth else { bail!("the configuration has no `[auth]`, so tokens cannot be verified") };
        return verify(auth, token, now_ms()).context("the token is not valid").map(Some);
    }
    let Some(user) = &args.user else { return Ok(None) };
    let roles = Roles::new(args.roles.iter().map(|role| role.as_str().into()).collect()).map(Arc::new);
    let user = user.as_str().into();
    Ok(Some(Arc::new(Identity::of_user(user, roles))))
}
