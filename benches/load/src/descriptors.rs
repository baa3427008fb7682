//! How many files, which sockets are too, this process may have open.

use crate::error::LoadError;

/// Beside the connections: standard streams, epoll, files of `/proc`, what the caller has open.
const OTHERS: u64 = 64;

/// Makes room for so many connections, up to the hard limit.
pub fn allow(connections: u64) -> Result<(), LoadError> {
    let needed = connections + OTHERS;
    let cannot = LoadError::system("the limit of open files cannot be read");
    let (soft, hard) = rlimit::Resource::NOFILE.get().map_err(cannot)?;
    if soft >= needed {
        return Ok(());
    }
    if hard < needed {
        return Err(LoadError::Descriptors { connections, limit: hard });
    }
    let cannot = LoadError::system("the limit of open files cannot be raised");
    rlimit::Resource::NOFILE.set(hard, hard).map_err(cannot)
}
