//! What a client signs in with, and where that comes from: fixed, or a program that is asked whenever it is needed.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Where a client signs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SignIn {
    /// Nowhere.
    #[default]
    Never,
    /// In a `connect`: it is renewed by another one, on the same connection.
    Connect,
    /// In the handshake: it is renewed by another connection.
    Handshake,
}

/// What a client signs in with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    Token(String),
    Login { user: String, password: String },
    Headers(Headers),
}

/// Headers of a handshake.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers(pub(crate) Vec<(String, String)>);

type Fetched = Pin<Box<dyn Future<Output = Result<Credential, String>> + Send>>;

/// Returns credentials.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) sign_in: SignIn,
    fetch: Arc<dyn Fn() -> Fetched + Send + Sync>,
}

impl Source {
    /// Asks a program.
    pub(crate) fn by<F, T, E>(sign_in: SignIn, program: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<Credential, E>> + Send + 'static,
        E: fmt::Display,
    {
        let fetch = Arc::new(move || -> Fetched {
            let fetched = program();
            Box::pin(async move { fetched.await.map_err(|error| error.to_string()) })
        });
        Self { sign_in, fetch }
    }

    /// Returns the same one each time, for a `connect`.
    pub(crate) fn fixed(credential: Credential) -> Self {
        let fetched = move || std::future::ready(Ok::<_, std::convert::Infallible>(credential.clone()));
        Self::by(SignIn::Connect, fetched)
    }

    pub(crate) fn fetch(&self) -> Fetched {
        (self.fetch)()
    }
}

/// No log shows what is secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token",
            Self::Login { .. } => "Login",
            Self::Headers(_) => "Headers",
        })
    }
}

/// As that of a credential.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Headers")
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("sign_in", &self.sign_in).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_not_shown() {
        let secret = || "correct horse".to_owned();
        let headers = || Headers(vec![("cookie".to_owned(), secret())]);
        for credential in [
            Credential::Token(secret()),
            Credential::Login { user: "ann".to_owned(), password: secret() },
            Credential::Headers(headers()),
        ] {
            let source = Source::fixed(credential.clone());
            for shown in [format!("{credential:?}"), format!("{source:?}"), format!("{:?}", headers())] {
                assert!(!shown.contains("horse"), "{shown}");
            }
        }
    }
}
