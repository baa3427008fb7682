//! Responses as bytes (RFC 9112), for a connection that is no longer hyper's: it ends with the response.

use hyper::header;

use super::body::{Body, Response};

/// Appends the head of a response whose body follows, in chunks or up to the end of the connection.
pub(in crate::server) fn write_head(response: &Response, is_chunked: bool, written: &mut Vec<u8>) {
    write_fields(response, is_chunked.then_some(("transfer-encoding", "chunked")), written);
}

/// Appends a complete response.
pub(in crate::server) fn write_response(response: Response, written: &mut Vec<u8>) {
    let (parts, body) = response.into_parts();
    let body = body.into_bytes();
    let response = Response::from_parts(parts, Body::complete(""));
    write_fields(&response, Some(("content-length", &body.len().to_string())), written);
    written.extend_from_slice(&body);
}

/// Makes what was appended since `start` a chunk (RFC 9112 section 7.1).
pub(in crate::server) fn end_chunk(start: usize, written: &mut Vec<u8>) {
    let length = written.len() - start;
    if length > 0 {
        written.splice(start..start, format!("{length:x}\r\n").into_bytes());
        written.extend_from_slice(b"\r\n");
    }
}

/// Appends the chunk that ends a body.
pub(in crate::server) fn last_chunk(written: &mut Vec<u8>) {
    written.extend_from_slice(b"0\r\n\r\n");
}

fn write_fields(response: &Response, length: Option<(&str, &str)>, written: &mut Vec<u8>) {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    written.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).as_bytes());
    let mut field = |name: &str, value: &[u8]| {
        written.extend_from_slice(name.as_bytes());
        written.extend_from_slice(b": ");
        written.extend_from_slice(value);
        written.extend_from_slice(b"\r\n");
    };
    for (name, value) in response.headers().iter().filter(|(name, _)| *name != header::CONNECTION) {
        field(name.as_str(), value.as_bytes());
    }
    field("connection", b"close");
    if let Some((name, value)) = length {
        field(name, value.as_bytes());
    }
    field("date", httpdate::fmt_http_date(std::time::SystemTime::now()).as_bytes());
    written.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn responses_have_their_length_or_chunks() {
        let mut response = Response::new(Body::complete("no"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        let mut written = Vec::new();
        write_response(response, &mut written);
        let text = String::from_utf8(written).expect("ASCII");
        let (head, date) = text.split_once("date: ").expect("a date");
        assert_eq!(
            head,
            "HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: 2\r\n"
        );
        let (date, body) = date.split_once("\r\n\r\n").expect("a body");
        assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
        assert_eq!(body, "no");
        let mut written = b"head".to_vec();
        end_chunk(4, &mut written);
        written.extend_from_slice(&[b'x'; 17]);
        end_chunk(4, &mut written);
        last_chunk(&mut written);
        assert_eq!(written, b"head11\r\nxxxxxxxxxxxxxxxxx\r\n0\r\n\r\n");
    }
}
