//! HTTP/1.1 on one connection: routes requests, and turns them into sessions. It knows no frames.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rialto_protocol::{Codec, Failure};
use tokio::io::AsyncWriteExt as _;

use super::admission::connections::{Refusal, Waiting, trusts};
use super::admission::head_guard::MalformedHeads;
use super::admission::rate::retry_seconds;
use super::admission::stream_guard::{StreamGuard, Takeover};
use super::authorize::authorize;
use super::http::body::{Body, Response};
use super::http::polls::OpenPolls;
use super::http::proxy::{self, Origin};
use super::http::query::{BadQuery, Query};
use super::http::refusal::{Rejection, with_cors};
use super::http::stream::Stream;
use super::http::{failure, pages};
use super::sign_in::sign_in;
use super::streaming::bridge::Bridge;
use super::streaming::poll::Poll;
use super::streaming::sse::{self, EventStreamRequest};
use super::streaming::subscription::bad;
use super::websocket::Protocol;
use super::websocket::upgrade::{
    Handshake, check_head, check_program, check_raw_endpoint, check_reader, check_websocket, wants_upgrade,
};
use super::{Front, api, websocket};
use crate::auth::identity::Identity;
use crate::broker::Broker;
use crate::config::ActiveConfig;
use crate::limits::quota::QuotaSlot;
use crate::limits::seats::{NoPermit, SessionPermit};
use crate::shares::network::Network;

/// Most requests of one connection, and the age at which it ends with the next one, so that no client occupies a connection
/// for ever.
const REQUESTS_MAX: u64 = 100;
const LIFETIME: Duration = Duration::from_secs(30);

const HEADERS_MAX: usize = 64;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// How long a browser may remember the answer to a preflight.
const PREFLIGHT_SECONDS: &str = "600";

/// Seconds over which the retries of refused clients are spread.
const LIMIT_SPREAD: u64 = 10;

/// Serves requests until the connection ends or is upgraded to a WebSocket.
pub(super) async fn serve(stream: Stream, peer: IpAddr, mut waiting: Waiting, front: Arc<Front>) {
    let (malformed, takeover) = (Arc::new(MalformedHeads::default()), Arc::new(Takeover::default()));
    let shared = HttpConnection {
        front: &front,
        direct: Origin { address: peer, secure: stream.is_secure() },
        refusal: waiting.refusal,
        malformed: Arc::clone(&malformed),
        begun: Instant::now(),
        requests: AtomicU64::new(0),
        of_address: Mutex::new(waiting.of_address.take()),
        waiting: Mutex::new(Some(waiting)),
        polls: OpenPolls::default(),
        takeover: Arc::clone(&takeover),
        taken_over: Mutex::default(),
    };
    let (service_state, limits) = (&shared, front.config().limits.clone());
    let milliseconds = Duration::from_millis;
    let service =
        service_fn(move |request| Box::pin(async move { Ok::<_, Infallible>(service_state.answer(request).await) }));
    let (header, write) = (milliseconds(limits.header_ms), milliseconds(limits.write_ms));
    let guarded = StreamGuard::new(stream, malformed, takeover, header, write);
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Idle between two requests; `StreamGuard` times the heads themselves.
        .header_read_timeout(milliseconds(limits.keep_alive_ms))
        .max_headers(HEADERS_MAX)
        .max_buf_size(limits.head_bytes)
        .serve_connection(TokioIo::new(guarded), service);
    let ended = tokio::select! {
        ended = poll_fn(|context| connection.poll_without_shutdown(context)) => ended,
        () = front.stopping() => {
            if !shared.polls.is_any() {
                return;
            }
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|context| connection.poll_without_shutdown(context)).await
        }
    };
    let parts = connection.into_parts();
    match (ended, take(&shared.taken_over)) {
        (Err(error), _) => tracing::debug!(%peer, %error, "the connection failed"),
        (Ok(()), Some(taken_over)) => {
            // It counts as a session from now on.
            drop(take(&shared.waiting));
            // Copied, because the request's buffer would otherwise live as long as the session.
            taken_over.begin(parts.io.into_inner().into_inner(), parts.read_buf[..].into(), &front);
        }
        (Ok(()), None) => {
            if let Err(error) = parts.io.into_inner().shutdown().await {
                tracing::debug!(%peer, %error, "the connection failed at its end");
            }
        }
    }
}

/// One HTTP connection and the state that its requests share.
struct HttpConnection<'f> {
    front: &'f Front,
    direct: Origin,
    refusal: Option<Refusal>,
    malformed: Arc<MalformedHeads>,
    begun: Instant,
    requests: AtomicU64,
    of_address: Mutex<Option<QuotaSlot<Network>>>,
    /// The slot among the connections that are not sessions, until one begins.
    waiting: Mutex<Option<Waiting>>,
    polls: OpenPolls,
    takeover: Arc<Takeover>,
    taken_over: Mutex<Option<TakenOver>>,
}

/// What is remembered of a request to answer it if it is rejected.
struct Asked {
    path: Asker,
    origin: Option<HeaderValue>,
    host: Option<HeaderValue>,
    /// Whether the page that asks may read the response.
    may_read: bool,
}

#[derive(Clone, Copy)]
enum Asker {
    Api,
    EventSource,
    Other,
}

impl Asked {
    fn of<B>(request: &Request<B>, config: &ActiveConfig) -> Self {
        let path = request.uri().path();
        let asker = match path {
            "/sse" => Asker::EventSource,
            path if config.api.is_some() && api::is_for(path) => Asker::Api,
            _ => Asker::Other,
        };
        let header = |name| request.headers().get(name).cloned();
        let may_read =
            request.method() == Method::GET && check_reader(request.headers(), &config.server, false).is_ok();
        Self { path: asker, origin: header(header::ORIGIN), host: header(header::HOST), may_read }
    }
}

/// A connection that becomes a session.
struct TakenOver {
    protocol: Protocol,
    permit: SessionPermit,
}

impl HttpConnection<'_> {
    async fn answer(&self, request: Request<Incoming>) -> Response {
        let number = self.requests.fetch_add(1, Relaxed);
        // One and the same for all that is decided about this request.
        let config = self.front.config();
        let asked = Asked::of(&request, &config);
        let mut response = match self.respond(&config, number, request).await {
            Ok(response) => response,
            Err(rejection) => self.reject(&asked, rejection),
        };
        if self.is_taken_over() {
            return response;
        }
        let headers = response.headers_mut();
        if number + 1 >= REQUESTS_MAX || self.begun.elapsed() > LIFETIME {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if !headers.contains_key(header::CONNECTION) {
            let value = format!("timeout={}", config.limits.keep_alive_ms / 1_000);
            headers.extend(HeaderValue::from_str(&value).map(|value| (KEEP_ALIVE, value)));
        }
        response
    }

    /// The response to a request that was rejected, in the form that its sender understands.
    fn reject(&self, asked: &Asked, rejection: Rejection) -> Response {
        if rejection.is_origin() {
            self.front.broker.core.metrics.origins_refused.add(1);
            if let Some(left_out) = self.front.pace.take(("origin", ""), 1) {
                let Asked { origin, host, .. } = asked;
                tracing::warn!(?origin, ?host, left_out, "the origin check refused a request: see `allowed_origins`");
            }
        }
        match (asked.path, rejection.as_limit()) {
            (Asker::Api, _) => rejection.into_failure(),
            (Asker::EventSource, Some((text, seconds))) => {
                // A page can read it only with this header, and only pages that may connect get that far.
                let reader = asked.origin.clone().filter(|_| asked.may_read);
                with_cors(sse::later(&text, seconds), reader)
            }
            _ => rejection.into(),
        }
    }

    async fn respond(
        &self,
        config: &ActiveConfig,
        number: u64,
        request: Request<Incoming>,
    ) -> Result<Response, Rejection> {
        if self.malformed.is_bad(number) {
            return Err(Rejection::bad("a line of the request head does not end in CR LF"));
        }
        let keys = config.api.as_ref().filter(|_| api::is_for(request.uri().path())).map(|api| &api.keys);
        check_head(&request, keys.is_some())?;
        self.front.hosts.check(&config.server.hosts, request.headers())?;
        match self.refusal {
            None => {}
            Some(Refusal::Full) => return Err(connection_limit()),
            Some(Refusal::Address) => return Err(too_many_of_address()),
        }
        let count_limits = |rejection: &Rejection| {
            if rejection.is_limit() {
                self.front.broker.core.metrics.connections_refused.add(1);
            }
        };
        if request.uri().path().len() + request.uri().query().map_or(0, str::len) > config.limits.head_bytes / 2 {
            return Err(Rejection::new(StatusCode::URI_TOO_LONG, "the path and query are too long")
                .with(header::CONNECTION, "close"));
        }
        if request.method() == Method::OPTIONS {
            return self.options(config, &request, keys.is_some());
        }
        if let Some(endpoint) = config.endpoints.at(request.uri().path())
            && wants_upgrade(request.headers())
        {
            return self.websocket(config, request, Some(endpoint)).await.inspect_err(count_limits);
        }
        match (request.uri().path(), keys) {
            ("/ws", _) => self.websocket(config, request, None).await.inspect_err(count_limits),
            ("/sse", _) => self.events(config, &request).await.inspect_err(count_limits),
            ("/poll", _) => self.poll(config, &request).await.inspect_err(count_limits),
            (_, Some(_)) => {
                let secure = self.origin(config, &request).secure;
                check_program(request.headers(), &config.server, secure)?;
                Ok(self.front.api.answer(self.front, config, request).await)
            }
            (path, None) if config.server.page || pages::is_of_client(path) => pages::respond(request.method(), path),
            _ => Err(Rejection::new(StatusCode::NOT_FOUND, "not found")),
        }
    }

    /// Upgrades the connection to a session of the protocol, or of the plugin of a raw endpoint.
    async fn websocket(
        &self,
        config: &ActiveConfig,
        request: Request<Incoming>,
        endpoint: Option<Arc<str>>,
    ) -> Result<Response, Rejection> {
        let origin = self.origin(config, &request);
        let handshake = match endpoint {
            None => check_websocket(&request, &config.server, origin.secure)?,
            Some(_) => check_raw_endpoint(&request, &config.server, origin.secure)?,
        };
        // A session of the protocol may send its token later.
        let identity = self.authenticate(config, &request, endpoint.is_none()).await?;
        let permit = self.permit(config, &request, identity)?;
        let response = switching(&handshake);
        let protocol = endpoint.map_or(Protocol::Frames(handshake.codec), Protocol::Raw);
        self.take_over(protocol, permit);
        Ok(response)
    }

    /// What may be done with a path (RFC 9110 section 9.3.7), and the preflight of a page of another origin that wants to read a
    /// stream or a poll (WHATWG Fetch section 4.8).
    fn options(&self, config: &ActiveConfig, request: &Request<Incoming>, is_api: bool) -> Result<Response, Rejection> {
        let methods = match request.uri().path() {
            "/sse" | "/poll" | "/ws" => "GET, OPTIONS",
            _ if is_api => api::methods(request.uri().path()),
            path if config.endpoints.at(path).is_some() => "GET, OPTIONS",
            "*" => "GET, HEAD, POST, OPTIONS",
            path if (config.server.page || pages::is_of_client(path)) && pages::respond(&Method::GET, path).is_ok() => {
                "GET, HEAD, OPTIONS"
            }
            _ => return Err(Rejection::new(StatusCode::NOT_FOUND, "not found")),
        };
        let mut response = Response::new(Body::complete(""));
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
        if !matches!(request.uri().path(), "/sse" | "/poll") || !request.headers().contains_key(header::ORIGIN) {
            return Ok(response);
        }
        let reader = check_reader(request.headers(), &config.server, self.origin(config, request).secure)?;
        let headers = response.headers_mut();
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "Last-Event-ID, Cache-Control"),
            (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Ok(with_cors(response, reader))
    }

    /// Server-Sent Events. The connection becomes a session, which answers the request.
    async fn events(&self, config: &ActiveConfig, request: &Request<Incoming>) -> Result<Response, Rejection> {
        let reader = self.reader(config, request)?;
        let opening = query(request).and_then(|query| EventStreamRequest::read(&query, request.headers()));
        match opening {
            Ok(opening) => {
                let identity = self.authenticate(config, request, false).await?;
                let permit = self.permit(config, request, identity)?;
                self.takeover.begin().await;
                let writer = opening.into_writer(reader, request.version());
                self.take_over(Protocol::Rewritten(writer.requests(), Box::new(writer)), permit);
                let mut dropped = Response::new(Body::complete(""));
                dropped.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                Ok(dropped)
            }
            Err(failure) => Ok(with_cors(failure::respond(&failure, Codec::Json), reader)),
        }
    }

    async fn poll(&self, config: &ActiveConfig, request: &Request<Incoming>) -> Result<Response, Rejection> {
        let reader = self.reader(config, request)?;
        let read = Duration::from_millis(config.limits.frame_ms);
        let answered = match query(request).and_then(|query| Poll::read(&query)) {
            Ok(poll) => {
                let bridge = self.bridge(config, request).await?;
                let _open = self.polls.open();
                poll.answer(bridge, read).await
            }
            Err(failure) => Err(failure),
        };
        Ok(with_cors(answered.unwrap_or_else(|failure| failure::respond(&failure, Codec::Json)), reader))
    }

    /// The origin check of streams and polls. Returns the origin of a page that needs a CORS header to read the response.
    fn reader(&self, config: &ActiveConfig, request: &Request<Incoming>) -> Result<Option<HeaderValue>, Rejection> {
        if request.method() != Method::GET {
            let rejection = Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed: use GET");
            return Err(rejection.with(header::ALLOW, "GET"));
        }
        check_reader(request.headers(), &config.server, self.origin(config, request).secure)
    }

    /// A session that takes the connection over, and with it the slot of its address.
    fn permit<B>(
        &self,
        config: &ActiveConfig,
        request: &Request<B>,
        identity: Option<Arc<Identity>>,
    ) -> Result<SessionPermit, Rejection> {
        let of_address = match self.of_proxied(config, self.origin(config, request))? {
            None => take(&self.of_address),
            some => some,
        };
        self.admit(config, request, identity, of_address)
    }

    /// Who the request is from; none for a session without a user, whose token may follow.
    async fn authenticate<B>(
        &self,
        config: &ActiveConfig,
        request: &Request<B>,
        may_follow: bool,
    ) -> Result<Option<Arc<Identity>>, Rejection> {
        let (broker, origin) = (&self.front.broker, self.origin(config, request));
        // A program that embeds the broker may know who a request without credentials is from.
        let may_be_unknown = may_follow || broker.core.authorizer.is_some();
        let known = sign_in(broker, config, request, origin, may_be_unknown).await?;
        authorize(broker, config, request, origin, known, may_follow).await
    }

    fn take_over(&self, protocol: Protocol, permit: SessionPermit) {
        *self.taken_over.lock().unwrap_or_else(PoisonError::into_inner) = Some(TakenOver { protocol, permit });
    }

    fn is_taken_over(&self) -> bool {
        self.taken_over.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Starts a session for a client without WebSocket. The connection keeps holding the slot of its address.
    async fn bridge(&self, config: &ActiveConfig, request: &Request<Incoming>) -> Result<Bridge, Rejection> {
        let of_address = self.of_proxied(config, self.origin(config, request))?;
        let identity = self.authenticate(config, request, false).await?;
        Ok(Bridge::begin(&self.front.broker, self.admit(config, request, identity, of_address)?))
    }

    fn origin<B>(&self, config: &ActiveConfig, request: &Request<B>) -> Origin {
        proxy::origin(self.direct, request.headers(), |address| trusts(config, address))
    }

    /// Takes a slot of the address behind a proxy; none for a client that connects directly.
    fn of_proxied(&self, config: &ActiveConfig, origin: Origin) -> Result<Option<QuotaSlot<Network>>, Rejection> {
        if origin.address == self.direct.address {
            return Ok(None);
        }
        self.front.connections.take_address_slot(config, origin.address).map_err(|_| too_many_of_address())
    }

    fn admit<B>(
        &self,
        config: &ActiveConfig,
        request: &Request<B>,
        identity: Option<Arc<Identity>>,
        of_address: Option<QuotaSlot<Network>>,
    ) -> Result<SessionPermit, Rejection> {
        self.front.admission.admit(config.limits.admissions_per_s, Instant::now()).map_err(|seconds| {
            let text = "rate limit: too many new sessions per second, try again later";
            Rejection::later(StatusCode::SERVICE_UNAVAILABLE, text, seconds)
        })?;
        // A poll leaves the slot of its address with the connection.
        let of_connection =
            self.of_address.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|slot| *slot.key());
        let network = of_address.as_ref().map(|slot| *slot.key()).or(of_connection);
        let per_s = config.rates.address_sessions;
        if let Some(network) = network.filter(|_| per_s > 0) {
            let taken = self.front.broker.core.rates.sessions.take(&network, per_s, Instant::now());
            taken.map_err(|_| too_many("rate limit: too many new sessions of this address, try again later"))?;
        }
        let permit = self.front.broker.core.session_limits.permit(&config.limits, identity, of_address);
        let permit = permit.map_err(|reason| match reason {
            NoPermit::Full => limit("session limit reached, try again later"),
            NoPermit::User => too_many("session limit of this user reached, try again later"),
        })?;
        Ok(SessionPermit { address: Some(self.origin(config, request).address), ..permit })
    }
}

fn query<B>(request: &Request<B>) -> Result<Query<'_>, Failure> {
    Query::parse(request.uri().query().unwrap_or_default()).map_err(|BadQuery| bad("the query string is malformed"))
}

fn take<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn connection_limit() -> Rejection {
    limit("connection limit reached, try again later")
}

fn limit(text: &'static str) -> Rejection {
    Rejection::later(StatusCode::SERVICE_UNAVAILABLE, text, retry_seconds(LIMIT_SPREAD))
}

fn too_many_of_address() -> Rejection {
    too_many("connection limit of this address reached, try again later")
}

fn too_many(text: &'static str) -> Rejection {
    Rejection::later(StatusCode::TOO_MANY_REQUESTS, text, retry_seconds(LIMIT_SPREAD))
}

/// The response that upgrades the connection to a WebSocket (RFC 6455 section 4.2.2).
fn switching(handshake: &Handshake) -> Response {
    let mut response = Response::new(Body::complete(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(&handshake.accept).expect("base64 is a header value");
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if handshake.named {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(handshake.codec.subprotocol()));
    }
    response
}

impl TakenOver {
    /// Moves the connection to a shard; `first` are bytes that were read already.
    fn begin(self, stream: Stream, first: Box<[u8]>, front: &Front) {
        let Self { protocol, permit } = self;
        #[cfg(feature = "fuzzing")]
        if front.echo {
            return super::fuzzing::hand_over(&front.broker, stream, first, permit);
        }
        // The pings of a WebSocket notice a peer that is gone; those of other sessions are not answered.
        if !matches!(protocol, Protocol::Rewritten(..)) {
            stream.outlive_silence();
        }
        if let Err(error) = start_session(&front.broker, stream, first, protocol, permit) {
            tracing::warn!(%error, "cannot move a socket to its shard");
        }
    }
}

/// Moves the stream to a shard and starts a session; `first` are bytes that were read already.
fn start_session(
    broker: &Broker,
    stream: Stream,
    first: Box<[u8]>,
    protocol: Protocol,
    permit: SessionPermit,
) -> io::Result<()> {
    match stream {
        Stream::Tcp(stream) => websocket::start_tcp(broker, stream.into_std()?, first, protocol, permit),
        #[cfg(feature = "tls")]
        Stream::Tls(stream) => {
            let (stream, connection) = stream.into_inner();
            websocket::start_tls(broker, stream.into_std()?, connection, first, protocol, permit);
        }
        #[cfg(feature = "fuzzing")]
        Stream::Other(stream) => match protocol {
            Protocol::Frames(codec) => websocket::start_other(broker, stream, first, codec, permit),
            Protocol::Raw(_) | Protocol::Rewritten(..) => {}
        },
    }
    Ok(())
}
