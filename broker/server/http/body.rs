//! The body of an HTTP response.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};

/// All bytes of a response's body.
#[derive(Debug)]
pub(in crate::server) struct Body(Full<Bytes>);

/// A response of this server.
pub(in crate::server) type Response = hyper::Response<Body>;

impl Body {
    pub(in crate::server) fn complete(bytes: impl Into<Bytes>) -> Self {
        Self(Full::new(bytes.into()))
    }

    pub(in crate::server) fn into_bytes(self) -> Bytes {
        self.0.into_inner().unwrap_or_default()
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.get_mut().0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
