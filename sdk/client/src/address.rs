//! Where a broker is: a `ws://` or `wss://` address, taken apart once.

use tokio_tungstenite::tungstenite::http::Uri;

use crate::Ending;

/// The broker's path for WebSockets, where an address names none.
const PATH: &str = "/ws";

/// A broker's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// What the handshake asks for.
    pub(crate) uri: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) is_encrypted: bool,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, Ending> {
        let wrong = |why: &str| Ending::Address(text.to_owned(), why.to_owned());
        let uri: Uri = text.trim().parse().map_err(|error| wrong(&format!("{error}")))?;
        let is_encrypted = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") if cfg!(feature = "tls") => true,
            Some("wss") => return Err(wrong("this client was built without the feature \"tls\"")),
            _ => return Err(wrong("it must begin with ws:// or wss://")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
        let authority = uri.authority().map_or_else(String::new, ToString::to_string);
        let path = match uri.path() {
            "" | "/" => PATH,
            path => path,
        };
        let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
        let scheme = if is_encrypted { "wss" } else { "ws" };
        Ok(Self { uri: format!("{scheme}://{authority}{path}{query}"), host, port, is_encrypted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (text, uri, host, port) in [
            ("ws://127.0.0.1:8080/ws", "ws://127.0.0.1:8080/ws", "127.0.0.1", 8080),
            ("ws://localhost", "ws://localhost/ws", "localhost", 80),
            ("ws://localhost:1/", "ws://localhost:1/ws", "localhost", 1),
            ("ws://[::1]:9/path?a=b", "ws://[::1]:9/path?a=b", "::1", 9),
        ] {
            let expected = Address { uri: uri.into(), host: host.into(), port, is_encrypted: false };
            assert_eq!(Address::parse(text), Ok(expected), "{text}");
        }
        #[cfg(feature = "tls")]
        assert_eq!(Address::parse("wss://rialto.example").map(|address| address.port), Ok(443));
        for text in ["http://localhost", "localhost:80", "", "ws://", "ws:// a"] {
            assert!(matches!(Address::parse(text), Err(Ending::Address(..))), "{text}");
        }
    }
}
