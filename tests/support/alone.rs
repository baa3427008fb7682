//! Tests that need a process to themselves, because they count what the whole process holds.

use std::process::{Command, Output};

const ALONE: &str = "RIALTO_TEST_ALONE";

/// Runs a test, named by its path, again in a process of its own, unless this is that process. Returns whether it has run
/// there; a failure there is a failure here.
pub(crate) fn runs_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return false;
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    let Output { status, stdout, stderr } =
        again.args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    // A path that names no test would pass, too.
    assert!(status.success() && stdout.contains("1 passed"), "{stdout}\n{stderr}");
    true
}
