//! The reload of the configuration by the HTTP API, and its failures.

use rialto_protocol::{ErrorCode, Failure, Payload, ReloadReport};
use serde_json::json;

use crate::broker::{Broker, ReloadError, Reloaded};
use crate::config::Problems;

/// Applies the configuration file again.
///
/// # Errors
/// Why nothing was changed.
pub(super) async fn reload(broker: &Broker) -> Result<ReloadReport, Failure> {
    let Reloaded { applied, restart, failed, warnings } =
        broker.reload_file().await.map_err(|error| failure(&error))?;
    Ok(ReloadReport { applied, restart, failed, warnings })
}

/// The failure of a reload, of a plugin or of everything. The problems of a file are its detail.
pub(super) fn failure(error: &ReloadError) -> Failure {
    let code = match error {
        ReloadError::Unknown(_) => ErrorCode::NotFound,
        ReloadError::Stopping => ErrorCode::Unavailable,
        _ => ErrorCode::Rejected,
    };
    let mut failure = Failure::new(code, error.to_string());
    if let ReloadError::Configuration(problems) = error {
        failure.detail = detail(problems);
    }
    failure
}

fn detail(problems: &Problems) -> Option<Payload> {
    let problem = |problem: &crate::config::Problem| json!({ "line": problem.line(), "message": problem.title() });
    let problems: Vec<_> = problems.iter().map(problem).collect();
    Payload::json(&json!({ "problems": problems })).ok()
}
