//! The control socket: the HTTP API without a key, on a Unix domain socket that only its owner can open. `api` handles the
//! requests.

use std::convert::Infallible;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::Front;
use super::api::Api;

/// Connections at a time; later ones wait until one of these has ended.
const CONNECTIONS_MAX: usize = 16;

/// How long accepting pauses when the system has no more descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// The control socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the control socket {path}: {reason}", path = path.display())]
pub struct ControlError {
    /// Its path.
    pub path: PathBuf,
    /// Why it could not be opened.
    pub reason: io::Error,
}

/// A listening control socket. Dropping it removes its file.
#[derive(Debug)]
pub(super) struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Opens the socket. A missing folder is created; a socket left by a broker that crashed is replaced.
    ///
    /// # Errors
    /// [`ControlError`], also when others may write to the folder or another broker listens there.
    pub(super) fn bind(path: &Path) -> Result<Self, ControlError> {
        let open = || {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            check_folder(folder)?;
            remove_stale(path)?;
            let listener = UnixListener::bind(path)?;
            fs::set_permissions(path, Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        match open() {
            Ok(listener) => Ok(Self { listener, path: path.to_owned() }),
            Err(reason) => Err(ControlError { path: path.to_owned(), reason }),
        }
    }

    /// Serves until the server stops.
    pub(super) async fn serve(self, front: Arc<Front>) {
        let api = Arc::new(Api::of_operator());
        let mut connections = JoinSet::new();
        let stopping = front.stopping();
        tokio::pin!(stopping);
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                    Ok((stream, _)) if !is_ours(&stream) => {
                        tracing::warn!("a process of another user was refused at the control socket");
                    }
                    Ok((stream, _)) => {
                        connections.spawn(serve_connection(stream, Arc::clone(&api), Arc::clone(&front)));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept connections to the control socket at the moment");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                () = &mut stopping => return,
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn serve_connection(stream: UnixStream, api: Arc<Api>, front: Arc<Front>) {
    let (api, front) = (&*api, &*front);
    let service =
        service_fn(
            move |request| async move { Ok::<_, Infallible>(api.answer(front, &front.config(), request).await) },
        );
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(front.config().limits.header_ms))
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the control socket failed");
    }
}

/// Whether the process at the other end is the operator's or root's, whatever the modes of files and folders are.
fn is_ours(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| is_trusted(peer.uid()))
}

fn is_trusted(user: u32) -> bool {
    [0, rustix::process::geteuid().as_raw()].contains(&user)
}

/// Refuses a folder that other users can write to, or lead elsewhere: they could replace the socket by one of their own.
fn check_folder(folder: &Path) -> io::Result<()> {
    let refused = |text: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    // A link of root, such as /var/run, may be followed; one that somebody else has put there may not.
    if !is_trusted(fs::symlink_metadata(folder)?.uid()) {
        return refused(format!("{} belongs to another user", folder.display()));
    }
    let about = fs::metadata(folder)?;
    if !is_trusted(about.uid()) {
        return refused(format!("{} leads to a folder of another user", folder.display()));
    }
    if about.mode() & 0o022 != 0 {
        return refused(format!("others may write to {}", folder.display()));
    }
    Ok(())
}

/// Removes the socket that a crashed broker left behind.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(about) if !about.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path exists and is not a socket"))
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another broker listens there")),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
            Err(error) => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
    }

    #[test]
    fn the_socket_is_private_to_its_owner_and_removed_with_the_broker() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rialto/1.sock");
        let runtime = runtime();
        let _inside = runtime.enter();
        let control = Control::bind(&path).expect("a socket");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().expect("a folder"))), (0o600, 0o700));
        let again = Control::bind(&path).expect_err("it is in use").to_string();
        assert!(again.contains("another broker listens there"), "{again}");
        drop(control);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_but_no_other_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("1.sock");
        let runtime = runtime();
        let _inside = runtime.enter();
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket without a listener"));
        assert!(path.exists());
        drop(Control::bind(&path).expect("the old one is replaced"));
        fs::write(&path, "text").expect("a file");
        let error = Control::bind(&path).expect_err("it is no socket").to_string();
        assert!(error.contains("not a socket"), "{error}");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("it is ours");
        let error = Control::bind(&folder.path().join("2.sock")).expect_err("others could").to_string();
        assert!(error.contains("others may write"), "{error}");
        // Nor does a link lead there.
        let own = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink(folder.path(), own.path().join("link")).expect("a link");
        let error = Control::bind(&own.path().join("link/2.sock")).expect_err("others could").to_string();
        assert!(error.contains("others may write"), "{error}");
    }

    #[test]
    fn only_root_and_the_own_user_are_trusted() {
        let own = rustix::process::geteuid().as_raw();
        assert!(is_trusted(0) && is_trusted(own) && !is_trusted(own + 1));
    }
}
