//! Runs Autobahn's `wstest` against an address. It does not know what listens there.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::process::Command;

use crate::verdict::{self, Verdicts};

/// What Autobahn calls the server in its reports.
const AGENT: &str = "rialto";

/// Where things are.
pub(crate) struct Suite {
    /// A Python 2.7.
    pub(crate) python: PathBuf,
    /// The folder that `autobahntestsuite` is installed in.
    pub(crate) site: PathBuf,
    /// Where the reports go.
    pub(crate) reports: PathBuf,
}

impl Suite {
    /// Runs all cases of some sections.
    pub(crate) async fn run(&self, address: SocketAddr, sections: &[u32]) -> Result<Verdicts> {
        fs::create_dir_all(&self.reports)?;
        let index = self.reports.join("index.json");
        // What an earlier run left there must not be taken for this one's.
        if index.exists() {
            fs::remove_file(&index)?;
        }
        let spec = json!({
            "outdir": self.reports,
            "servers": [{"agent": AGENT, "url": format!("ws://{address}/ws")}],
            "cases": sections.iter().map(|section| format!("{section}.*")).collect::<Vec<_>>(),
            "exclude-cases": [],
            "exclude-agent-cases": {},
        });
        let spec_file = self.reports.join("spec.json");
        fs::write(&spec_file, spec.to_string())?;
        let log = self.reports.join("wstest.log");
        let to_log = fs::File::create(&log)?;
        let status = Command::new(&self.python)
            .arg(starter())
            .arg(&self.site)
            .args(["-m", "fuzzingclient", "-s"])
            .arg(&spec_file)
            .stdin(Stdio::null())
            .stdout(to_log.try_clone()?)
            .stderr(to_log)
            .kill_on_drop(true)
            .status()
            .await
            .with_context(|| format!("{} cannot be started", self.python.display()))?;
        ensure!(status.success(), "wstest ended with {status}; see {}", log.display());
        let json =
            fs::read_to_string(&index).with_context(|| format!("wstest left no reports; see {}", log.display()))?;
        verdict::of_index(&json, AGENT)
    }

    /// The versions of what judges, in one sentence.
    pub(crate) async fn versions(&self) -> Result<String> {
        let output = Command::new(&self.python).arg(starter()).arg(&self.site).arg("-a").output().await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let versions: Vec<&str> = text.lines().filter(|line| line.starts_with("Autobahn")).collect();
        ensure!(!versions.is_empty(), "wstest does not say its version");
        Ok(format!("{}, on Python 2.7.", versions.join(", ")))
    }
}

fn starter() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("wstest.py")
}
