//! Checks whether a server accepts WebSocket sessions yet. It measures nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rialto_load::scenario::{Dialect, Target};

const PATIENCE: Duration = Duration::from_millis(500);

/// Whether the target accepts a session right now.
pub(crate) fn accepts(target: &Target) -> bool {
    ask(target).is_ok_and(|answer| answer.starts_with("HTTP/1.1 101 "))
}

fn ask(target: &Target) -> std::io::Result<String> {
    let mut socket = TcpStream::connect_timeout(&target.address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(request(target).as_bytes())?;
    let mut answer = [0; 13];
    socket.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn request(target: &Target) -> String {
    let (path, protocol) = match target.dialect {
        Dialect::Rialto => ("/ws", ""),
        Dialect::Plain => ("/sub/ready", ""),
        Dialect::Nats => ("/", ""),
        Dialect::Mqtt => ("/", "Sec-WebSocket-Protocol: mqtt\r\n"),
    };
    // The key is the example of RFC 6455, section 1.3.
    format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{protocol}\r\n",
        target.address
    )
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    fn answered(answer: &'static str) -> bool {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let target = Target { address: listener.local_addr().expect("it is bound"), dialect: Dialect::Mqtt, pid: None };
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("somebody connects");
            let mut request = [0; 1024];
            let length = socket.read(&mut request).expect("something is asked");
            socket.write_all(answer.as_bytes()).expect("it still listens");
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let accepted = accepts(&target);
        let asked = server.join().expect("the server does not panic");
        assert!(asked.ends_with("\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"), "{asked}");
        accepted
    }

    #[test]
    fn only_switched_protocols_are_an_acceptance() {
        assert!(answered("HTTP/1.1 101 Switching Protocols\r\n\r\n"));
        assert!(!answered("HTTP/1.1 503 Service Unavailable\r\n\r\n"));
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = nobody.local_addr().expect("it is bound");
        drop(nobody);
        assert!(!accepts(&Target { address, dialect: Dialect::Plain, pid: None }));
    }
}
