//! The call-out: asks a backend of the operator's who a client is, by what its handshake carries. Where the backend does not say,
//! nobody is let in. It knows no session.

use std::collections::HashMap;
use std::error::Error as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rialto_protocol::{ErrorCode, Failure};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::identity::{Identity, SharedParts};
use super::token::{TopicClaims, UserClaims, seconds};
use crate::config;
use crate::log_pace::LogPace;
use crate::metrics::Metrics;

/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 65_536;

/// Most answers that are remembered.
const KNOWN_MAX: usize = 4_096;

/// How long an idle connection to the backend is kept.
const IDLE: Duration = Duration::from_secs(15);

/// When a client may try again that could not be asked about.
const RETRY_MS: u64 = 5_000;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

#[cfg(feature = "tls")]
type Connector = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
type Connector = HttpConnector;

/// A backend that is asked.
pub(crate) struct CallOut {
    settings: config::CallOut,
    url: Uri,
    /// The headers of a handshake that are passed on.
    passed: Vec<HeaderName>,
    client: Client<Connector, Empty<Bytes>>,
    /// For the questions that are under way at once.
    places: Semaphore,
    /// What the backend has said lately, by a hash of the question.
    known: Mutex<HashMap<[u8; 32], Known>>,
    breaker: Mutex<Breaker>,
    pace: LogPace,
    metrics: Arc<Metrics>,
}

/// What the backend is sent about a client.
#[derive(Debug)]
pub(crate) struct Question(HeaderMap);

/// Where a client comes from, as it is sent to the backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandshakeOrigin<'h> {
    pub(crate) address: IpAddr,
    pub(crate) is_secure: bool,
    pub(crate) path: &'h str,
}

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallOutError {
    #[error("refused by the backend")]
    Refused,
    #[error("the backend gave no usable answer")]
    Failed,
}

/// What the backend has said: who it is, or none for a session without a user.
type Answer = Result<Option<Arc<Identity>>, CallOutError>;

/// An answer and how long it holds.
#[derive(Debug)]
struct Known {
    answer: Answer,
    until: Instant,
}

/// Leaves a backend alone that fails.
#[derive(Debug, Default)]
struct Breaker {
    /// How often in a row.
    failures: u32,
    /// Since when nobody is asked.
    open_since: Option<Instant>,
}

/// The body of an answer.
#[derive(Deserialize)]
struct Body {
    /// A text or `null`, and never missing: what says nothing lets nobody in.
    user: Value,
    #[serde(default)]
    roles: Vec<String>,
    topics: Option<TopicClaims>,
    info: Option<Value>,
    expires_at: Option<f64>,
}

impl CallOutError {
    pub(crate) fn to_failure(self) -> Failure {
        match self {
            Self::Refused => Failure::new(ErrorCode::Unauthorized, "the session is not valid: log in"),
            Self::Failed => {
                let text = "it is not known who this is: the authentication backend does not answer, try again later";
                Failure::new(ErrorCode::Unavailable, text).retry_after_ms(RETRY_MS)
            }
        }
    }
}

impl CallOut {
    pub(crate) fn new(settings: &config::CallOut, metrics: Arc<Metrics>) -> Self {
        let url: Uri = settings.url.parse().unwrap_or_default();
        let mut client = Client::builder(TokioExecutor::new());
        client.timer(TokioTimer::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE);
        let passed = settings.headers.iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
        Self {
            passed: passed.collect(),
            client: client.build(connector(&url)),
            places: Semaphore::new(settings.calls),
            known: Mutex::default(),
            breaker: Mutex::default(),
            pace: LogPace::default(),
            settings: settings.clone(),
            url,
            metrics,
        }
    }

    /// The settings that it goes by.
    pub(crate) fn settings(&self) -> &config::CallOut {
        &self.settings
    }

    /// What the backend is sent about a handshake; none where it carries nothing by which a client could be known.
    pub(crate) fn question(
        &self,
        headers: &HeaderMap,
        with_cookies: bool,
        origin: HandshakeOrigin<'_>,
    ) -> Option<Question> {
        let mut sent = HeaderMap::new();
        let cookie = with_cookies.then_some(&header::COOKIE);
        for name in self.passed.iter().filter(|name| **name != header::COOKIE).chain(cookie) {
            for value in headers.get_all(name) {
                let mut value = value.clone();
                value.set_sensitive(true);
                sent.append(name, value);
            }
        }
        if sent.is_empty() {
            return None;
        }
        let HandshakeOrigin { address, is_secure, path } = origin;
        let host = headers.get(header::HOST).cloned();
        let text = |text: &str| HeaderValue::from_str(text).ok();
        for (name, value) in [
            (FORWARDED_FOR, text(&address.to_canonical().to_string())),
            (FORWARDED_HOST, host),
            (FORWARDED_PROTO, Some(HeaderValue::from_static(if is_secure { "https" } else { "http" }))),
            (FORWARDED_METHOD, Some(HeaderValue::from_static("GET"))),
            (FORWARDED_URI, text(path)),
        ] {
            if let Some(value) = value {
                sent.insert(name, value);
            }
        }
        Some(Question(sent))
    }

    /// Who a client is, at this Unix time in milliseconds; none for a session without a user.
    ///
    /// # Errors
    /// [`CallOutError`].
    pub(crate) async fn ask(&self, question: Question, now_ms: u64, parts: &SharedParts) -> Answer {
        let hash = question.hash();
        if let Some(answer) = self.known(&hash, now_ms) {
            self.metrics.callouts_cached.add(1);
            return answer;
        }
        let answer = self.ask_in_time(question, now_ms, parts).await;
        self.remember(hash, &answer);
        answer
    }

    async fn ask_in_time(&self, question: Question, now_ms: u64, parts: &SharedParts) -> Answer {
        if self.breaker().is_open(self.pause(), Instant::now()) {
            return Err(CallOutError::Failed);
        }
        let asked = async {
            // Never closed.
            let _place = self.places.acquire().await.ok();
            if !self.breaker().may_ask(self.pause(), Instant::now()) {
                return None;
            }
            self.metrics.callouts.add(1);
            Some(self.send(question, now_ms, parts).await)
        };
        let outcome = tokio::time::timeout(Duration::from_millis(self.settings.timeout_ms), asked).await;
        let answer = match outcome {
            Ok(None) => return Err(CallOutError::Failed),
            Ok(Some(answer)) => answer,
            Err(_) => Err("it did not answer in time".to_owned()),
        };
        match answer {
            Ok(answer) => {
                self.breaker().succeeded();
                answer
            }
            Err(reason) => {
                self.metrics.callouts_failed.add(1);
                let is_left_alone = self.breaker().failed(self.settings.failures, Instant::now());
                if let Some(left_out) = self.pace.take(("callout", ""), 1) {
                    tracing::error!(
                        reason,
                        left_out,
                        is_left_alone,
                        "the authentication backend failed: it lets nobody in"
                    );
                }
                Err(CallOutError::Failed)
            }
        }
    }

    /// One request, and what its response means.
    ///
    /// # Errors
    /// Why there is no usable answer, without anything of what it says.
    async fn send(&self, question: Question, now_ms: u64, parts: &SharedParts) -> Result<Answer, String> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = question.0;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let sent = self.client.request(request).await;
        let response = sent.map_err(|error| match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        })?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Ok(Err(CallOutError::Refused)),
            status => return Err(format!("it answered with the status {status}")),
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| "its answer broke off or is too long".to_owned())?.to_bytes();
        let body: Body = serde_json::from_slice(&body).map_err(|_| "its answer has not the form of one".to_owned())?;
        body.understood(now_ms, parts)
    }

    /// What was said about this before, if that still holds.
    fn known(&self, hash: &[u8; 32], now_ms: u64) -> Option<Answer> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { answer, until } = known.get(hash)?;
        let expires_at_ms = match answer {
            Ok(Some(identity)) => identity.expires_at_ms(),
            _ => None,
        };
        let holds = Instant::now() < *until && expires_at_ms.is_none_or(|expires_at_ms| now_ms < expires_at_ms);
        holds.then(|| answer.clone())
    }

    fn remember(&self, hash: [u8; 32], answer: &Answer) {
        if self.settings.cache_ms == 0 || *answer == Err(CallOutError::Failed) {
            return;
        }
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.retain(|_, one| now < one.until);
        }
        if known.len() < KNOWN_MAX {
            let until = now + Duration::from_millis(self.settings.cache_ms);
            known.insert(hash, Known { answer: answer.clone(), until });
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(self.settings.pause_ms)
    }
}

impl std::fmt::Debug for CallOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallOut").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Question {
    /// Secrets are not kept to compare them.
    fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for (name, value) in &self.0 {
            for part in [name.as_str().as_bytes(), value.as_bytes()] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        hash.finalize().into()
    }
}

impl Body {
    /// What an answer says.
    ///
    /// # Errors
    /// What is wrong with its form.
    fn understood(self, now_ms: u64, parts: &SharedParts) -> Result<Answer, String> {
        let Self { user, roles, topics, info, expires_at } = self;
        let user = match user {
            Value::Null => return Ok(Ok(None)),
            Value::String(user) => user,
            _ => return Err("the \"user\" of its answer is neither a text nor null".to_owned()),
        };
        let form = |_| "its answer has names, patterns, a time or an \"info\" that are not fine".to_owned();
        let expires_at_s = expires_at.map(seconds).transpose().map_err(form)?;
        let identity = UserClaims { user, roles, topics, info, token_id: None }.into_identity(parts).map_err(form)?;
        if expires_at_s.is_some_and(|expires_at_s| 1_000 * u64::from(expires_at_s) <= now_ms) {
            return Ok(Err(CallOutError::Refused));
        }
        let now_s = u32::try_from(now_ms / 1_000).unwrap_or(u32::MAX);
        Ok(Ok(Some(Arc::new(identity.with_times(expires_at_s.unwrap_or(0), Some(now_s))))))
    }
}

impl Breaker {
    /// Whether nobody is asked at this time.
    fn is_open(&self, pause: Duration, now: Instant) -> bool {
        self.open_since.is_some_and(|since| now.saturating_duration_since(since) < pause)
    }

    /// Whether a question may be asked; after a pause only one, until it is answered or another pause is over.
    fn may_ask(&mut self, pause: Duration, now: Instant) -> bool {
        let may = !self.is_open(pause, now);
        if may && self.open_since.is_some() {
            self.open_since = Some(now);
        }
        may
    }

    fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Counts a failure. Returns whether nobody is asked from now on.
    fn failed(&mut self, most: u32, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        let is_open = self.failures >= most;
        if is_open {
            self.open_since = Some(now);
        }
        is_open
    }
}

#[cfg(not(feature = "tls"))]
fn connector(_: &Uri) -> Connector {
    HttpConnector::new()
}

#[cfg(feature = "tls")]
fn connector(url: &Uri) -> Connector {
    use hyper_rustls::HttpsConnectorBuilder;
    use rustls::crypto::ring::default_provider;
    use rustls::{ClientConfig, RootCertStore};

    let provider = Arc::new(default_provider());
    if url.scheme_str() == Some("https") {
        match HttpsConnectorBuilder::new().with_provider_and_native_roots(Arc::clone(&provider)) {
            Ok(builder) => return builder.https_or_http().enable_http1().build(),
            Err(error) => tracing::error!(%error, "there are no certificate authorities to verify the backend by"),
        }
    }
    // Nobody's certificate is valid then, and none is needed for `http`.
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("the provider has the default versions").with_root_certificates(RootCertStore::empty());
    HttpsConnectorBuilder::new().with_tls_config(config.with_no_client_auth()).https_or_http().enable_http1().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn understood(body: &str) -> Result<Answer, String> {
        let body: Body = serde_json::from_str(body).map_err(|error| error.to_string())?;
        body.understood(1_000_000, &SharedParts::default())
    }

    #[test]
    fn only_an_answer_that_names_a_user_or_says_that_there_is_none_is_one() {
        for body in [
            "{}",
            "7",
            "[]",
            "null",
            "\"ann\"",
            r#"{"usr":"ann"}"#,
            r#"{"user":7}"#,
            r#"{"user":""}"#,
            r#"{"user":["ann"]}"#,
            r#"{"user":"ann","roles":"trader"}"#,
            r#"{"user":"ann","topics":{"subscribe":["a..b"]}}"#,
            r#"{"user":"ann","topics":{"read":["a"]}}"#,
            r#"{"user":"ann","expires_at":"soon"}"#,
            r#"{"user":"ann","expires_at":-1}"#,
        ] {
            assert!(understood(body).is_err(), "{body}");
        }
        assert_eq!(understood(r#"{"user":null}"#), Ok(Ok(None)));
        assert_eq!(understood(r#"{"user":"ann","expires_at":1000}"#), Ok(Err(CallOutError::Refused)), "that is now");
        let ann = understood(r#"{"user":"ann","roles":["b","a"],"expires_at":1001.5,"more":1}"#);
        let ann = ann.expect("an answer").expect("let in").expect("a user");
        assert_eq!((&*ann.user, ann.has_role("a"), ann.expires_at_ms()), ("ann", true, Some(1_001_000)));
        assert_eq!(ann.issued_at_ms(), 1_000_000);
    }

    #[test]
    fn a_backend_that_fails_is_left_alone_and_tried_once_after_a_pause() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let (pause, second) = (Duration::from_secs(5), Duration::from_secs(1));
        assert!(!breaker.failed(2, now) && breaker.may_ask(pause, now));
        breaker.succeeded();
        assert!(!breaker.failed(2, now) && breaker.failed(2, now), "two in a row");
        assert!(breaker.is_open(pause, now + second) && !breaker.may_ask(pause, now + second));
        let later = now + pause;
        assert!(breaker.may_ask(pause, later) && !breaker.may_ask(pause, later + second), "one tries");
        assert!(breaker.failed(2, later + second) && !breaker.may_ask(pause, later + pause));
        assert!(breaker.may_ask(pause, later + second + pause));
        breaker.succeeded();
        assert!(breaker.may_ask(pause, later) && breaker.may_ask(pause, later));
    }

    #[test]
    fn only_what_is_chosen_is_passed_on() {
        let settings = config::CallOut {
            url: "http://127.0.0.1:1/".to_owned(),
            headers: vec!["x-tenant".to_owned()],
            ..config::CallOut::default()
        };
        let callout = CallOut::new(&settings, Arc::default());
        let origin = HandshakeOrigin { address: [10, 0, 0, 1].into(), is_secure: true, path: "/ws" };
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("chat.example.com"));
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        headers.insert(FORWARDED_FOR, HeaderValue::from_static("6.6.6.6"));
        assert!(callout.question(&headers, true, origin).is_none(), "nothing of it says who this is");
        headers.insert(header::COOKIE, HeaderValue::from_static("sid=1"));
        assert!(callout.question(&headers, false, origin).is_none());
        let Question(sent) = callout.question(&headers, true, origin).expect("a cookie");
        let mut sent: Vec<_> = sent.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        sent.sort_unstable();
        let expected: [(&str, &[u8]); 6] = [
            ("cookie", b"sid=1"),
            ("x-forwarded-for", b"10.0.0.1"),
            ("x-forwarded-host", b"chat.example.com"),
            ("x-forwarded-method", b"GET"),
            ("x-forwarded-proto", b"https"),
            ("x-forwarded-uri", b"/ws"),
        ];
        assert_eq!(sent, expected);
        let hash = |headers: &HeaderMap| callout.question(headers, true, origin).expect("a cookie").hash();
        let before = hash(&headers);
        assert_eq!(before, hash(&headers));
        headers.insert("x-tenant", HeaderValue::from_static("b"));
        assert_ne!(before, hash(&headers));
    }
}
