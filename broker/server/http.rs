//! HTTP/1.1 on one connection: the pages, and the way from a request to a session. Frames are not its business.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, upgrade};
use hyper_util::rt::{TokioIo, TokioTimer};
use rialto_protocol::Codec;

use super::admission::retry_seconds;
use super::forwarded::Origin;
use super::gate::Passed;
use super::guarded::Guarded;
use super::heads::Heads;
use super::lobby::{Refusal, Waiting};
use super::refused::Refused;
use super::stream::Stream;
use super::{Front, forwarded, gate, pages};
use crate::guest::Guest;
use crate::quota::Place;
use crate::subnet::Subnet;

/// Requests of one connection, and the time after which it ends with the next one: asking again and again must not keep a
/// place for ever.
const REQUESTS_MAX: u64 = 100;
const LIFETIME: Duration = Duration::from_secs(30);

const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 8 * 1024;

/// Seconds over which those are spread who found the broker full.
const FULL_SPREAD: u64 = 10;

/// Serves requests until the connection ends or becomes a WebSocket.
pub(super) async fn serve(stream: Stream, peer: IpAddr, mut waiting: Waiting, front: Arc<Front>) {
    let heads = Arc::new(Heads::default());
    let visit = Visit {
        front: &front,
        direct: Origin { address: peer, secure: stream.is_secure() },
        refusal: waiting.refusal,
        heads: Arc::clone(&heads),
        begun: Instant::now(),
        requests: AtomicU64::new(0),
        of_address: Mutex::new(waiting.of_address.take()),
        leaving: Mutex::default(),
    };
    let service = service_fn(|request| {
        let response = visit.answer(request);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(front.header)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(Guarded::new(stream, heads, front.write)), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%peer, %error, "the connection ended badly");
    }
    if let Some(leaving) = take(&visit.leaving) {
        hand_over(leaving, &front).await;
    }
}

/// One connection and what its requests have led to.
struct Visit<'f> {
    front: &'f Front,
    direct: Origin,
    refusal: Option<Refusal>,
    heads: Arc<Heads>,
    begun: Instant,
    requests: AtomicU64,
    of_address: Mutex<Option<Place<Subnet>>>,
    leaving: Mutex<Option<Leaving>>,
}

/// A connection that becomes a session.
struct Leaving {
    upgrade: OnUpgrade,
    codec: Codec,
    guest: Guest,
}

impl Visit<'_> {
    fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let number = self.requests.fetch_add(1, Relaxed);
        let mut response = self.respond(number, request).unwrap_or_else(Response::from);
        let stays = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if !stays && (number + 1 >= REQUESTS_MAX || self.begun.elapsed() > LIFETIME) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn respond(&self, number: u64, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Refused> {
        if self.heads.is_bad(number) {
            return Err(Refused::bad("a line of the request does not end in CR LF"));
        }
        gate::check_head(&request)?;
        match self.refusal {
            None => {}
            Some(Refusal::Full) => return Err(full()),
            Some(Refusal::Address) => return Err(too_many_of_address()),
        }
        match request.uri().path() {
            "/ws" => self.websocket(request).inspect_err(|refused| {
                if refused.is_for_want_of_a_place() {
                    self.front.broker.core.metrics.connections_refused.add(1);
                }
            }),
            path if self.front.page => pages::respond(request.method(), path),
            _ => Err(Refused::new(StatusCode::NOT_FOUND, "not found")),
        }
    }

    fn websocket(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Refused> {
        let lobby = &self.front.lobby;
        let origin = forwarded::origin(self.direct, request.headers(), |address| lobby.trusts(address));
        let passed = gate::check(&request, &self.front.rules, origin.secure)?;
        let of_address = if origin.address == self.direct.address {
            take(&self.of_address)
        } else {
            lobby.count(origin.address).map_err(|_| too_many_of_address())?
        };
        self.front.admission.admit(Instant::now()).map_err(|seconds| {
            let text = "too many sessions begin at the same time";
            Refused::later(StatusCode::SERVICE_UNAVAILABLE, text, seconds)
        })?;
        let guest = self.front.broker.core.seats.seat(of_address).ok_or_else(full)?;
        let response = switching(&passed);
        let leaving = Leaving { upgrade: upgrade::on(request), codec: passed.codec, guest };
        *self.leaving.lock().unwrap_or_else(PoisonError::into_inner) = Some(leaving);
        Ok(response)
    }
}

fn take<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn full() -> Refused {
    Refused::later(StatusCode::SERVICE_UNAVAILABLE, "the broker is full", retry_seconds(FULL_SPREAD))
}

fn too_many_of_address() -> Refused {
    let text = "too many connections of this address";
    Refused::later(StatusCode::TOO_MANY_REQUESTS, text, retry_seconds(FULL_SPREAD))
}

/// The answer that turns the connection into a WebSocket (RFC 6455 section 4.2.2).
fn switching(passed: &Passed) -> Response<Full<Bytes>> {
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
async fn hand_over(leaving: Leaving, front: &Front) {
    let Leaving { upgrade, codec, guest } = leaving;
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(%error, "the client left during the upgrade");
            return;
        }
    };
    let Ok(parts) = upgraded.downcast::<TokioIo<Guarded<Stream>>>() else {
        tracing::error!("an upgraded connection is not the stream it was");
        return;
    };
    #[cfg(fuzzing)]
    if front.echo {
        return super::fuzzing::hand_over(&front.broker, parts, guest);
    }
    // Copied, because what is left of the request's buffer would live as long as the session.
    let lead = parts.read_buf[..].into();
    let stream = parts.io.into_inner().into_inner();
    if let Err(error) = stream.start_session(&front.broker, lead, codec, guest) {
        tracing::warn!(%error, "a socket cannot be moved to its shard");
    }
}
