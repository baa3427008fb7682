//! What a process holds at one moment: open files and memory, read from `/proc`.

use crate::process::{Family, ProcessError};

/// Open files and resident memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Open files, which sockets are too.
    pub descriptors: usize,
    /// Bytes of user-space memory that are resident.
    pub resident_bytes: u64,
}

impl Holding {
    /// What a process holds, with its descendants' memory.
    ///
    /// # Errors
    /// When there is no such process, or it is somebody else's.
    pub fn of(pid: u32) -> Result<Self, ProcessError> {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).map_err(|_| ProcessError { pid })?;
        Ok(Self { descriptors: open.count(), resident_bytes: Family::of(pid)?.resident_bytes()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_file_counts() {
        let mut sleep = std::process::Command::new("sleep");
        let child = sleep.arg("60").stdin(std::process::Stdio::null()).spawn();
        let mut child = child.expect("`sleep` of coreutils is there");
        let holding = Holding::of(child.id()).expect("it runs");
        child.kill().and_then(|()| child.wait()).expect("it ends");
        assert!(holding.descriptors >= 3 && holding.resident_bytes > 100_000, "{holding:?}");
        assert!(Holding::of(u32::MAX).is_err());
    }
}
