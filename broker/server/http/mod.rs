//! HTTP/1.1 on one connection: which door a request is for, and the way from a request to a session. Frames are not its
//! business.

pub(super) mod body;
pub(super) mod failure;
pub(super) mod pages;
pub(super) mod proxy;
pub(super) mod query;
pub(super) mod refusal;
pub(super) mod stream;
pub(super) mod streams;

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, StatusCode, upgrade};
use hyper_util::rt::{TokioIo, TokioTimer};
use rialto_protocol::{Codec, Failure};

use self::body::{Body, Response};
use self::proxy::Origin;
use self::query::{BadQuery, Query};
use self::refusal::Refused;
use self::stream::Stream;
use self::streams::OpenStreams;
use super::admission::connections::{Refusal, Waiting};
use super::admission::head_guard::Heads;
use super::admission::rate::retry_seconds;
use super::admission::stream_guard::StreamGuard;
use super::streaming::bridge::Bridge;
use super::streaming::poll::Poll;
use super::streaming::sse::Opening;
use super::streaming::subscription::bad;
use super::websocket::Protocol;
use super::websocket::upgrade as gate;
use super::websocket::upgrade::Handshake;
use super::{Front, api};
use crate::limits::network::Network;
use crate::limits::quota::QuotaSlot;
use crate::limits::seats::SessionPermit;

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
    let visit = Exchange {
        front: &front,
        direct: Origin { address: peer, secure: stream.is_secure() },
        refusal: waiting.refusal,
        heads: Arc::clone(&heads),
        begun: Instant::now(),
        requests: AtomicU64::new(0),
        of_address: Mutex::new(waiting.of_address.take()),
        waiting: Mutex::new(Some(waiting)),
        staying: OpenStreams::default(),
        leaving: Mutex::default(),
    };
    let asked = &visit;
    let service = service_fn(move |request| async move { Ok::<_, Infallible>(asked.answer(request).await) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(front.header)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(StreamGuard::new(stream, heads, front.write)), service)
        .with_upgrades();
    // The connection must be gone before its upgrade is waited for: one that broke meanwhile never says so by itself.
    let ended = {
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = front.stopping() => {
                if !visit.staying.is_any() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "the connection ended badly");
    }
    if let Some(leaving) = take(&visit.leaving) {
        hand_over(leaving, &front).await;
    }
}

/// One connection and what its requests have led to.
struct Exchange<'f> {
    front: &'f Front,
    direct: Origin,
    refusal: Option<Refusal>,
    heads: Arc<Heads>,
    begun: Instant,
    requests: AtomicU64,
    of_address: Mutex<Option<QuotaSlot<Network>>>,
    /// The place among the connections that are no sessions, as long as it is none.
    waiting: Mutex<Option<Waiting>>,
    staying: OpenStreams,
    leaving: Mutex<Option<Leaving>>,
}

/// A connection that becomes a session.
struct Leaving {
    upgrade: OnUpgrade,
    protocol: Protocol,
    permit: SessionPermit,
}

impl Exchange<'_> {
    async fn answer(&self, request: Request<Incoming>) -> Response {
        let number = self.requests.fetch_add(1, Relaxed);
        let is_programs = self.front.api.is_some() && api::is_for(request.uri().path());
        let refuse = if is_programs { Refused::into_failure } else { Response::from };
        let mut response = self.respond(number, request).await.unwrap_or_else(refuse);
        let stays = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if !stays && (number + 1 >= REQUESTS_MAX || self.begun.elapsed() > LIFETIME) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn respond(&self, number: u64, request: Request<Incoming>) -> Result<Response, Refused> {
        if self.heads.is_bad(number) {
            return Err(Refused::bad("a line of the request does not end in CR LF"));
        }
        let api = self.front.api.as_ref().filter(|_| api::is_for(request.uri().path()));
        gate::check_head(&request, api.is_some())?;
        match self.refusal {
            None => {}
            Some(Refusal::Full) => return Err(full()),
            Some(Refusal::Address) => return Err(too_many_of_address()),
        }
        let counted = |refused: &Refused| {
            if refused.is_for_want_of_a_place() {
                self.front.broker.core.metrics.connections_refused.add(1);
            }
        };
        if let Some(endpoint) = self.front.broker.core.endpoints.at(request.uri().path())
            && gate::wants_upgrade(request.headers())
        {
            return self.websocket(request, Some(endpoint)).inspect_err(counted);
        }
        match (request.uri().path(), api) {
            ("/ws", _) => self.websocket(request, None).inspect_err(counted),
            ("/sse", _) => self.events(&request).await.inspect_err(counted),
            ("/poll", _) => self.poll(&request).await.inspect_err(counted),
            (_, Some(api)) => {
                let secure = self.origin(&request).secure;
                gate::check_program(request.headers(), &self.front.rules, secure)?;
                Ok(api.answer(self.front, request).await)
            }
            (path, None) if self.front.page => pages::respond(request.method(), path),
            _ => Err(Refused::new(StatusCode::NOT_FOUND, "not found")),
        }
    }

    /// Makes a session of a connection: of the protocol, or of the plugin of a raw endpoint.
    fn websocket(&self, request: Request<Incoming>, endpoint: Option<Arc<str>>) -> Result<Response, Refused> {
        let origin = self.origin(&request);
        let passed = match endpoint {
            None => gate::check(&request, &self.front.rules, origin.secure)?,
            Some(_) => gate::check_raw(&request, &self.front.rules, origin.secure)?,
        };
        let of_address = match self.of_proxied(origin)? {
            None => take(&self.of_address),
            some => some,
        };
        let permit = self.seat(of_address)?;
        let response = switching(&passed);
        let protocol = endpoint.map_or(Protocol::Frames(passed.codec), Protocol::Raw);
        let leaving = Leaving { upgrade: upgrade::on(request), protocol, permit };
        *self.leaving.lock().unwrap_or_else(PoisonError::into_inner) = Some(leaving);
        Ok(response)
    }

    /// A stream of events. Its connection is as good as a session from then on.
    async fn events(&self, request: &Request<Incoming>) -> Result<Response, Refused> {
        let reader = self.reader(request)?;
        let opening = query(request).and_then(|query| Opening::read(&query, request.headers()));
        let opened = match opening {
            Ok(opening) => {
                let bridge = self.bridge(request)?;
                let opened = opening.begin(bridge, self.staying.begin(), self.front.frame).await;
                opened.inspect(|_| drop(take(&self.waiting)))
            }
            Err(failure) => Err(failure),
        };
        Ok(readable(opened.unwrap_or_else(|failure| failure::respond(&failure, Codec::Json)), reader))
    }

    async fn poll(&self, request: &Request<Incoming>) -> Result<Response, Refused> {
        let reader = self.reader(request)?;
        let answered = match query(request).and_then(|query| Poll::read(&query)) {
            Ok(poll) => {
                let bridge = self.bridge(request)?;
                let _stay = self.staying.begin();
                poll.answer(bridge, self.front.frame).await
            }
            Err(failure) => Err(failure),
        };
        Ok(readable(answered.unwrap_or_else(|failure| failure::respond(&failure, Codec::Json)), reader))
    }

    /// Lets in who may read; gives the origin of a page that has to be told so.
    fn reader(&self, request: &Request<Incoming>) -> Result<Option<HeaderValue>, Refused> {
        if request.method() != Method::GET {
            let refused = Refused::new(StatusCode::METHOD_NOT_ALLOWED, "this address is read with GET");
            return Err(refused.with(header::ALLOW, "GET"));
        }
        gate::check_reader(request.headers(), &self.front.rules, self.origin(request).secure)
    }

    /// A session for who is no WebSocket. Its place of an address is that of the connection.
    fn bridge(&self, request: &Request<Incoming>) -> Result<Bridge, Refused> {
        let of_address = self.of_proxied(self.origin(request))?;
        Ok(Bridge::begin(&self.front.broker, self.seat(of_address)?))
    }

    fn origin<B>(&self, request: &Request<B>) -> Origin {
        proxy::origin(self.direct, request.headers(), |address| self.front.connections.trusts(address))
    }

    /// The place of the address that a proxy speaks for; none where nobody speaks for another.
    fn of_proxied(&self, origin: Origin) -> Result<Option<QuotaSlot<Network>>, Refused> {
        if origin.address == self.direct.address {
            return Ok(None);
        }
        self.front.connections.count(origin.address).map_err(|_| too_many_of_address())
    }

    fn seat(&self, of_address: Option<QuotaSlot<Network>>) -> Result<SessionPermit, Refused> {
        self.front.admission.admit(Instant::now()).map_err(|seconds| {
            let text = "too many sessions begin at the same time";
            Refused::later(StatusCode::SERVICE_UNAVAILABLE, text, seconds)
        })?;
        self.front.broker.core.session_limits.seat(of_address).ok_or_else(full)
    }
}

fn query<B>(request: &Request<B>) -> Result<Query<'_>, Failure> {
    Query::parse(request.uri().query().unwrap_or_default()).map_err(|BadQuery| bad("the query is not well-formed"))
}

/// Lets a page of another origin read the answer.
fn readable(mut response: Response, origin: Option<HeaderValue>) -> Response {
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    response
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
fn switching(passed: &Handshake) -> Response {
    let mut response = Response::new(Body::whole(""));
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
    let Leaving { upgrade, protocol, permit } = leaving;
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(%error, "the client left during the upgrade");
            return;
        }
    };
    let Ok(parts) = upgraded.downcast::<TokioIo<StreamGuard<Stream>>>() else {
        tracing::error!("an upgraded connection is not the stream it was");
        return;
    };
    #[cfg(fuzzing)]
    if front.echo {
        return super::fuzzing::hand_over(&front.broker, parts, permit);
    }
    // Copied, because what is left of the request's buffer would live as long as the session.
    let lead = parts.read_buf[..].into();
    let stream = parts.io.into_inner().into_inner();
    if let Err(error) = stream.start_session(&front.broker, lead, protocol, permit) {
        tracing::warn!(%error, "a socket cannot be moved to its shard");
    }
}
