//! `[server]` and its check: addresses, browser origins, proxies, threads, log level; it opens no socket.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};
use serde_json::json;
use toml::de::DeValue;

use super::{
    problem::Problem,
    section::{Report, Section, Text, Value, as_text, echo, nearest, wrong_type},
    setting::{Custom, Flag, Form, settings},
};

settings! {
    /// Addresses, browser origins, proxies, logging.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Server: "[server]" {
        /// Addresses to listen on: one, or up to 16 in brackets. IPv6 is written `"[::1]:8080"`. Port 0 takes any free
        /// port. 127.0.0.1 is reachable from this machine only, `"0.0.0.0:8080"` from everywhere, without encryption: use
        /// `[tls]`, or put a reverse proxy with TLS in front. With `[tls]` the list may be empty: `[]`.
        listen [restart]: Vec<SocketAddr> = vec![SocketAddr::from(([127, 0, 0, 1], 8080))] => Custom { form: addresses };
        /// Shards: threads that each own a part of the sessions. 0 means one per core.
        shards [restart]: usize = 0, 0 to 256 items;
        /// Whether the web pages are served. The JavaScript client under `/sdk/` always is.
        page: bool = true => Flag;
        /// Names under which browsers and programs reach this broker, without scheme and port, at most 1_000: a request
        /// with another name in `Host` is answered with 421, so that no foreign page can pass for an own one (DNS
        /// rebinding). IP addresses, `localhost` and the names in the certificate of `[tls]` need not be listed; `["*"]`
        /// allows all. Behind a reverse proxy it is the name that the proxy passes on.
        hosts: Vec<String> = Vec::new() => Custom { form: strings };
        /// Origin check: browser origins that may connect besides the broker's own pages, as browsers send them:
        /// `scheme://host[:port]`, without a path. At most 1_000; `["*"]` allows all. `"null"` is what pages in files and
        /// sandboxed frames send, of any author; `"file://"` what some web views send. It does not apply to clients
        /// without Origin.
        allowed_origins: Vec<String> = Vec::new() => Custom { form: strings };
        /// Whether clients that send no Origin header, that is clients other than browsers, are rejected.
        require_origin: bool = false => Flag;
        /// Reverse proxies whose X-Forwarded-For and X-Forwarded-Proto headers are trusted: addresses or networks like
        /// `"10.0.0.0/8"`, at most 1_000. From other addresses these headers are ignored.
        trusted_proxies: Vec<IpNet> = Vec::new() => Custom { form: strings };
        /// Graceful shutdown: how long sessions may take to end when the broker stops.
        shutdown_ms: u64 = 10_000, 0 to 600_000 ms;
        /// The control socket, through which commands like `rialto reload` reach this broker. A process that can
        /// open it may do everything, so only its owner can. A path has at most 107 bytes; a relative one starts at the
        /// folder of this file. Without this line it is `$XDG_RUNTIME_DIR/rialto/PORT.sock` or
        /// `/tmp/rialto-UID/PORT.sock`, and none in a program that embeds the broker; `""` switches it off.
        control [restart]: Option<PathBuf> = None => Custom { form: || Form::of(json!({ "type": "string" })).example("\"/run/rialto/control.sock\"") };
        /// Log level, the least severe one that is logged: `"error"`, `"warn"`, `"info"`, `"debug"` or `"trace"`.
        log: String = "info".to_owned() => Custom { form: || Form::of(json!({ "enum": LEVELS })) };
    }
}

/// The log levels, least verbose first.
const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];

/// Most addresses to listen on.
const LISTEN_MAX: usize = 16;

/// Most browser origins.
const ORIGINS_MAX: usize = 1_000;

/// Longest path of a Unix domain socket (unix(7)).
const CONTROL_BYTES_MAX: usize = 107;

/// Most networks of proxies.
const PROXIES_MAX: usize = 1_000;

/// An address, or several.
pub(super) fn addresses() -> Form {
    let address = json!({ "type": "string" });
    let several = json!({ "type": "array", "items": address, "maxItems": LISTEN_MAX, "uniqueItems": true });
    Form::of(json!({ "anyOf": [address, several] }))
}

/// A string, or several.
pub(super) fn strings() -> Form {
    let text = json!({ "type": "string" });
    Form::of(json!({ "anyOf": [text, { "type": "array", "items": text }] }))
}

/// With `tls` the list of addresses may be empty.
pub(super) fn check<'a>(report: &mut Report, value: &'a Value<'a>, tls: bool) -> Server {
    let mut server = Server::default();
    let Some(section) = Section::open(report, "[server]", &Server::TABLE, value) else {
        return server;
    };
    server.read_keys(report, &section);
    if let Some(value) = section.get("listen") {
        server.listen = check_listen(report, value, "127.0.0.1:8080", usize::from(!tls));
    }
    if let Some(value) = section.get("hosts") {
        server.hosts = check_hosts(report, value);
    }
    if let Some(value) = section.get("allowed_origins") {
        server.allowed_origins = check_origins(report, value);
    }
    if let Some(value) = section.get("trusted_proxies") {
        server.trusted_proxies = check_proxies(report, value);
    }
    if let Some(path) = section.text(report, "control", "\"/run/rialto/control.sock\"") {
        server.control = Some(check_control(report, &path));
    }
    if let Some(level) = section.text(report, "log", "\"info\"") {
        server.log = check_level(report, &level);
    }
    server
}

/// The addresses of a `listen`, at least so many; `default` is an example for the hint.
pub(super) fn check_listen<'a>(
    report: &mut Report,
    value: &'a Value<'a>,
    default: &str,
    count_min: usize,
) -> Vec<SocketAddr> {
    let example = format!("write `listen = \"{default}\"`, or several in brackets");
    let mut found: Vec<SocketAddr> = Vec::new();
    for text in texts(report, "listen", value, &example, count_min..=LISTEN_MAX) {
        match text.value.parse() {
            Ok(address) if found.contains(&address) => {
                report
                    .add(Problem::at(text.span, format!("`listen` has {address} twice")).help("leave one of them out"));
            }
            Ok(address) => found.push(address),
            Err(_) => {
                let title = "`listen` needs an IP address and a port";
                report.add(Problem::at(text.span.clone(), title).help(listen_help(text.value)));
            }
        }
    }
    found
}

/// A hint with the nearest valid address.
fn listen_help(written: &str) -> String {
    let (host, port) = written.rsplit_once(':').unwrap_or((written, ""));
    let is_number = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if is_number(port) && (host.parse::<std::net::Ipv4Addr>().is_ok() || host.ends_with(']')) {
        return "the port must be 0 to 65535".to_owned();
    }
    let port = port.parse::<u16>().ok();
    let bare = written.trim_start_matches('[').trim_end_matches(']');
    let better = match (host, port, bare.parse::<IpAddr>()) {
        (_, _, Ok(address)) => SocketAddr::new(address, 8080).to_string(),
        ("localhost", Some(port), _) => format!("127.0.0.1:{port}"),
        ("" | "*", Some(port), _) => format!("0.0.0.0:{port}"),
        _ if written.parse::<u16>().is_ok() => format!("127.0.0.1:{written}"),
        _ => "127.0.0.1:8080\" or \"[::1]:8080".to_owned(),
    };
    format!("write \"{better}\"")
}

fn check_hosts<'a>(report: &mut Report, value: &'a Value<'a>) -> Vec<String> {
    let example = "write `hosts = [\"chat.example.com\"]`";
    let mut found = Vec::new();
    for text in texts(report, "hosts", value, example, 0..=ORIGINS_MAX) {
        match host_fault(text.value) {
            None => found.push(text.value.to_owned()),
            Some(help) => {
                let title = "`hosts` needs names as they stand in a URL between the scheme and the port";
                report.add(Problem::at(text.span, title).help(help));
            }
        }
    }
    found
}

/// Why this is never the name in a `Host` header, and what to write instead.
fn host_fault(host: &str) -> Option<&'static str> {
    let is_label = |label: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len()) && label.chars().all(fits)
    };
    match host {
        "*" => None,
        _ if host.contains("://") => Some("leave out the scheme: \"chat.example.com\""),
        _ if host.contains('/') => Some("leave out everything after the name"),
        _ if host.contains('*') => Some("list each name, or allow all with \"*\"; there are no patterns here"),
        _ if host.parse::<IpAddr>().is_ok() => Some("addresses are always allowed: leave it out"),
        _ if host.contains(':') => Some("leave out the port: all ports have the same names"),
        _ if !host.is_ascii() => Some("write the name in its ASCII form (\"xn--...\")"),
        _ if host.len() > 253 || !host.split('.').all(is_label) => Some("write a name like \"chat.example.com\""),
        _ => None,
    }
}

fn check_origins<'a>(report: &mut Report, value: &'a Value<'a>) -> Vec<String> {
    let example = "write `allowed_origins = [\"https://example.com\"]`";
    let mut found = Vec::new();
    for text in texts(report, "allowed_origins", value, example, 0..=ORIGINS_MAX) {
        match origin_fault(text.value) {
            None => found.push(text.value.to_owned()),
            Some(help) => {
                let title = "`allowed_origins` needs origins as browsers send them: scheme://host[:port]";
                report.add(Problem::at(text.span, title).help(help));
            }
        }
    }
    found
}

/// Why a browser never sends this as its `Origin` (RFC 6454, section 6.2), and what to write instead. Does not repeat
/// what was written: it may hold a password.
fn origin_fault(origin: &str) -> Option<String> {
    if ["*", "null", "file://"].contains(&origin) {
        return None;
    }
    let Some((scheme, rest)) = origin.split_once("://") else {
        return Some("start with \"https://\" or \"http://\", or allow all with \"*\"".to_owned());
    };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let simple = |text: &str, more: &[char]| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(&c);
        !text.is_empty() && text.chars().all(fits)
    };
    let address = host.starts_with('[') && host.ends_with(']') && simple(&host[1..host.len() - 1], &[':', '.']);
    let fault = match (scheme, port) {
        _ if rest.contains('@') => "leave out the user and password",
        _ if rest.contains(['/', '?', '#']) => "leave out everything after the host and port, the `/` too",
        _ if host.contains('*') => "list each host, or allow all with \"*\"; there are no patterns here",
        _ if origin.chars().any(char::is_uppercase) => "browsers send it in lower case",
        _ if !host.is_ascii() => "browsers send the host in its ASCII form (\"xn--...\")",
        ("https", Some("443")) | ("http", Some("80")) => "leave out the port: browsers do, when it is the usual one",
        (_, Some(port)) if port.starts_with('0') || port.parse::<u16>().is_err() => "the port must be 1 to 65535",
        _ if !simple(scheme, &['+', '-', '.']) => "write the scheme in letters, like \"https://example.com\"",
        _ if !address && !simple(host, &['-', '.', '_']) => {
            "write the host after \"://\", like \"https://example.com\""
        }
        _ => return None,
    };
    Some(fault.to_owned())
}

fn check_proxies<'a>(report: &mut Report, value: &'a Value<'a>) -> Vec<IpNet> {
    let example = "write `trusted_proxies = [\"10.0.0.0/8\"]`";
    let mut found = Vec::new();
    for text in texts(report, "trusted_proxies", value, example, 0..=PROXIES_MAX) {
        match network(text.value) {
            Some(network) => found.push(network),
            None => {
                let title = "`trusted_proxies` needs IP addresses or networks";
                let help = "write \"10.0.0.1\", \"10.0.0.0/8\" or \"2001:db8::/32\"";
                report.add(Problem::at(text.span, title).help(help));
            }
        }
    }
    found
}

/// A network, or an address as a network of one.
fn network(text: &str) -> Option<IpNet> {
    match text.parse().or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address))) {
        // Connections over IPv4 are known by their IPv4 address only, so a network must be too.
        Ok(IpNet::V6(network)) => match (network.addr().to_ipv4_mapped(), network.prefix_len().checked_sub(96)) {
            (Some(mapped), Some(bits)) => Ipv4Net::new(mapped, bits).ok().map(IpNet::V4),
            (Some(_), None) => None,
            (None, _) => Some(IpNet::V6(network)),
        },
        network => network.ok(),
    }
}

/// The empty text means none; it is not joined with the folder of the file.
fn check_control(report: &mut Report, path: &Text) -> PathBuf {
    if path.value.is_empty() {
        return PathBuf::new();
    }
    let full = report.folder.join(path.value);
    let bytes = full.as_os_str().len();
    if bytes > CONTROL_BYTES_MAX {
        let title = format!("`control` has {bytes} bytes, the path of a socket at most {CONTROL_BYTES_MAX}");
        report.add(Problem::at(path.span.clone(), title).help("choose a folder with a shorter path"));
    }
    full
}

fn check_level(report: &mut Report, level: &Text) -> String {
    if !LEVELS.contains(&level.value) {
        let near = nearest(level.value, LEVELS.iter().copied());
        let help = near.map_or("the default is \"info\"".to_owned(), |near| format!("did you mean \"{near}\"?"));
        let title = format!("`log` must be one of {}, not \"{}\"", LEVELS.join(", "), echo(level.value));
        report.add(Problem::at(level.span.clone(), title).help(help));
    }
    level.value.to_owned()
}

/// The strings of an array, or a single string as an array of one.
pub(super) fn texts<'a>(
    report: &mut Report,
    key: &str,
    value: &'a Value<'a>,
    example: &str,
    count: std::ops::RangeInclusive<usize>,
) -> Vec<Text<'a>> {
    let expected = "a string or an array of strings";
    let DeValue::Array(array) = value.get_ref() else {
        let text = as_text(value);
        if text.is_none() {
            report.add(wrong_type(key, value, expected).help(example));
        }
        return text.into_iter().collect();
    };
    if !count.contains(&array.len()) {
        let title = format!("`{key}` must have {} to {} entries, not {}", count.start(), count.end(), array.len());
        report.add(Problem::at(value.span(), title).help(example));
        return Vec::new();
    }
    let mut found = Vec::new();
    for item in array.iter() {
        match as_text(item) {
            Some(text) => found.push(text),
            None => report.add(wrong_type(key, item, expected).help(example)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_a_canonical_form() {
        for (written, expected) in [
            ("10.0.0.1", Some("10.0.0.1/32")),
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("2001:db8::/32", Some("2001:db8::/32")),
            ("::1", Some("::1/128")),
            ("::ffff:10.0.0.1", Some("10.0.0.1/32")),
            ("::ffff:10.0.0.0/104", Some("10.0.0.0/8")),
            ("::ffff:0:0/95", None),
            ("10.0.0.0/33", None),
            ("localhost", None),
        ] {
            assert_eq!(network(written).map(|network| network.to_string()).as_deref(), expected, "{written}");
        }
    }

    #[test]
    fn invalid_origins_have_a_hint() {
        let cases = [
            ("*", ""),
            ("null", ""),
            ("file://", ""),
            ("https://example.com", ""),
            ("http://localhost:3000", ""),
            ("http://[::1]:8080", ""),
            ("chrome-extension://abcdef", ""),
            ("example.com", "start with"),
            ("https://example.com/", "leave out everything"),
            ("https://me:secret@example.com", "leave out the user"),
            ("https://*.example.com", "list each host"),
            ("https://Example.com", "lower case"),
            ("https://bücher.de", "ASCII form"),
            ("https://example.com:443", "leave out the port"),
            ("https://example.com:0", "1 to 65535"),
            ("https://example.com:99999", "1 to 65535"),
            ("https://", "write the host"),
            ("https://a b", "write the host"),
            ("://example.com", "write the scheme"),
        ];
        for (origin, expected) in cases {
            let got = origin_fault(origin).unwrap_or_default();
            assert!(got.contains(expected) && got.is_empty() == expected.is_empty(), "{origin}: {got}");
        }
    }

    #[test]
    fn invalid_hosts_have_a_hint() {
        let cases = [
            ("*", ""),
            ("chat.example.com", ""),
            ("Chat.Example", ""),
            ("intranet", ""),
            ("https://chat.example.com", "leave out the scheme"),
            ("chat.example.com:8080", "leave out the port"),
            ("chat.example.com/ws", "after the name"),
            ("*.example.com", "list each name"),
            ("10.0.0.1", "addresses are always allowed"),
            ("::1", "addresses are always allowed"),
            ("bücher.de", "ASCII form"),
            ("a..b", "like \"chat.example.com\""),
            ("a b", "like \"chat.example.com\""),
            ("", "like \"chat.example.com\""),
        ];
        for (host, expected) in cases {
            let got = host_fault(host).unwrap_or_default();
            assert!(got.contains(expected) && got.is_empty() == expected.is_empty(), "{host}: {got}");
        }
    }

    #[test]
    fn invalid_addresses_have_a_hint() {
        let cases = [
            ("localhost:9000", "write \"127.0.0.1:9000\""),
            (":9000", "write \"0.0.0.0:9000\""),
            ("9000", "write \"127.0.0.1:9000\""),
            ("10.0.0.1", "write \"10.0.0.1:8080\""),
            ("::1", "write \"[::1]:8080\""),
            ("127.0.0.1:70000", "the port must be 0 to 65535"),
            ("[::1]:70000", "the port must be 0 to 65535"),
            ("nonsense", "write \"127.0.0.1:8080\" or \"[::1]:8080\""),
        ];
        for (written, expected) in cases {
            assert_eq!(listen_help(written), expected, "{written}");
        }
    }
}
