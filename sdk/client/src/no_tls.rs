//! What stands for TLS in a build without it: nothing can be trusted, and no address asks for it.

use tokio::net::TcpStream;

/// No certificates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust(());

impl Trust {
    /// Never asked: `wss://` addresses are refused before.
    pub(crate) async fn encrypt(&self, host: &str, _: TcpStream) -> Result<TcpStream, String> {
        Err(format!("{host}: this client was built without the feature \"tls\""))
    }
}
