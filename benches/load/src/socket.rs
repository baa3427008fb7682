//! Opens a WebSocket (RFC 6455 section 4) as a client and waits until that is done; it says nothing through it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::LoadError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The example of RFC 6455 section 1.3; nobody here needs another one.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A connection that has asked for its upgrade. Some servers take a tenth of a second to answer, so many should be asked
/// before the first answer is waited for.
pub struct Asked {
    stream: TcpStream,
    address: SocketAddr,
    path: String,
}

/// A connection whose upgrade is done, and what the server said right after it.
pub struct Upgraded {
    /// The connection.
    pub stream: TcpStream,
    /// What the server has sent behind its answer.
    pub rest: Vec<u8>,
}

/// Connects and asks. `receive_bytes` is the size of the kernel's buffer, where that matters.
pub fn ask(
    address: SocketAddr,
    (path, subprotocol): (String, Option<&str>),
    receive_bytes: Option<usize>,
) -> Result<Asked, LoadError> {
    let cannot = |reason| LoadError::Connect { address, reason };
    let mut stream = connect(address, receive_bytes).map_err(cannot)?;
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
    );
    if let Some(subprotocol) = subprotocol {
        request.push_str(&format!("Sec-WebSocket-Protocol: {subprotocol}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).map_err(cannot)?;
    Ok(Asked { stream, address, path })
}

impl Asked {
    /// Waits for the answer.
    pub fn upgraded(mut self) -> Result<Upgraded, LoadError> {
        let head = read_head(&mut self.stream);
        let refused = |answer| LoadError::Handshake { address: self.address, path: self.path, answer };
        let (head, rest) = match head {
            Ok(answer) => answer,
            Err(error) => return Err(refused(error.to_string())),
        };
        if !accepts(&head) {
            return Err(refused(head.lines().next().unwrap_or_default().to_owned()));
        }
        self.stream.set_nonblocking(true).map_err(LoadError::system("a socket cannot be made non-blocking"))?;
        Ok(Upgraded { stream: self.stream, rest })
    }
}

fn connect(address: SocketAddr, receive_bytes: Option<usize>) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(bytes) = receive_bytes {
        // Only before connecting does this limit the window that is announced.
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.connect_timeout(&address.into(), CONNECT_TIMEOUT)?;
    socket.set_tcp_nodelay(true)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(stream)
}

/// The head of the answer, and what came after it.
fn read_head(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        let count = stream.read(&mut buffer)?;
        bytes.extend_from_slice(&buffer[..count]);
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(at + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        if count == 0 {
            return Err(std::io::Error::other("nothing: it closed the connection"));
        }
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(std::io::Error::other("more than 16 KiB of headers"));
        }
    }
}

fn accepts(head: &str) -> bool {
    let mut lines = head.lines();
    let switches = lines.next().is_some_and(|status| status.split_whitespace().nth(1) == Some("101"));
    let accepts = |line: &str| {
        line.split_once(':')
            .is_some_and(|(name, value)| name.eq_ignore_ascii_case("sec-websocket-accept") && value.trim() == ACCEPT)
    };
    switches && lines.any(accepts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_expected_reply_is_accepted() {
        let right = format!("HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: {ACCEPT}\r\n\r\n");
        assert!(accepts(&right));
        for wrong in ["", "HTTP/1.1 101 x\r\n\r\n", &right.replace("101", "200"), &right.replace("s3p", "S3P")] {
            assert!(!accepts(wrong), "{wrong}");
        }
    }
}
