//! What a reload of the configuration has changed, as the operator sees it by the HTTP API.

use crate::writer::Writer;

/// What a reload has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadReport {
    /// What differs from the configuration before and is applied.
    pub applied: Vec<String>,
    /// What differs and takes effect only when the broker is started again.
    pub restart: Vec<String>,
    /// The plugins that do not run as they should, each with the reason.
    pub failed: Vec<(String, String)>,
    /// Warnings about the file, with line and caret.
    pub warnings: Option<String>,
}

pub(crate) fn write_reload(out: &mut impl Writer, report: &ReloadReport) {
    for (key, texts) in [("applied", &report.applied), ("restart", &report.restart)] {
        out.key(key);
        out.array();
        texts.iter().for_each(|text| out.text(text));
        out.end();
    }
    out.key("failed");
    out.array();
    for (plugin, reason) in &report.failed {
        out.map();
        out.text_field("plugin", plugin);
        out.text_field("message", reason);
        out.end();
    }
    out.end();
    if let Some(warnings) = &report.warnings {
        out.text_field("warnings", warnings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ApiAnswer, Codec};

    #[test]
    fn a_report_has_all_lists() {
        let report = ReloadReport {
            applied: vec!["limits.sessions".to_owned()],
            failed: vec![("chat".to_owned(), "no".to_owned())],
            ..ReloadReport::default()
        };
        let mut out = Vec::new();
        ApiAnswer::Reload(&report).encode(Codec::Json, &mut out);
        let expected = r#"{"applied":["limits.sessions"],"restart":[],"failed":[{"plugin":"chat","message":"no"}]}"#;
        assert_eq!(String::from_utf8(out).expect("JSON is UTF-8"), expected);
    }
}
