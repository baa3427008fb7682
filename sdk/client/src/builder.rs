//! How a client is set up before it connects.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rialto_protocol::{Codec, Connect};
use tokio::sync::{Semaphore, broadcast, mpsc};

use crate::address::Address;
use crate::client::{Client, Shared};
use crate::credential::{Credential, Headers, SignIn, Source};
use crate::driver::{Driver, Setting};
use crate::event::Event;
use crate::machine::{Machine, Moment, Settings};
use crate::random::Keys;
use crate::tls::Trust;
use crate::{Ending, Error};

/// How many events wait for a program that does not read them.
const EVENTS: usize = 256;

/// A client that is not connected yet. Made by [`Client::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    address: String,
    codec: Codec,
    name: String,
    instance: Option<Secret>,
    source: Option<Source>,
    trust: Trust,
    within: Duration,
    unanswered: usize,
    queue: usize,
    attempt: Duration,
    patience: Duration,
    pauses: (Duration, Duration),
}

/// What no log shows.
#[derive(Clone)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl Builder {
    pub(crate) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            codec: Codec::Json,
            name: concat!("rialto-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            instance: None,
            source: None,
            trust: Trust::default(),
            within: Duration::from_secs(30),
            unanswered: 1024,
            queue: 256,
            attempt: Duration::from_secs(10),
            patience: Duration::from_secs(10),
            pauses: (Duration::from_millis(200), Duration::from_secs(20)),
        }
    }

    /// How frames are written; JSON unless said otherwise. MessagePack is smaller, above all for bytes.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Name and version of the program, for the broker's log.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The secret by which the broker knows this client again, so that its idempotency keys stay its own: 22 to 64 random
    /// letters, digits, `-` and `_`. Without it a client makes one up, which is gone with it; a program that repeats requests
    /// after its own restart keeps one. Whoever knows it can read the answers of calls by their keys.
    pub fn instance(mut self, secret: impl Into<String>) -> Self {
        self.instance = Some(Secret(secret.into()));
        self
    }

    /// A token that does not change. Where it may run out use [`Builder::tokens`].
    ///
    /// A client signs in by a token, by name and password, or by headers: of this and the next four methods the last one
    /// counts.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.source = Some(Source::fixed(Credential::Token(token.into())));
        self
    }

    /// A callback that returns a token: called before the first session, before a token expires, and when the broker refused
    /// one. When it fails it is called again, as after a lost connection.
    pub fn tokens<F, T, E>(mut self, program: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: fmt::Display,
    {
        let fetch = move || {
            let token = program();
            async move { token.await.map(Credential::Token) }
        };
        self.source = Some(Source::by(SignIn::Connect, fetch));
        self
    }

    /// Name and password of a user, sent in every session. A broker that refuses them ends the client.
    pub fn login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        let login = Credential::Login { user: user.into(), password: password.into() };
        self.source = Some(Source::fixed(login));
        self
    }

    /// A callback that returns the header `Cookie` of a handshake, `name=value`; for the rest see [`Builder::headers`].
    pub fn cookies<F, T, E>(self, program: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: fmt::Display,
    {
        self.headers(move || {
            let cookie = program();
            async move { cookie.await.map(|cookie| vec![("cookie".to_owned(), cookie)]) }
        })
    }

    /// A callback that returns headers of the handshake by which the broker, or a proxy before it, knows the client: names and
    /// values. Called before every connection. When the broker says that what they prove is about to expire, it is called
    /// again, and a new connection with these headers takes the place of the one before, once what was requested is answered.
    /// When it fails it is called again, as after a lost connection. Fresh headers that are refused end the client.
    pub fn headers<F, T, E>(mut self, program: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<Vec<(String, String)>, E>> + Send + 'static,
        E: fmt::Display,
    {
        let fetch = move || {
            let headers = program();
            async move { headers.await.map(|headers| Credential::Headers(Headers(headers))) }
        };
        self.source = Some(Source::by(SignIn::Handshake, fetch));
        self
    }

    /// Trusts these root certificates (PEM) in place of those of the system.
    #[cfg(feature = "tls")]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.trust.roots = Some(pem.into());
        self
    }

    /// How long a request may take, over as many sessions as it needs, unless it says otherwise; 30 s. Keep it below the
    /// brokers' `keys_ms` (2 minutes), within which a retry is known to be one.
    pub fn deadline(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// How many requests may be without an answer; 1,024. The next one waits for its place.
    pub fn unanswered_max(mut self, requests: usize) -> Self {
        self.unanswered = requests.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// How many items of a subscription may wait to be read; 256. When there are more, nothing is read from the broker until
    /// there is room, and the broker's delivery policies decide.
    pub fn queue_items_max(mut self, items: usize) -> Self {
        self.queue = items.clamp(1, 1 << 20);
        self
    }

    /// How long one attempt may take, from the first packet to the open session; 10 s.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt = timeout;
        self
    }

    /// How long [`Builder::connect`] goes on trying; 10 s. With zero there is one attempt.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The bounds of the pauses between attempts; 200 ms and 20 s. The first pause is any time up to the least, each further
    /// one up to twice that, until the most; what the broker asks for is added.
    pub fn pauses(mut self, least: Duration, most: Duration) -> Self {
        self.pauses = (least, most);
        self
    }

    /// Begins the first session. From then on the client comes back by itself until it is closed, or dropped with all its
    /// subscriptions. Runs in a task of the tokio runtime that this is called in.
    ///
    /// # Errors
    /// [`Error::Closed`] with the reason why no session could be begun in time.
    pub async fn connect(self) -> Result<Client, Error> {
        let closed = |ending| Error::Closed { ending, may_have_acted: false };
        let address = Address::parse(&self.address).map_err(closed)?;
        if self.instance.as_ref().is_some_and(|Secret(secret)| !Connect::is_instance(secret)) {
            let text = "an instance has 22 to 64 letters, digits, `-` and `_`";
            return Err(closed(Ending::Unreachable(text.to_owned())));
        }
        let (seed, keys, instance) = random().map_err(|error| closed(Ending::Unreachable(error)))?;
        let settings = Settings {
            codec: self.codec,
            client: self.name,
            instance: self.instance.map_or_else(|| format!("{instance:032x}"), |Secret(secret)| secret),
            sign_in: self.source.as_ref().map_or(SignIn::Never, |source| source.sign_in),
            attempt: self.attempt,
            patience: self.patience,
            pause_least: self.pauses.0,
            pause_most: self.pauses.1,
        };
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let now = Moment { instant: Instant::now(), unix_ms: u64::try_from(unix_ms).unwrap_or(u64::MAX) };
        let machine = Machine::new(settings, seed, now);
        let (events, mut first) = broadcast::channel(EVENTS);
        let (commands, obeyed) = mpsc::unbounded_channel();
        let ending = Arc::new(OnceLock::new());
        let setting = Setting {
            address,
            codec: self.codec,
            trust: self.trust,
            source: self.source,
            events: events.clone(),
            ending: Arc::clone(&ending),
        };
        let task = tokio::spawn(Driver::new(setting, machine, obeyed).run());
        let places = Arc::new(Semaphore::new(self.unanswered));
        let client =
            Client::new(Shared::new(commands, events, places, Keys::new(keys), ending, self.within, self.queue, task));
        loop {
            match first.recv().await {
                Ok(Event::Connected(_)) => return Ok(client),
                Ok(Event::Closed(ending)) => return Err(closed(ending)),
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Err(closed(Ending::Asked)),
            }
        }
    }
}

/// For the pauses, for the keys, and for the secret that these belong to.
fn random() -> Result<(u64, u128, u128), String> {
    let mut bytes = [0; 40];
    getrandom::fill(&mut bytes).map_err(|error| format!("the system has no randomness: {error}"))?;
    let (seed, rest) = bytes.split_at(8);
    let (keys, instance) = rest.split_at(16);
    let number = |bytes: &[u8]| u128::from_le_bytes(bytes.try_into().expect("sixteen bytes"));
    Ok((u64::from_le_bytes(seed.try_into().expect("eight bytes")), number(keys), number(instance)))
}
