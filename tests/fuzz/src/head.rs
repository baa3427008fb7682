//! Requests and responses in a stream of HTTP/1.1, taken apart by hand where it matters: where each begins and ends, and
//! whether it may become a WebSocket (RFC 9112, RFC 6455 section 4.2.1 and what Rialto's protocol adds).

use std::net::{Ipv4Addr, Ipv6Addr};

/// The head of a request, and where it leads.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub is_http_11: bool,
    fields: Fields,
    /// A line of it does not end in CR LF.
    pub has_lone_lf: bool,
}

/// The head of a response.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    fields: Fields,
}

/// Header fields with their names in lower case.
#[derive(Clone, Debug)]
struct Fields(Vec<(String, Vec<u8>)>);

/// How many fields a head may have here; more than the broker takes.
const FIELDS_MAX: usize = 100;

/// All requests that begin in the bytes and have whole heads, up to the first thing that is none.
pub fn requests(mut bytes: &[u8]) -> Vec<Request> {
    let mut requests = Vec::new();
    while let Some((request, length)) = request(bytes) {
        let rest = after_body(&request.fields, &bytes[length..]);
        requests.push(request);
        let Some(rest) = rest else { break };
        bytes = rest;
    }
    requests
}

fn request(bytes: &[u8]) -> Option<(Request, usize)> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Request::new(&mut fields);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) | Err(_) => return None,
    };
    let has_lone_lf = (0..length).any(|at| bytes[at] == b'\n' && (at == 0 || bytes[at - 1] != b'\r'));
    let request = Request {
        method: head.method?.to_owned(),
        target: head.path?.to_owned(),
        is_http_11: head.version? == 1,
        fields: Fields::of(head.headers),
        has_lone_lf,
    };
    Some((request, length))
}

/// What follows the body of a request; none when nobody can say where that ends.
fn after_body<'b>(fields: &Fields, bytes: &'b [u8]) -> Option<&'b [u8]> {
    let codings = fields.all("transfer-encoding");
    if !codings.is_empty() {
        let is_chunked = codings.len() == 1 && codings[0].eq_ignore_ascii_case(b"chunked");
        return if is_chunked { after_chunks(bytes) } else { None };
    }
    match &fields.all("content-length")[..] {
        [] => Some(bytes),
        [first, others @ ..] => {
            let digits = std::str::from_utf8(first).ok()?;
            let length = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<usize>().ok())??;
            others.iter().all(|other| other == first).then(|| bytes.get(length..))?
        }
    }
}

fn after_chunks(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (line, rest) = line(bytes)?;
        let digits = line.split(|byte| *byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?.trim(), 16).ok()?;
        bytes = rest;
        if size == 0 {
            break;
        }
        bytes = bytes.get(size..)?.strip_prefix(b"\r\n")?;
    }
    // Trailers end with an empty line, like heads.
    loop {
        let (line, rest) = line(bytes)?;
        bytes = rest;
        if line.is_empty() {
            return Some(bytes);
        }
    }
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

/// The name of the server that is fuzzed, besides `localhost` and addresses.
pub const OWN_NAME: &str = "a";

/// Whether a `Host` names the server: a page of another name that resolves to it (DNS rebinding) is not its own.
fn is_own_host(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((address, port)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        return address.parse::<Ipv6Addr>().is_ok() && port.strip_prefix(':').map_or(port.is_empty(), is_port);
    }
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_named = name.eq_ignore_ascii_case(OWN_NAME) || name.eq_ignore_ascii_case("localhost");
    is_port(port) && (is_named || name.parse::<Ipv4Addr>().is_ok())
}

impl Request {
    /// Whether it may be for one of the doors behind which a session reads for somebody.
    pub fn is_for_a_reader(&self) -> bool {
        ["/sse", "/poll"].iter().any(|path| self.target.contains(path))
    }

    /// Whether the answer may be 101: everything that a server has to find in the request is there, and nothing that makes
    /// it mean two things.
    pub fn may_be_upgraded(&self) -> bool {
        let fields = &self.fields;
        let body = fields.has("transfer-encoding") || fields.all("content-length").iter().any(|length| *length != b"0");
        self.method == "GET"
            && self.is_http_11
            && !self.has_lone_lf
            && !body
            && self.path() == Some("/ws")
            && fields.lists("upgrade", "websocket")
            && fields.lists("connection", "upgrade")
            && fields.once("sec-websocket-version").is_some_and(|version| version == b"13")
            && fields.once("sec-websocket-key").is_some_and(is_key)
            && fields.once("host").is_some_and(|host| is_own_host(host) && self.is_of_own_origin(host))
            && self.names_a_subprotocol()
    }

    /// Whether nothing about it is so odd that a server may refuse it for that alone.
    pub fn is_plain(&self) -> bool {
        let printable = |value: &Vec<u8>| value.iter().all(|byte| (b' '..=b'~').contains(byte));
        let path = self.target.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/?=&-_.".contains(&byte));
        path && self.fields.0.len() <= 32
            && self.fields.0.iter().all(|(_, value)| printable(value))
            && self.fields.once("host").is_some_and(|host| host.iter().all(|byte| byte.is_ascii_alphanumeric()))
    }

    /// The key that the answer has to prove it has read.
    pub fn key(&self) -> Option<&[u8]> {
        self.fields.once("sec-websocket-key")
    }

    fn path(&self) -> Option<&str> {
        let path = match self.target.split_once("://") {
            Some((_, rest)) if !self.target.starts_with('/') => &rest[rest.find(['/', '?'])?..],
            _ => &self.target,
        };
        path.split(['?', '#']).next()
    }

    /// Browsers name the page's origin; only the broker's own is allowed here.
    fn is_of_own_origin(&self, host: &[u8]) -> bool {
        let origins = self.fields.all("origin");
        let own = [b"http://", host].concat();
        origins.is_empty() || matches!(&origins[..], [one] if one.eq_ignore_ascii_case(&own))
    }

    fn names_a_subprotocol(&self) -> bool {
        let offered = self.fields.tokens("sec-websocket-protocol");
        offered.is_empty() || offered.iter().any(|name| matches!(&name[..], b"rialto.v1.json" | b"rialto.v1.msgpack"))
    }
}

impl Fields {
    fn of(headers: &[httparse::Header<'_>]) -> Self {
        Self(headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect())
    }

    fn all(&self, name: &str) -> Vec<&[u8]> {
        self.0.iter().filter(|(own, _)| own == name).map(|(_, value)| &value[..]).collect()
    }

    fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    fn once(&self, name: &str) -> Option<&[u8]> {
        match self.all(name)[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// The entries of a list, which may go over several fields of the same name.
    fn tokens(&self, name: &str) -> Vec<Vec<u8>> {
        let entries = self.all(name).into_iter().flat_map(|value| value.split(|byte| *byte == b','));
        entries.map(|entry| entry.trim_ascii().to_vec()).filter(|entry| !entry.is_empty()).collect()
    }

    fn lists(&self, name: &str, token: &str) -> bool {
        self.tokens(name).iter().any(|entry| entry.eq_ignore_ascii_case(token.as_bytes()))
    }
}

/// 16 bytes in base64: 22 digits, of which the last carries only two bits, and two signs that fill up.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(is_digit) && b"AQgw".contains(&key[21])
}

/// All responses in what a server wrote, and what follows a 101. `methods` are those of the requests: what answers a HEAD
/// has no body.
pub fn responses<'b>(mut bytes: &'b [u8], methods: &[String]) -> (Vec<Response>, &'b [u8]) {
    let mut responses: Vec<Response> = Vec::new();
    while !bytes.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(length)) = head.parse(bytes) else {
            panic!("no whole response: {}", bytes.escape_ascii());
        };
        let status = head.code.expect("a whole response has a status");
        let response = Response { status, fields: Fields::of(head.headers) };
        bytes = &bytes[length..];
        let is_bodiless = status == 101 || methods.get(responses.len()).is_some_and(|method| method == "HEAD");
        if !is_bodiless {
            bytes = after_body(&response.fields, bytes).expect("a response says how long it is");
        }
        responses.push(response);
        if status == 101 {
            break;
        }
    }
    (responses, bytes)
}

impl Response {
    /// The proof that the key was read.
    pub fn accept(&self) -> Option<&[u8]> {
        self.fields.once("sec-websocket-accept")
    }

    /// Whether it is an upgrade in form (RFC 6455 section 4.2.2).
    pub fn is_upgrade(&self) -> bool {
        self.fields.lists("upgrade", "websocket") && self.fields.lists("connection", "upgrade")
    }
}
