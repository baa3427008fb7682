//! Nobody who reads what the binary writes can hold it up: a reader that is gone, and one that does not read.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rialto::Codec;
use serde_json::json;

use crate::support::process::command;
use crate::support::{Client, DEADLINE, eventually, http};

/// A broker that logs every connection, on a port of its own; its standard streams are up to the caller.
struct Talkative {
    child: Child,
    address: std::net::SocketAddr,
    _folder: tempfile::TempDir,
}

impl Talkative {
    fn start(streams: impl FnOnce(&mut Command)) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = format!("[server]\nlisten = \"{free}\"\nhosts = \"x\"\nlog = \"debug\"\nshutdown_ms = 1_000\n");
        let folder = crate::support::process::folder(&config, None);
        let mut command = command(folder.path());
        streams(&mut command);
        Self { child: command.process_group(0).spawn().unwrap(), address: free, _folder: folder }
    }

    async fn serves(&self) {
        let address = self.address;
        eventually("it listens", || std::net::TcpStream::connect(address).is_ok()).await;
        for _ in 0..400 {
            // Each of these is a line of the log.
            assert_eq!(http(address, "nonsense\r\n\r\n").await.status, 400);
        }
        let mut client = Client::connect(address, Codec::Json).await;
        client.subscribe("a").await;
        client.publish("a", json!("it goes on")).await;
        assert_eq!(client.message().await["data"], "it goes on");
        client.close().await;
    }

    /// How long it takes to end after SIGTERM, and its exit code.
    fn ends(&mut self) -> (Duration, Option<i32>) {
        let begun = Instant::now();
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (begun.elapsed(), status.code());
            }
            assert!(begun.elapsed() < DEADLINE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Talkative {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn readers_of_the_log_that_are_gone_change_nothing() {
    let mut talkative = Talkative::start(|command| {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    });
    drop((talkative.child.stdout.take(), talkative.child.stderr.take()));
    talkative.serves().await;
    assert_eq!(talkative.ends().1, Some(0));
}

#[tokio::test]
async fn readers_that_do_not_read_change_nothing_and_do_not_delay_the_end() {
    let mut talkative = Talkative::start(|command| {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    });
    let (mut out, mut err) = (talkative.child.stdout.take().unwrap(), talkative.child.stderr.take().unwrap());
    // The buffer of a pipe has 64 KiB.
    for _ in 0..3 {
        talkative.serves().await;
    }
    let (took, code) = talkative.ends();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "it waits for its readers: {took:?}");
    // Whoever reads at last finds whole lines.
    let (mut said, mut logged) = (String::new(), String::new());
    out.read_to_string(&mut said).unwrap();
    err.read_to_string(&mut logged).unwrap();
    assert!(said.contains("Ctrl-C stops"), "{said}");
    assert!(logged.len() > 32 * 1024, "{} bytes", logged.len());
}
