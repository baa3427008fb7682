//! The names of this server: which `Host` a request may have. A page whose own name resolves to this server (DNS rebinding)
//! has its own name there, and is refused, however equal its `Origin` is.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{self, HeaderMap};
use hyper::http::uri::Authority;

use super::refusal::Rejection;
use crate::log_pace::LogPace;
use crate::metrics::Metrics;
use crate::server::Tls;

/// What a log line repeats of a name.
const SHOWN_CHARS_MAX: usize = 100;

/// The names of this server, besides those of the configuration.
#[derive(Debug)]
pub(in crate::server) struct Hosts {
    /// The certificates, whose names are this server's too.
    certificates: Vec<Arc<Tls>>,
    pace: LogPace,
    metrics: Arc<Metrics>,
}

impl Hosts {
    pub(in crate::server) fn new(metrics: Arc<Metrics>) -> Self {
        Self { certificates: Vec::new(), pace: LogPace::default(), metrics }
    }

    #[cfg(feature = "tls")]
    pub(in crate::server) fn add_certificate(&mut self, tls: Arc<Tls>) {
        self.certificates.push(tls);
    }

    /// Checks a request whose head has exactly one valid `Host`, or none at all. `names` are those of the configuration; `*` is
    /// any.
    ///
    /// # Errors
    /// 421 for a name that is not this server's (RFC 9110 section 15.5.20).
    pub(in crate::server) fn check(&self, names: &[String], headers: &HeaderMap) -> Result<(), Rejection> {
        let Some(host) = headers.get(header::HOST) else { return Ok(()) };
        let Some(name) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else { return Ok(()) };
        if self.is_own(names, name.host()) {
            return Ok(());
        }
        self.metrics.hosts_refused.add(1);
        if let Some(left_out) = self.pace.take(("host", ""), 1) {
            let host: String = name.host().chars().take(SHOWN_CHARS_MAX).collect();
            let line = format!("hosts = [{host:?}]");
            tracing::warn!(
                ?host,
                left_out,
                "a request for another server was refused; if this is its name, add {line} to [server]"
            );
        }
        let text = "this server does not have the name in Host: add it to `hosts` in [server]";
        Err(Rejection::new(StatusCode::MISDIRECTED_REQUEST, text))
    }

    /// An address cannot be rebound, and browsers resolve `localhost` themselves.
    fn is_own(&self, names: &[String], host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let is_address = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
            None => host.parse::<Ipv4Addr>().is_ok(),
        };
        if is_address || host == "localhost" {
            return true;
        }
        let is_listed = names.iter().any(|name| name == "*" || name.eq_ignore_ascii_case(&host));
        is_listed || self.certificates.iter().any(|tls| tls.names().iter().any(|name| covers(name, &host)))
    }
}

/// Whether a name of a certificate is this one: `*.` stands for one label (RFC 9525 section 6.3).
fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
        None => name == host,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn status(names: &[&str], host: &str) -> u16 {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let hosts = Hosts::new(Arc::default());
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).expect("a header"));
        hosts.check(&names, &headers).map_or_else(|rejection| rejection.status.as_u16(), |()| 200)
    }

    #[test]
    fn only_own_names_pass() {
        let own = ["chat.example", "Other.Example"];
        for (host, expected) in [
            ("127.0.0.1:8080", 200),
            ("10.1.2.3", 200),
            ("[::1]:8080", 200),
            ("localhost", 200),
            ("LocalHost:9000", 200),
            ("localhost.", 200),
            ("chat.example", 200),
            ("CHAT.example:443", 200),
            ("other.example.", 200),
            ("evil.example", 421),
            ("chat.example.evil.example", 421),
            ("x.chat.example", 421),
            ("localhost.evil.example", 421),
            ("127.0.0.1.evil.example", 421),
            ("127.0.0.1.nip.io", 421),
            ("[127.0.0.1]", 421),
        ] {
            assert_eq!(status(&own, host), expected, "{host}");
        }
        assert_eq!(status(&["*"], "evil.example"), 200);
    }

    #[test]
    fn a_wildcard_of_a_certificate_stands_for_one_label() {
        for (name, host, expected) in [
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("example.com", "example.com", true),
        ] {
            assert_eq!(covers(name, host), expected, "{name} {host}");
        }
    }
}
