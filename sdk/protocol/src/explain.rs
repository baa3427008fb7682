//! Questions about permissions and their answers, as operators ask and see them by the HTTP API.

use std::borrow::Cow;
use std::fmt;

use crate::fields::{Field, Fields};
use crate::request::required;
use crate::writer::Writer;

/// The fields of `explain`.
#[derive(Clone, PartialEq, Eq)]
pub struct Explain<'b> {
    /// The topic.
    pub topic: Cow<'b, str>,
    /// The user who is asked about; none means a session without a user.
    pub user: Option<Cow<'b, str>>,
    /// The user's roles.
    pub roles: Vec<Cow<'b, str>>,
    /// The token of the session that is asked about, in the place of a user and roles.
    pub token: Option<Cow<'b, str>>,
    /// The one action that is asked about; none means all.
    pub action: Option<Cow<'b, str>>,
}

/// What somebody may do with a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The topic.
    pub topic: String,
    /// The user; none for a session without one.
    pub user: Option<String>,
    /// The user's roles, sorted.
    pub roles: Vec<String>,
    /// The pattern of the rule that decides.
    pub pattern: String,
    /// The line of the configuration file at which the rule begins, where that is known.
    pub line: Option<u64>,
    /// The plugin that owns the topic, and decides too.
    pub plugin: Option<String>,
    /// Each action with its decision.
    pub actions: Vec<ExplainedAction>,
}

/// Whether somebody may do one thing with a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedAction {
    /// What: `subscribe`, `publish`, `call`, `history` or `presence`.
    pub action: String,
    /// Whether the rule allows it.
    pub allowed: bool,
    /// Why, in words for a person.
    pub reason: String,
}

impl fmt::Debug for Explain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, user, roles, action, token: _ } = self;
        let mut shown = f.debug_struct("Explain");
        shown.field("topic", topic).field("user", user).field("roles", roles).field("action", action);
        shown.finish_non_exhaustive()
    }
}

pub(crate) fn explain<'b>(fields: &Fields<'b>) -> Result<Explain<'b>, String> {
    let (user, token) = (fields.text(Field::User)?, fields.text(Field::Token)?);
    let roles = fields.texts(Field::Roles)?;
    if token.is_some() && (user.is_some() || roles.is_some()) {
        return Err("field \"token\" stands in the place of \"user\" and \"roles\"".to_owned());
    }
    if roles.is_some() && user.is_none() {
        return Err("field \"roles\" needs a \"user\"".to_owned());
    }
    let (topic, action) = (required(fields, Field::Topic)?, fields.text(Field::Action)?);
    Ok(Explain { topic, user, roles: roles.unwrap_or_default(), token, action })
}

pub(crate) fn write_explanation(out: &mut impl Writer, explanation: &Explanation) {
    let Explanation { topic, user, roles, pattern, line, plugin, actions } = explanation;
    out.text_field("topic", topic);
    out.key("user");
    match user {
        Some(user) => out.text(user),
        None => out.null(),
    }
    out.key("roles");
    out.array();
    roles.iter().for_each(|role| out.text(role));
    out.end();
    out.key("rule");
    out.map();
    out.text_field("pattern", pattern);
    if let Some(line) = line {
        out.number_field("line", *line);
    }
    if let Some(plugin) = plugin {
        out.text_field("plugin", plugin);
    }
    out.end();
    out.key("actions");
    out.array();
    for ExplainedAction { action, allowed, reason } in actions {
        out.map();
        out.text_field("action", action);
        out.key("allowed");
        out.bool(*allowed);
        out.text_field("reason", reason);
        out.end();
    }
    out.end();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Sink as _, json};
    use crate::{ApiOperation, ApiRequest, Codec};

    #[test]
    fn a_question_does_not_show_its_token() {
        let body = br#"{"topic":"a","token":"x.y.z"}"#;
        let request = ApiRequest::decode(ApiOperation::Explain, Codec::Json, body).expect("a question");
        let ApiRequest::Explain(explain) = &request else { panic!("{request:?}") };
        assert_eq!(explain.token.as_deref(), Some("x.y.z"));
        let shown = "Explain(Explain { topic: \"a\", user: None, roles: [], action: None, .. })";
        assert_eq!(format!("{request:?}"), shown);
    }

    #[test]
    fn an_explanation_names_the_rule_and_each_action() {
        let action = |action: &str, allowed, reason: &str| ExplainedAction {
            action: action.to_owned(),
            allowed,
            reason: reason.to_owned(),
        };
        let explanation = Explanation {
            topic: "a.b".to_owned(),
            user: Some("ann".to_owned()),
            roles: vec!["trader".to_owned()],
            pattern: "a.*".to_owned(),
            line: Some(7),
            plugin: Some("chat".to_owned()),
            actions: vec![action("subscribe", true, "everyone may"), action("publish", false, "nobody may")],
        };
        let text = |explanation: &Explanation| {
            let mut out = Vec::new();
            let mut writer = json::Writer::new(&mut out);
            writer.map();
            write_explanation(&mut writer, explanation);
            writer.end();
            String::from_utf8(out).expect("JSON is UTF-8")
        };
        let actions = concat!(
            r#""actions":[{"action":"subscribe","allowed":true,"reason":"everyone may"},"#,
            r#"{"action":"publish","allowed":false,"reason":"nobody may"}]}"#
        );
        let rule = r#""rule":{"pattern":"a.*","line":7,"plugin":"chat"},"#;
        let expected = format!(r#"{{"topic":"a.b","user":"ann","roles":["trader"],{rule}{actions}"#);
        assert_eq!(text(&explanation), expected);
        let anonymous = Explanation { user: None, roles: Vec::new(), line: None, plugin: None, ..explanation };
        let expected = format!(r#"{{"topic":"a.b","user":null,"roles":[],"rule":{{"pattern":"a.*"}},{actions}"#);
        assert_eq!(text(&anonymous), expected);
    }
}
