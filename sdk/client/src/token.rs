//! Where tokens come from: a fixed one, or a program that is asked for a fresh one whenever that is needed.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

type Fetched = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// Returns tokens.
#[derive(Clone)]
pub(crate) struct Tokens(Arc<dyn Fn() -> Fetched + Send + Sync>);

impl Tokens {
    /// Asks a program.
    pub(crate) fn by<F, T, E>(program: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: fmt::Display,
    {
        Self(Arc::new(move || {
            let fetched = program();
            Box::pin(async move { fetched.await.map_err(|error| error.to_string()) })
        }))
    }

    /// Returns the same one each time.
    pub(crate) fn fixed(token: String) -> Self {
        Self::by(move || std::future::ready(Ok::<_, std::convert::Infallible>(token.clone())))
    }

    pub(crate) fn fetch(&self) -> Fetched {
        (self.0)()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}
