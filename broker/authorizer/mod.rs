//! Authorization by the program that embeds the broker: asks it on its own runtime, with a time limit, and takes no
//! answer as a no. It knows no sessions and no topic rules.

mod identity;
mod request;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rialto_protocol::{ErrorCode, Failure};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub use self::identity::Identity;
pub(crate) use self::request::Requester;
pub use self::request::{AccessAction, AccessRequest, Admission, ConnectRequest, Decision};
use crate::config::Limits;
use crate::limits::count::Count;
use crate::log_pace::LogPace;
use crate::metrics::Metrics;

/// When a client may try again whose request was not decided on.
const RETRY_MS: u64 = 1_000;

/// Decides for a program that embeds the broker what sessions may do; see
/// [`Builder::authorize`](crate::Builder::authorize).
///
/// A program allows nothing that topic rules refuse: both must allow it. It is asked about sessions only, not about API
/// keys, plugins and the program itself. A method that panics, or does not answer within `authorize_ms`, refuses that
/// one request with `unavailable`; other sessions do not wait for it. While it decides, its session is not read, so
/// requests keep their order.
///
/// ```
/// use rialto::{AccessAction, AccessRequest, Admission, Authorize, Broker, ConnectRequest, Decision, Identity};
///
/// struct Desk;
///
/// impl Authorize for Desk {
///     async fn connect(&self, request: &ConnectRequest) -> Admission {
///         match request.header("x-desk-user") {
///             Some(name) => Admission::Allow(Identity::user(name).role("trader")),
///             None => Admission::Refuse("sign in first".to_owned()),
///         }
///     }
///
///     async fn decide(&self, request: &AccessRequest) -> Decision {
///         match request.action() {
///             AccessAction::Publish { topic } if topic.as_str() == "closed" => Decision::Refuse("closed".to_owned()),
///             _ => Decision::Unknown,
///         }
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let broker = Broker::builder().authorize(Desk).start()?;
/// # broker.shutdown(std::time::Duration::ZERO).await;
/// # Ok::<(), rialto::StartError>(())
/// # }).unwrap();
/// ```
pub trait Authorize: Send + Sync + 'static {
    /// Whether a client becomes a session, and whose. It is asked once the broker has verified the client's token, if
    /// there was one. Where it is not implemented, everyone becomes one whom the broker itself lets in.
    fn connect(&self, request: &ConnectRequest) -> impl Future<Output = Admission> + Send {
        let _ = request;
        std::future::ready(Admission::Unknown)
    }

    /// Whether a session may do what it requests. The questions of one request are asked one after the other. Where it
    /// is not implemented, topic rules decide alone.
    fn decide(&self, request: &AccessRequest) -> impl Future<Output = Decision> + Send {
        let _ = request;
        std::future::ready(Decision::Unknown)
    }
}

/// [`Authorize`] as the broker holds it, whatever its type.
trait AnyAuthorize: Send + Sync {
    fn connect<'r>(&'r self, request: &'r ConnectRequest) -> Pin<Box<dyn Future<Output = Admission> + Send + 'r>>;

    fn decide<'r>(&'r self, request: &'r AccessRequest) -> Pin<Box<dyn Future<Output = Decision> + Send + 'r>>;
}

impl<A: Authorize> AnyAuthorize for A {
    fn connect<'r>(&'r self, request: &'r ConnectRequest) -> Pin<Box<dyn Future<Output = Admission> + Send + 'r>> {
        Box::pin(Authorize::connect(self, request))
    }

    fn decide<'r>(&'r self, request: &'r AccessRequest) -> Pin<Box<dyn Future<Output = Decision> + Send + 'r>> {
        Box::pin(Authorize::decide(self, request))
    }
}

/// What an embedding program has registered.
#[derive(Clone)]
pub(crate) struct Program(Arc<dyn AnyAuthorize>);

impl Program {
    pub(crate) fn new(authorize: impl Authorize) -> Self {
        Self(Arc::new(authorize))
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Program")
    }
}

/// Asks the embedding program.
#[derive(Debug)]
pub(crate) struct Authorizer {
    program: Program,
    /// Where the program decides: never on a thread of the broker.
    runtime: Handle,
    under_way: Count,
    metrics: Arc<Metrics>,
    pace: LogPace,
}

/// How long a decision may take, and how many there may be at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecisionLimits {
    time: Duration,
    under_way: usize,
}

impl DecisionLimits {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self { time: Duration::from_millis(limits.authorize_ms), under_way: limits.decisions }
    }
}

/// Why there is no decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoDecision {
    /// Too many are under way.
    Busy,
    Late,
    Panicked,
    /// The program's runtime has ended.
    Ended,
}

impl Authorizer {
    pub(crate) fn new(program: Program, runtime: Handle, metrics: Arc<Metrics>) -> Self {
        Self { program, runtime, under_way: Count::default(), metrics, pace: LogPace::default() }
    }

    /// Whether a client becomes a session.
    ///
    /// # Errors
    /// `busy` or `unavailable`: the program did not decide.
    pub(crate) async fn connect(&self, request: ConnectRequest, limits: DecisionLimits) -> Result<Admission, Failure> {
        let program = self.program.clone();
        let decided = self.run(limits, async move { program.0.connect(&request).await }).await;
        let admission = decided.map_err(|reason| self.failed("connect", reason))?;
        self.count(1, usize::from(matches!(admission, Admission::Refuse(_))));
        Ok(admission)
    }

    /// Asks about everything that one request wants. Returns what is refused, and how.
    ///
    /// # Errors
    /// `busy` or `unavailable`: the program did not decide, so nothing is allowed.
    pub(crate) async fn decide(
        &self,
        requests: Vec<AccessRequest>,
        limits: DecisionLimits,
    ) -> Result<Vec<(AccessAction, Failure)>, Failure> {
        let (program, questions) = (self.program.clone(), requests.len());
        let asked = async move {
            let mut refused = Vec::new();
            for request in requests {
                let decision = program.0.decide(&request).await;
                if let Decision::Refuse(reason) = decision {
                    refused.push((request.into_action(), Failure::new(ErrorCode::Forbidden, reason)));
                }
            }
            refused
        };
        let refused = self.run(limits, asked).await.map_err(|reason| self.failed("decide", reason))?;
        self.count(questions, refused.len());
        Ok(refused)
    }

    fn count(&self, questions: usize, refused: usize) {
        self.metrics.authorizations.add(questions as u64);
        self.metrics.authorizations_refused.add(refused as u64);
    }

    /// Runs a part of the program. It counts as under way until it has really ended.
    async fn run<T: Send + 'static>(
        &self,
        limits: DecisionLimits,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, NoDecision> {
        let counted = self.under_way.take(limits.under_way).ok_or(NoDecision::Busy)?;
        let mut task = AbortOnDrop(self.runtime.spawn(async move {
            let _counted = counted;
            work.await
        }));
        match tokio::time::timeout(limits.time, &mut task.0).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.is_panic() => Err(NoDecision::Panicked),
            Ok(Err(_)) => Err(NoDecision::Ended),
            Err(_) => Err(NoDecision::Late),
        }
    }

    fn failed(&self, method: &'static str, reason: NoDecision) -> Failure {
        self.metrics.authorizations_failed.add(1);
        if let Some(left_out) = self.pace.take((reason.as_str(), method), 1) {
            let why = reason.as_str();
            match reason {
                NoDecision::Panicked => tracing::error!(method, left_out, "authorization failed: {why}"),
                _ => tracing::warn!(method, left_out, "authorization failed: {why}"),
            }
        }
        let (code, text) = match reason {
            NoDecision::Busy => (ErrorCode::Busy, "too many requests wait for authorization, try again later"),
            _ => (ErrorCode::Unavailable, "authorization is unavailable, try again later"),
        };
        Failure::new(code, text).retry_after_ms(RETRY_MS)
    }
}

impl NoDecision {
    fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "too many decisions are under way, see `decisions`",
            Self::Late => "no answer within `authorize_ms`",
            Self::Panicked => "the program panicked",
            Self::Ended => "the program's runtime has ended",
        }
    }
}

/// A task that ends when nothing waits for it any more.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::topic::Topic;

    /// Does what the name of a topic says.
    struct Obeying;

    impl Authorize for Obeying {
        async fn connect(&self, request: &ConnectRequest) -> Admission {
            match request.path() {
                "/refuse" => Admission::Refuse("no".to_owned()),
                "/panic" => panic!("on purpose"),
                _ => Admission::Allow(Identity::user("ann")),
            }
        }

        async fn decide(&self, request: &AccessRequest) -> Decision {
            let AccessAction::Publish { topic } = request.action() else { return Decision::Unknown };
            match topic.as_str() {
                "refuse" => Decision::Refuse("no".to_owned()),
                "panic" => panic!("on purpose"),
                "hang" => std::future::pending().await,
                _ => Decision::Allow,
            }
        }
    }

    /// Has only what it has to.
    struct Silent;

    impl Authorize for Silent {}

    fn authorizer(authorize: impl Authorize) -> Authorizer {
        Authorizer::new(Program::new(authorize), Handle::current(), Arc::default())
    }

    fn limits(ms: u64) -> DecisionLimits {
        DecisionLimits { time: Duration::from_millis(ms), under_way: 2 }
    }

    fn publishes(topics: &[&str]) -> Vec<AccessRequest> {
        let requester = Requester { session: "s".into(), user: None, roles: None, address: None };
        let publish = |name: &&str| AccessAction::Publish { topic: Topic::parse(name).expect("a topic") };
        topics.iter().map(|name| AccessRequest::new(&requester, publish(name))).collect()
    }

    fn handshake(path: &str) -> ConnectRequest {
        ConnectRequest::new((path, None), std::iter::empty(), IpAddr::from([127, 0, 0, 1]), None)
    }

    #[tokio::test]
    async fn what_is_refused_is_told_and_the_rest_is_allowed() {
        let authorizer = authorizer(Obeying);
        let refused = authorizer.decide(publishes(&["a", "refuse", "b"]), limits(10_000)).await.expect("decided");
        let topic = Topic::parse("refuse").expect("a topic");
        let told: Vec<_> = refused.iter().map(|(action, failure)| (action, failure.code, &*failure.message)).collect();
        assert_eq!(told, [(&AccessAction::Publish { topic }, ErrorCode::Forbidden, "no")]);
        let counted = authorizer.metrics.snapshot();
        assert_eq!((counted.authorizations_total, counted.authorizations_refused_total), (3, 1));
    }

    #[tokio::test]
    async fn no_answer_is_a_no_for_one_request_alone() {
        let authorizer = authorizer(Obeying);
        for (topic, ms) in [("panic", 10_000), ("hang", 10)] {
            let failure = authorizer.decide(publishes(&["a", topic]), limits(ms)).await.expect_err("no answer");
            assert_eq!((failure.code, failure.retry_after_ms), (ErrorCode::Unavailable, Some(RETRY_MS)), "{topic}");
            assert!(authorizer.decide(publishes(&["a"]), limits(10_000)).await.expect("decided").is_empty());
        }
        let failure = authorizer.connect(handshake("/panic"), limits(10_000)).await.expect_err("no answer");
        assert_eq!(failure.code, ErrorCode::Unavailable);
        assert_eq!(authorizer.metrics.snapshot().authorizations_failed_total, 3);
    }

    #[tokio::test]
    async fn decisions_under_way_are_bounded_until_they_are_over() {
        let authorizer = authorizer(Obeying);
        let hang = || authorizer.decide(publishes(&["hang"]), limits(10_000));
        {
            let (mut one, mut two) = (Box::pin(hang()), Box::pin(hang()));
            for waiting in [&mut one, &mut two] {
                assert!(tokio::time::timeout(Duration::ZERO, waiting).await.is_err(), "it hangs");
            }
            let failure = authorizer.decide(publishes(&["a"]), limits(10_000)).await.expect_err("two are under way");
            assert_eq!((failure.code, failure.retry_after_ms), (ErrorCode::Busy, Some(RETRY_MS)));
        }
        // Nobody waits any more, so their tasks end.
        let is_free = async {
            while authorizer.decide(publishes(&["a"]), limits(10_000)).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), is_free).await.expect("there is room again");
    }

    #[tokio::test]
    async fn a_runtime_that_has_ended_decides_nothing() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let authorizer = Authorizer::new(Program::new(Obeying), runtime.handle().clone(), Arc::default());
        runtime.shutdown_background();
        let failure = authorizer.decide(publishes(&["a"]), limits(10_000)).await.expect_err("no runtime");
        assert_eq!(failure.code, ErrorCode::Unavailable);
    }

    #[tokio::test]
    async fn a_program_that_implements_nothing_leaves_everything_to_the_rules() {
        let silent = authorizer(Silent);
        assert_eq!(silent.connect(handshake("/ws"), limits(10_000)).await.expect("decided"), Admission::Unknown);
        assert!(silent.decide(publishes(&["refuse"]), limits(10_000)).await.expect("decided").is_empty());
        let obeying = authorizer(Obeying);
        let refused = Admission::Refuse("no".to_owned());
        assert_eq!(obeying.connect(handshake("/refuse"), limits(10_000)).await.expect("decided"), refused);
    }
}
