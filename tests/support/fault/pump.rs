//! One direction of a connection: passes bytes on, and does to them what the script says.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::plan::{Fault, Script};

/// How a connection ends for both of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Cut,
    Reset,
}

/// Runs until the sender has said its last word or the connection is to end. `calm` becomes true when faults are over: then
/// nothing happens any more, and what waits goes on.
pub(crate) async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    script: Script,
    mut calm: watch::Receiver<bool>,
) -> Result<(), End> {
    let mut faults = script.into_iter().peekable();
    let (mut buffer, mut passed, mut trickle) = (vec![0; 4_096], 0, 0);
    loop {
        if *calm.borrow() {
            (trickle, faults) = (0, Script::new().into_iter().peekable());
        }
        if let Some((_, fault)) = faults.next_if(|(after, _)| passed >= *after) {
            passed = 0;
            match fault {
                Fault::Delay(time) => {
                    let _ = tokio::time::timeout(time, calm.wait_for(|calm| *calm)).await;
                }
                Fault::Trickle(bytes) => trickle = bytes,
                Fault::Cut => return Err(End::Cut),
                Fault::Reset => return Err(End::Reset),
                Fault::HalfClose => {
                    let _ = to.shutdown().await;
                    // Whoever sends must not notice by a full buffer either.
                    while from.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
                    return Ok(());
                }
            }
            continue;
        }
        let until_next = faults.peek().map_or(buffer.len(), |(after, _)| after - passed);
        let room = until_next.clamp(1, if trickle > 0 { 1 } else { buffer.len() });
        let read = match from.read(&mut buffer[..room]).await {
            Ok(0) => {
                let _ = to.shutdown().await;
                return Ok(());
            }
            Ok(read) => read,
            Err(_) => return Err(End::Reset),
        };
        if to.write_all(&buffer[..read]).await.is_err() {
            return Err(End::Reset);
        }
        passed += read;
        trickle = trickle.saturating_sub(read);
    }
}
