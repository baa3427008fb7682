//! HTTP/1.1 on one connection: the pages, and the way from a request to a session. Frames are not its business.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, upgrade};
use hyper_util::rt::{TokioIo, TokioTimer};
use rialto_protocol::Codec;

use super::stream::Stream;
use super::{Front, gate, pages};

const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 8 * 1024;

/// Seconds after which a client that found the broker full should try again.
const FULL_RETRY_SECONDS: &str = "5";

/// Serves requests until the connection ends or becomes a WebSocket.
pub(super) async fn serve(stream: Stream, peer: SocketAddr, front: Arc<Front>) {
    let own_scheme = stream.own_scheme();
    let service = service_fn(|request| {
        let response = respond(request, own_scheme, &front);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(front.header)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%peer, %error, "the connection ended badly");
    }
}

fn respond(request: Request<Incoming>, own_scheme: &str, front: &Arc<Front>) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/ws" => websocket(request, own_scheme, front),
        path if front.page => pages::respond(request.method(), path),
        _ => plain(StatusCode::NOT_FOUND, "not found"),
    }
}

fn websocket(request: Request<Incoming>, own_scheme: &str, front: &Arc<Front>) -> Response<Full<Bytes>> {
    let passed = match gate::check(&request, own_scheme, &front.allowed_origins) {
        Ok(passed) => passed,
        Err(refused) => {
            let mut response = plain(refused.status, refused.text);
            if let Some((name, value)) = refused.header {
                response.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            return response;
        }
    };
    if !front.broker.has_room_for_session() {
        let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "the broker is full");
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(FULL_RETRY_SECONDS));
        return response;
    }
    tokio::spawn(hand_over(request, passed.codec, Arc::clone(front)));
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(&passed.accept).expect("base64 is a header value");
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if passed.named {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(passed.codec.subprotocol()));
    }
    response
}

/// Takes the socket out of the HTTP machinery and gives it to a shard.
async fn hand_over(request: Request<Incoming>, codec: Codec, front: Arc<Front>) {
    let upgraded = match upgrade::on(request).await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(%error, "the client left during the upgrade");
            return;
        }
    };
    let Ok(parts) = upgraded.downcast::<TokioIo<Stream>>() else {
        tracing::error!("an upgraded connection is not the socket it was");
        return;
    };
    // Copied, because what is left of the request's buffer would live as long as the session.
    let first = parts.read_buf[..].into();
    if let Err(error) = parts.io.into_inner().start_session(&front.broker, first, codec) {
        tracing::warn!(%error, "a socket cannot be moved to its shard");
    }
}

/// A short answer in plain text.
pub(super) fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
