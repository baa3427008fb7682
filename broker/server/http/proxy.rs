//! The client behind reverse proxies, from `X-Forwarded-For` and `X-Forwarded-Proto`. Headers of an address that is not a
//! trusted proxy are ignored.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{HeaderMap, HeaderValue};

const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";

/// Where a request came from, as far as the headers can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Origin {
    /// The address of the client.
    pub(in crate::server) address: IpAddr,
    /// Whether the client's own connection is encrypted.
    pub(in crate::server) secure: bool,
}

/// Follows the list of proxies back from the connection as long as each is trusted. Every proxy appends the address that it
/// sees, so a client can forge only the beginning of the list.
pub(in crate::server) fn origin(direct: Origin, headers: &HeaderMap, trusts: impl Fn(IpAddr) -> bool) -> Origin {
    if !trusts(direct.address) {
        return direct;
    }
    let mut address = direct.address;
    let listed = headers.get_all(FOR).into_iter().rev().flat_map(|value| entries(value).rev());
    for entry in listed {
        // An entry that is not an address was not written by a well-behaved proxy: nothing before it counts.
        let Some(before) = entry.and_then(parse) else { break };
        address = before;
        if !trusts(address) {
            break;
        }
    }
    let proto = headers.get_all(PROTO).into_iter().rev().flat_map(|value| entries(value).rev()).next().flatten();
    let secure = proto.map_or(direct.secure, |proto| proto.eq_ignore_ascii_case("https"));
    Origin { address, secure }
}

/// The entries of a list; none for an entry that is not UTF-8.
fn entries(value: &HeaderValue) -> impl DoubleEndedIterator<Item = Option<&str>> {
    value.as_bytes().split(|byte| *byte == b',').map(|word| std::str::from_utf8(word).ok().map(str::trim))
}

/// An address, with or without a port.
fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse().ok().or_else(|| entry.parse().ok().map(|with_port: SocketAddr| with_port.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(direct: &str, lines: &[(&'static str, &str)]) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
        }
        let direct = Origin { address: direct.parse().expect("an address"), secure: false };
        let trusts = |address: IpAddr| matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 10);
        let Origin { address, secure } = origin(direct, &headers, trusts);
        (address.to_string(), secure)
    }

    #[test]
    fn only_addresses_added_by_trusted_proxies_count() {
        for (direct, lists, expected) in [
            ("192.0.2.1", &["203.0.113.9"][..], "192.0.2.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.7, 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.7, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.7", "203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &[" , ,"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, "], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, nonsense, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["\u{ff}"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["unknown"], "10.0.0.1"),
        ] {
            let lines: Vec<_> = lists.iter().map(|list| (FOR, *list)).collect();
            assert_eq!(of(direct, &lines), (expected.to_owned(), false), "{direct} {lists:?}");
        }
    }

    #[test]
    fn a_trusted_proxy_sets_the_scheme_of_the_client() {
        for (direct, lines, secure) in [
            ("10.0.0.1", &[(PROTO, "https")][..], true),
            ("10.0.0.1", &[(PROTO, "HTTPS")], true),
            ("10.0.0.1", &[(PROTO, "http, https")], true),
            ("10.0.0.1", &[(PROTO, "https"), (PROTO, "http")], false),
            ("10.0.0.1", &[(PROTO, "")], false),
            ("10.0.0.1", &[], false),
            ("192.0.2.1", &[(PROTO, "https")], false),
        ] {
            assert_eq!(of(direct, lines).1, secure, "{direct} {lines:?}");
        }
    }
}
