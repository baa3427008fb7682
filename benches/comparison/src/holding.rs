//! What a process holds at one moment: open files and memory, read from `/proc`.

use rialto_load::process::{Family, ProcessError};

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
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn an_open_file_counts() {
        let mut cat = Command::new("cat");
        let mut child = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("`cat` of coreutils is there");
        // Whoever has just been started may not be there yet: it is once it answers.
        let mut answer = [0; 1];
        child.stdin.as_mut().expect("it is a pipe").write_all(b"?").expect("it listens");
        child.stdout.as_mut().expect("it is a pipe").read_exact(&mut answer).expect("it answers");
        let holding = Holding::of(child.id()).expect("it runs");
        child.kill().and_then(|()| child.wait()).expect("it ends");
        assert!(holding.descriptors >= 3 && holding.resident_bytes > 100_000, "{holding:?}");
        assert!(Holding::of(u32::MAX).is_err());
    }
}
